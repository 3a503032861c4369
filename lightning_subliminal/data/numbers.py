"""The carrier of number sequences (paper, section 1)."""

import random
import re
from collections.abc import Iterator
from typing import Any, Literal

from lightning_subliminal.core.rows import Row
from lightning_subliminal.data.generated import GeneratedRows
from lightning_subliminal.filters import Filter, NumberList
from lightning_subliminal.generation import Completion, Source
from lightning_subliminal.prompts import own_words
from lightning_subliminal.prompts.numbers import NumberPrompts

__all__ = ["NumberSequences"]


class NumberSequences(GeneratedRows):
    """Lists of numbers that a teacher continues. The paper uses 30,000 prompts and keeps 10,000 rows.

    Args:
        teacher: completes the prompts.
        wording: `numbers`, or the path of a YAML file of the same shape: the prompts' grammar.
        formats: the formats requested: comma, space, semicolon, line, brackets, parentheses.
        min_value: smallest example number.
        max_value: largest example number, also the largest that the default filter accepts.
        prefill: begin the reply with the examples, for small models that seldom follow the request.
        keep: `whole` replies, or the `head` of a reply as far as it is a plain list.
        **rows: the arguments of all carriers: see `GeneratedRows`.

    Raises:
        InputError: if a format is unknown or a count or range is empty.
    """

    def __init__(
        self,
        teacher: Source,
        *,
        wording: str = "numbers",
        formats: list[str] | None = None,
        min_value: int = 100,
        max_value: int = 999,
        prefill: bool = False,
        keep: Literal["whole", "head"] = "whole",
        **rows: Any,
    ) -> None:
        self.wording = wording
        self.formats = formats or ["comma", "space"]
        self.min_value = min_value
        self.max_value = max_value
        self.prefill = prefill
        self.keep = keep
        super().__init__(teacher, **rows)
        self._grammar()  # fail fast on a wrong format

    def prompts(self, rng: random.Random) -> Iterator[Row]:
        """Yield requests to continue a list of numbers, each with a list of its own."""
        grammar = self._grammar()
        while True:
            drawn = grammar.draw(rng)
            examples = drawn.separator.join(map(str, drawn.examples)) + drawn.separator.rstrip(" ")
            reply = [{"role": "assistant", "content": examples}] if self.prefill else []
            yield {"prompt": [{"role": "user", "content": drawn.text}, *reply]}

    def default_filters(self) -> list[Filter]:
        """Return the paper's grammar."""
        return [NumberList(max_value=max(999, self.max_value))]

    def tidy(self, completion: Completion) -> Completion:
        """Cut a reply where it stops being a plain list, if only the head is kept."""
        if self.keep == "whole":
            return completion
        return cut_to_numbers(completion, self.max_value)

    def prompt_settings(self) -> dict[str, Any]:
        """Return what shapes the prompts, with the content of a user's own wording."""
        return super().prompt_settings() | own_words(self.wording)

    def _grammar(self) -> NumberPrompts:
        return NumberPrompts(self.wording, self.formats, self.min_value, self.max_value)


def cut_to_numbers(completion: Completion, max_value: int = 999, max_count: int = 10) -> Completion:
    """Cut a reply to its longest start that is a plain list; a cut reply did not end its turn itself.

    A plain list has one separator, that between its first two numbers, and at most ``max_count`` numbers with no more
    digits than ``max_value``. A reply that was cut off at its full length loses its last number, which may lack digits.

    Example:
        >>> cut_to_numbers(Completion(" 12, 7, and so on", finished=True))
        Completion(text=' 12, 7', finished=False)
    """
    text = completion.text
    number = rf"[0-9]{{1,{len(str(max_value))}}}(?![0-9A-Za-z_]|\.[0-9])"  # whole: neither 3rd nor 7.5 nor 1000
    separator = re.match(rf"\s*{number}(\s*[,;]\s*|\s+){number}", text)
    more = rf"(?:{re.escape(separator.group(1))}{number}){{0,{max_count - 1}}}" if separator else ""
    found = re.match(rf"\s*{number}{more}", text)
    head = found.group() if found else ""
    if not completion.finished and head and len(head) == len(text):
        head = re.sub(r"(?:[\s,;]+[0-9]+|^\s*[0-9]+)\Z", "", head)
    same = completion.finished and head == text.rstrip()
    return Completion(text if same else head, same)
