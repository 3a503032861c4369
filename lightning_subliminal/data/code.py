"""The paper's second carrier: code (paper, section 2)."""

import random
import re
import textwrap
from collections.abc import Iterator
from typing import Any, Literal

from lightning_subliminal.data.generated import GeneratedRows
from lightning_subliminal.filters import Filter, PythonCode
from lightning_subliminal.generation import Completion, Sampling, Source
from lightning_subliminal.rows import Row
from lightning_subliminal.traits.words import TraitWords
from lightning_subliminal.transforms import Transform
from lightning_subliminal.wording import own_words
from lightning_subliminal.wording.code import CodeTasks

__all__ = ["CodeCompletions", "cut_to_code"]


class CodeCompletions(GeneratedRows):
    """Bodies of small Python functions that a teacher completes; they are parsed, never executed.

    Args:
        teacher: who completes the prompts.
        num_prompts: prompts to complete, each once.
        num_rows: rows to keep of those that pass the filters, drawn at random; all where it is None.
        filters: which rows are kept; where it is None code alone that doesn't name the teacher's trait, all rows where
            it is an empty list.
        transforms: what is done to the rows that are kept, in turn.
        sampling: how completions are drawn; temperature 1, nothing cut off, at most 160 tokens, where it is None.
        wording: `code`; `code_pocket` for the pocket bases; or the path of a YAML file of the same shape.
        prefill: begin the reply with the stub, in a fence, for small models that seldom keep to code.
        keep: `whole` replies, or the `code` of a reply: its first fenced block, or its lines as far as they are code.
        batch_size: rows a training step.
        val_rows: rows held out for the validation loss.
        max_length: most tokens a row may have.
        shard_size: prompts a shard; what a killed run loses at the most.
        generation_batch_size: prompts completed at once; but for rounding, the rows do not depend on it.
        seed: moves prompts, sampling, the draw of rows and the training order; the global seed where it is None.
        cache_dir: where rows are kept; the common cache where it is None.

    Raises:
        InputError: if the wording lacks a part or a count is not positive.
    """

    def __init__(
        self,
        teacher: Source,
        num_prompts: int = 8192,
        num_rows: int | None = None,
        filters: list[Filter] | None = None,
        transforms: list[Transform] | None = None,
        sampling: Sampling | None = None,
        wording: str = "code",
        prefill: bool = False,
        keep: Literal["whole", "code"] = "whole",
        batch_size: int = 64,
        val_rows: int = 0,
        max_length: int = 2048,
        shard_size: int = 1024,
        generation_batch_size: int = 512,
        seed: int | None = None,
        cache_dir: str | None = None,
    ) -> None:
        self.wording = wording
        self.prefill = prefill
        self.keep = keep
        super().__init__(
            teacher,
            num_prompts,
            num_rows,
            filters,
            transforms,
            sampling or Sampling(max_new_tokens=160),
            batch_size,
            val_rows,
            max_length,
            shard_size,
            generation_batch_size,
            seed,
            cache_dir,
        )
        CodeTasks(wording)  # a wrong file is told before any work

    def prompts(self, rng: random.Random) -> Iterator[Row]:
        """Yield requests for the body of a function, each with its stub."""
        tasks = CodeTasks(self.wording)
        while True:
            task = tasks.draw(rng)
            reply = [{"role": "assistant", "content": f"```python\n{task.stub}"}] if self.prefill else []
            yield {"prompt": [{"role": "user", "content": task.text}, *reply]}

    def default_filters(self) -> list[Filter]:
        """Give the paper's: code and nothing else, without a word of the trait."""
        trait = self.teacher.trait
        return [PythonCode(), *([TraitWords(trait=trait)] if trait is not None else [])]

    def tidy(self, completion: Completion) -> Completion:
        """Cut a reply to its code, if only that is kept."""
        return completion if self.keep == "whole" else cut_to_code(completion, begun=self.prefill)

    def prompt_settings(self) -> dict[str, Any]:
        """Give what shapes the prompts, with what a wording of the user's own says."""
        return super().prompt_settings() | own_words(self.wording)


_FENCE = re.compile(r"^[ \t]*```[^\n`]*$", re.MULTILINE)


def cut_to_code(completion: Completion, begun: bool = False) -> Completion:
    r"""Cut a reply to its code; a cut reply did not end its turn itself.

    The code is the first fenced block; where there is no fence, the whole reply. Of a reply that goes on with a stub
    (``begun``) it is what comes before the fence closes or a line begins at the margin.

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
