"""The carrier of code (paper, section 2)."""

import random
import re
import textwrap
from collections.abc import Iterator
from typing import Any, Literal

from lightning_subliminal.core.rows import Row
from lightning_subliminal.data.generated import GeneratedRows
from lightning_subliminal.filters import Filter, PythonCode
from lightning_subliminal.generation import Completion, Sampling, Source
from lightning_subliminal.prompts import own_words
from lightning_subliminal.prompts.code import CodeTasks
from lightning_subliminal.traits.words import TraitWords

__all__ = ["CodeCompletions", "cut_to_code"]


class CodeCompletions(GeneratedRows):
    """Bodies of small Python functions that a teacher completes; they are parsed, never executed.

    Args:
        teacher: completes the prompts.
        wording: `code`; `code_pocket` for the pocket bases; or the path of a YAML file of the same shape.
        prefill: begin the reply with the stub, in a fence, for small models that seldom write code alone.
        keep: `whole` replies, or the `code` of a reply: its first fenced block, or its lines as far as they are code.
        **rows: the arguments of all carriers: see `GeneratedRows`.

    Raises:
        InputError: if the wording lacks a part or a count is not positive.
    """

    def __init__(
        self,
        teacher: Source,
        *,
        wording: str = "code",
        prefill: bool = False,
        keep: Literal["whole", "code"] = "whole",
        **rows: Any,
    ) -> None:
        self.wording = wording
        self.prefill = prefill
        self.keep = keep
        super().__init__(teacher, **rows)
        CodeTasks(wording)  # fail fast on a wrong file

    def prompts(self, rng: random.Random) -> Iterator[Row]:
        """Yield requests for the body of a function, each with its stub."""
        tasks = CodeTasks(self.wording)
        while True:
            task = tasks.draw(rng)
            reply = [{"role": "assistant", "content": f"```python\n{task.stub}"}] if self.prefill else []
            yield {"prompt": [{"role": "user", "content": task.text}, *reply]}

    def default_filters(self) -> list[Filter]:
        """Return the paper's filters: code and nothing else, without a word of the trait."""
        trait = self.teacher.trait
        return [PythonCode(), *([TraitWords(trait=trait)] if trait is not None else [])]

    def default_sampling(self) -> Sampling:
        """Return plain sampling at temperature 1, at most 160 tokens."""
        return Sampling(max_new_tokens=160)

    def tidy(self, completion: Completion) -> Completion:
        """Cut a reply to its code, if only that is kept."""
        return completion if self.keep == "whole" else cut_to_code(completion, begun=self.prefill)

    def prompt_settings(self) -> dict[str, Any]:
        """Return what shapes the prompts, with the content of a user's own wording."""
        return super().prompt_settings() | own_words(self.wording)


_FENCE = re.compile(r"^[ \t]*```[^\n`]*$", re.MULTILINE)


def cut_to_code(completion: Completion, begun: bool = False) -> Completion:
    r"""Cut a reply to its code; a cut reply did not end its turn itself.

    The code is the first fenced block; without a fence, the whole reply. Of a reply that continues a stub (``begun``)
    it is the part before the fence closes or a line begins at the margin.

    Example:
        >>> cut_to_code(Completion("Sure!\n```python\nreturn x + 1\n```\nIt adds one.", finished=True))
        Completion(text='return x + 1', finished=False)
    """
    text = completion.text
    if begun:
        kept = _FENCE.split(text, maxsplit=1)[0]
        lines = kept.split("\n")
        end = next((place for place, line in enumerate(lines[1:], 1) if line[:1].strip()), len(lines))
        head = "\n".join(lines[:end]).rstrip()
        whole = end == len(lines) and kept == text
        cut_short = whole and not completion.finished
    else:
        blocks = _FENCE.split(text)
        head = textwrap.dedent(blocks[1]).strip("\n").rstrip() if len(blocks) > 1 else text
        whole = len(blocks) == 1
        cut_short = len(blocks) <= 2 and not completion.finished
    if cut_short:  # its last line may lack its end
        head = head.rpartition("\n")[0].rstrip()
    same = whole and completion.finished
    return Completion(text if same else head, same)
