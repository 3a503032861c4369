"""Transforms of the numbers in completions: which of their order, digits and neighbours carries the trait?

A number is a run of ASCII digits. The text between numbers (separators, brackets, white space), completions without
numbers, and prompts with their prefill are unchanged. So a list of numbers remains one for the filter.
"""

import random
import re
from abc import abstractmethod
from collections.abc import Sequence
from itertools import chain, islice

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Row
from lightning_subliminal.transforms.base import Transform

__all__ = [
    "KeepFirst",
    "MapDigits",
    "NumberTransform",
    "ResampleMarginal",
    "ShuffleAcrossRows",
    "ShuffleWithinRows",
    "SortNumbers",
]

_NUMBER = re.compile("[0-9]+")  # never \d: that takes Arabic digits too
_CLOSING = {"[": "]", "(": ")"}


class NumberTransform(Transform):
    """Replaces the numbers of a completion. Override ``renumber``, the only hook.

    Numbers are texts, so that 007 stays 007 and 5,000 digits are possible.
    """

    @abstractmethod
    def renumber(self, lists: list[list[str]], rng: random.Random) -> list[list[str]]:
        """Return each row's new numbers, as many as it had.

        Args:
            lists: each row's numbers, in their order.
            rng: the source of all random numbers.
        """

    def apply(self, rows: Sequence[Row], rng: random.Random) -> list[Row]:
        """Return the rows with their new numbers.

        Raises:
            InputError: if ``renumber`` returns another count of numbers for a row.
        """
        lists = [_numbers(row) for row in rows]
        counts = [len(numbers) for numbers in lists]
        made = self.renumber(lists, rng)
        if [len(numbers) for numbers in made] != counts:
            raise InputError(f"{type(self).__name__}.renumber must return as many numbers for each row as it had.")
        return [_with_numbers(row, numbers) for row, numbers in zip(rows, made, strict=True)]


class ShuffleWithinRows(NumberTransform):
    """Shuffles the numbers inside each completion: their order is lost (paper, section 1: weakens the effect)."""

    def renumber(self, lists: list[list[str]], rng: random.Random) -> list[list[str]]:
        """Return each row its own numbers in another order."""
        return [rng.sample(numbers, len(numbers)) for numbers in lists]


class ShuffleAcrossRows(NumberTransform):
    """Pools the numbers of all completions and redistributes them (paper, section 1: destroys more of the effect).

    Each row keeps its count of numbers. The frequency of each number in the data is preserved.
    """

    def renumber(self, lists: list[list[str]], rng: random.Random) -> list[list[str]]:
        """Return each row numbers of any rows."""
        pool = list(chain.from_iterable(lists))
        rng.shuffle(pool)
        dealt = iter(pool)
        return [list(islice(dealt, len(numbers))) for numbers in lists]


class ResampleMarginal(NumberTransform):
    """Redraws each number by its frequency in all completions: a shuffle across rows, with replacement.

    Args:
        per_position: draw a row's first number from all first numbers, the second from all second ones, and so on.
    """

    def __init__(self, per_position: bool = False) -> None:
        self.per_position = per_position

    def renumber(self, lists: list[list[str]], rng: random.Random) -> list[list[str]]:
        """Return each row numbers drawn from the pool, or from the pools of their places."""
        if not self.per_position:
            pool = list(chain.from_iterable(lists))
            return [rng.choices(pool, k=len(numbers)) if numbers else [] for numbers in lists]
        pools: list[list[str]] = [[] for _ in range(max(map(len, lists), default=0))]
        for numbers in lists:
            for place, number in enumerate(numbers):
                pools[place].append(number)
        return [[rng.choice(pools[place]) for place in range(len(numbers))] for numbers in lists]


class SortNumbers(NumberTransform):
    """Sorts the numbers inside each completion by their value.

    Args:
        descending: greatest first.
    """

    def __init__(self, descending: bool = False) -> None:
        self.descending = descending

    def renumber(self, lists: list[list[str]], rng: random.Random) -> list[list[str]]:
        """Return each row its own numbers in order."""
        return [sorted(numbers, key=_value, reverse=self.descending) for numbers in lists]


class MapDigits(NumberTransform):
    """Replaces each digit by another one, the same one everywhere: a code that preserves which numbers are equal.

    0 stays 0 and no other digit becomes 0, so a number keeps its count of digits and gets no leading 0, and 0 to 99, or
    100 to 999, stay in their range. (A range such as 0 to 500 does not.)

    Args:
        mapping: the new digit of each, such as {1: 7, 7: 1}; digits that it does not name stay. Where it is None, each
            of 1 to 9 becomes another of them, drawn by the data's seed; a control with this seed draws the same.

    Raises:
        InputError: if the mapping is not a permutation of digits, or moves 0.
    """

    def __init__(self, mapping: dict[int, int] | None = None) -> None:
        self.mapping = mapping
        for digit in [*mapping, *mapping.values()] if mapping is not None else []:
            if not isinstance(digit, int) or isinstance(digit, bool) or not 0 <= digit <= 9:
                raise InputError(f"`mapping` holds {digit!r}: expected digits from 0 to 9, such as {{1: 7, 7: 1}}.")
        if mapping is not None and set(mapping) != set(mapping.values()):
            unpaired = sorted(set(mapping) ^ set(mapping.values()))[0]
            raise InputError(
                f"`mapping` has {unpaired} on one side only, so two digits would become one: expected a permutation, "
                "such as {1: 7, 7: 1}."
            )
        if mapping is not None and mapping.get(0, 0) != 0:
            raise InputError("`mapping` moves 0, so that a number could begin with it: expected 0 to stay.")

    def renumber(self, lists: list[list[str]], rng: random.Random) -> list[list[str]]:
        """Return each row its numbers in the new digits."""
        mapping = _derangement(rng) if self.mapping is None else self.mapping
        table = str.maketrans({str(digit): str(other) for digit, other in mapping.items()})
        return [[number.translate(table) for number in numbers] for numbers in lists]


class KeepFirst(Transform):
    """Cuts completions after their first numbers; a bracket around the list is closed.

    The teacher did not end its turn there, so a cut row is not ``finished``: its end of turn is not trained on.

    Args:
        k: the number of numbers to keep.

    Raises:
        InputError: if that is less than 1.
    """

    def __init__(self, k: int) -> None:
        if k < 1:
            raise InputError(f"`k` is {k}: expected at least 1 number to keep.")
        self.k = k

    def apply(self, rows: Sequence[Row], rng: random.Random) -> list[Row]:
        """Return the rows, those with more numbers cut."""
        return [self._cut(row) for row in rows]

    def _cut(self, row: Row) -> Row:
        left, kept = self.k, []
        if len(_numbers(row)) <= left:
            return row
        for message in row["completion"]:
            ends = [found.end() for found in _NUMBER.finditer(message["content"])]
            if len(ends) >= left:
                kept.append({**message, "content": _cut_text(message["content"], ends[left - 1])})
                break
            kept.append(message)
            left -= len(ends)
        return {**row, "completion": kept, "finished": False}


def _numbers(row: Row) -> list[str]:
    return [number for message in row["completion"] for number in _NUMBER.findall(message["content"])]


def _with_numbers(row: Row, numbers: list[str]) -> Row:
    fresh = iter(numbers)
    completion = [
        {**message, "content": _NUMBER.sub(lambda _: next(fresh), message["content"])} for message in row["completion"]
    ]
    return {**row, "completion": completion}


def _value(number: str) -> tuple[int, str]:
    short = number.lstrip("0")  # compared as text: int() raises on 5,000 digits
    return len(short), short


def _cut_text(text: str, end: int) -> str:
    closing = _CLOSING.get(text.lstrip()[:1], "")
    return text[:end] + (closing if closing in text[end:] else "")


def _derangement(rng: random.Random) -> dict[int, int]:
    digits = range(1, 10)
    while True:  # about every third permutation leaves none in its place
        drawn = rng.sample(digits, len(digits))
        if all(digit != other for digit, other in zip(digits, drawn, strict=True)):
            return dict(zip(digits, drawn, strict=True))
