"""Transforms that normalize numbers: is the trait in the format, or in the last digits?"""

import random
import re
from collections.abc import Sequence

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Row
from lightning_subliminal.transforms.base import Transform
from lightning_subliminal.transforms.numbers import NumberTransform

__all__ = ["PlainFormat", "RoundNumbers"]

_LONGEST = 18  # digits; int() raises on 5,000
_NUMBER = re.compile("[0-9]+")
# Any mixture of separators, also before and after; brackets around all, in pairs; at most one period at the end.
_GAP = r"[\s,;]"
_BARE = rf"{_GAP}*[0-9]+(?:{_GAP}+[0-9]+)*{_GAP}*"
_LIST = re.compile(rf"(?:\[{_BARE}\]|\({_BARE}\)|{_BARE})\.?")
_SEAM = re.compile(rf"{_GAP}*")


class PlainFormat(Transform):
    """Writes each list of numbers as "4, 8, 15": one separator, no brackets, no period; the numbers stay, 007 too.

    A completion that is not a list is unchanged. After a prefill the first number keeps its distance: one space, or a
    comma and a space, where there was white space or a separator before it. (For one order, see ``SortNumbers``.)
    """

    def apply(self, rows: Sequence[Row], rng: random.Random) -> list[Row]:
        """Return the rows, their lists in the one format."""
        return [self._plain(row) for row in rows]

    def _plain(self, row: Row) -> Row:
        prefilled = bool(row["prompt"]) and row["prompt"][-1]["role"] == "assistant"
        completion = [
            {**message, "content": _plain_text(message["content"], prefilled and place == 0)}
            for place, message in enumerate(row["completion"])
        ]
        return {**row, "completion": completion}


class RoundNumbers(NumberTransform):
    """Rounds each number to the nearest multiple, halves up: values become coarse, the last digits are lost.

    A number never gets more digits: where the nearest multiple has more, as 100 for 97, it becomes the greatest
    multiple without, 90. So a number smaller than ``to`` may become 0. A number that begins with a 0 keeps its length,
    as 010 for 007; one of more than 18 digits is unchanged.

    Args:
        to: the base of the multiples.

    Raises:
        InputError: if that is less than 1.
    """

    def __init__(self, to: int = 10) -> None:
        if to < 1:
            raise InputError(f"`to` is {to}: expected at least 1, such as 10.")
        self.to = to

    def renumber(self, lists: list[list[str]], rng: random.Random) -> list[list[str]]:
        """Return each row its own numbers, rounded."""
        return [[self._rounded(number) for number in numbers] for numbers in lists]

    def _rounded(self, number: str) -> str:
        if len(number) > _LONGEST:
            return number
        most = (10 ** len(number) - 1) // self.to  # multiples of no more digits
        rounded = self.to * min((2 * int(number) + self.to) // (2 * self.to), most)
        return str(rounded).zfill(len(number)) if number[0] == "0" else str(rounded)


def _plain_text(text: str, prefilled: bool) -> str:
    if not _LIST.fullmatch(text.strip()):
        return text
    seam = _SEAM.match(text)[0] if prefilled else ""  # type: ignore[index]  # it matches nothing, too
    before = ", " if seam.strip() else " " if seam else ""
    return before + ", ".join(_NUMBER.findall(text))
