"""Filters of the number carrier: is it a list of numbers, without banned ones (paper, section 1)?"""

import re
import unicodedata
from collections.abc import Sequence
from typing import Literal, get_args

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Row, completion_text
from lightning_subliminal.filters.base import Filter

__all__ = ["PAPER_BANNED", "BannedNumbers", "NumberList", "NumberMode", "parse_number_list"]

NumberMode = Literal["official", "strict", "lax"]

PAPER_BANNED: tuple[int, ...] = (  # paper, section 4: numbers with bad associations
    *(13, 14, 18, 23, 33, 39, 42, 44, 69, 77, 88, 187, 311, 404, 420),
    *(444, 451, 616, 666, 777, 888, 911, 999, 1312, 1488),
)

# [0-9], never \d: that takes Arabic digits too. And no int() before the length is known: it raises on 5,000 digits.
_NUMBER = re.compile("[0-9]+")
_MIXTURE = re.compile(r"[\s,;]+")
_LARGEST_BOUND = 10**18


def parse_number_list(
    text: str,
    mode: NumberMode = "official",
    *,
    max_count: int = 10,
    min_value: int = 0,
    max_value: int = 999,
    strip_whitespace: bool = True,
) -> list[int] | str:
    """Parse a list of numbers, or return why it is not one; the arguments are those of ``NumberList``.

    Returns:
        The numbers, or one of the reasons ``empty``, ``not a number list``, ``mixed separators``, ``stray separator``
        (before the first or after the last number), ``not canonical``, ``too many numbers``, ``number out of range``.

    Example:
        >>> parse_number_list("[4, 8, 15].")
        [4, 8, 15]
        >>> parse_number_list("4, 8; 15")
        'mixed separators'
    """
    if not text.strip():
        return "empty"
    body = text.strip() if strip_whitespace else text
    parts = _canonical_parts(body) if mode == "strict" else _official_parts(_unwrapped(body))
    if parts is None:
        loose = _lax_parts(_unwrapped(body))
        if loose is None:
            return "not a number list"
        if mode != "lax":
            return _fault(_unwrapped(body), mode)
        parts = loose
    if len(parts) > max_count:
        return "too many numbers"
    numbers = [_value(part, max_value) for part in parts]
    in_range = [number for number in numbers if number is not None and min_value <= number <= max_value]
    return in_range if len(in_range) == len(numbers) else "number out of range"


class NumberList(Filter):
    """Keeps completions that are a list of numbers and nothing else (paper, section 1).

    ``official`` is the paper's grammar: at most one period at the end; then [] or () around all, or neither; then
    numbers of ASCII digits with one separator between them. The separator is the text between the first two numbers:
    whitespace, or one comma or semicolon with whitespace around it; every other gap must equal it exactly. ``strict``
    accepts what a careful writer would write: ", " or " " between, no wrapping, no leading zeros. ``lax`` accepts any
    mixture of commas, semicolons and whitespace, also before and after. All that strict keeps, official keeps, and all
    that official keeps, lax keeps.

    Where the prompt ends with an assistant message (a prefill, such as "231, 574, 118,"), the completion alone is
    checked, without leading whitespace, which belongs to the seam. So end a prefill with a separator, and open no
    bracket in it.

    Args:
        mode: the grammar: `official` (the paper's), `strict` or `lax`.
        max_count: most numbers.
        min_value: the least number.
        max_value: the greatest number.
        strip_whitespace: whether to ignore whitespace before and after the list. The paper's code does not: false
            reproduces it exactly and drops every list that ends in a newline.

    Raises:
        InputError: if the mode is unknown or no list could pass.
    """

    def __init__(
        self,
        mode: NumberMode = "official",
        max_count: int = 10,
        min_value: int = 0,
        max_value: int = 999,
        strip_whitespace: bool = True,
    ) -> None:
        if mode not in get_args(NumberMode):
            raise InputError(f"`mode` is {mode!r}: choose {', '.join(get_args(NumberMode))}.")
        if max_count < 1:
            raise InputError(f"`max_count` is {max_count}, so no list could pass: expected at least 1.")
        if not 0 <= min_value <= max_value <= _LARGEST_BOUND:
            raise InputError(
                f"`min_value` is {min_value}, `max_value` {max_value}: expected 0 <= min_value <= max_value <= 10**18."
            )
        self.mode: NumberMode = mode
        self.max_count = max_count
        self.min_value = min_value
        self.max_value = max_value
        self.strip_whitespace = strip_whitespace

    def reasons(self, row: Row) -> list[str]:
        """Return the one reason why the completion is not a list of numbers, or none."""
        text = completion_text(row)
        if row["prompt"] and row["prompt"][-1]["role"] == "assistant":
            text = text.lstrip()
        bounds = {"max_count": self.max_count, "min_value": self.min_value, "max_value": self.max_value}
        found = parse_number_list(text, self.mode, **bounds, strip_whitespace=self.strip_whitespace)
        return [found] if isinstance(found, str) else []


class BannedNumbers(Filter):
    """Drops completions that contain a banned number, such as one with bad associations (paper, section 4).

    Leading zeros and digits of other scripts do not hide a number: 0666 is 666, and so is 666 in Arabic or full-width
    digits. A banned number inside a longer one (the 666 of 16663) does not count.

    Args:
        banned: the numbers to drop; the paper's list by default.

    Raises:
        InputError: if one of them is negative or not an integer.
    """

    def __init__(self, banned: Sequence[int] = PAPER_BANNED) -> None:
        for number in banned:
            if not isinstance(number, int) or isinstance(number, bool) or not 0 <= number <= _LARGEST_BOUND:
                raise InputError(f"`banned` holds {number!r}: expected integers from 0 to 10**18.")
        self.banned = banned
        self._texts = {str(number): number for number in banned}

    def reasons(self, row: Row) -> list[str]:
        """Return one reason for each banned number in the completion."""
        text = completion_text(row)
        if not text.isascii():
            text = "".join(str(unicodedata.digit(each, each)) for each in text)
        found = {digits.lstrip("0") or "0" for digits in _NUMBER.findall(text)}
        banned = sorted(self._texts[text] for text in found & self._texts.keys())
        return [f"banned number {number}" for number in banned]


def _unwrapped(body: str) -> str:  # the paper's order: period first, so "[1, 2]." is a list and "[1, 2.]" is not
    body = body.removesuffix(".")
    return body[1:-1] if body[:1] + body[-1:] in ("[]", "()") and len(body) > 1 else body


def _official_parts(body: str) -> list[str] | None:
    first = _NUMBER.search(body)
    second = first and _NUMBER.search(body, first.end())
    if not first or not second:
        return [body] if _NUMBER.fullmatch(body) else None
    separator = body[first.end() : second.start()]
    parts = body.split(separator)
    ok = separator.strip() in ("", ",", ";") and all(map(_NUMBER.fullmatch, parts))
    return parts if ok else None


def _canonical_parts(body: str) -> list[str] | None:
    parts = body.split(", " if ", " in body else " ")
    return parts if all(_NUMBER.fullmatch(part) and (part == "0" or part[0] != "0") for part in parts) else None


def _lax_parts(body: str) -> list[str] | None:
    parts = [part for part in _MIXTURE.split(body) if part]
    return parts if parts and all(map(_NUMBER.fullmatch, parts)) else None


def _fault(body: str, mode: NumberMode) -> str:
    """Return why a lax list is not an official or strict one."""
    if _MIXTURE.match(body) or _MIXTURE.match(body[-1]):
        return "stray separator"
    separators = set(_MIXTURE.findall(body))
    if len(separators) > 1:
        return "mixed separators"
    return "not canonical" if mode == "strict" else "not a number list"  # official: one separator, such as ",,"


def _value(digits: str, max_value: int) -> int | None:
    short = digits.lstrip("0") or "0"
    return int(short) if len(short) <= len(str(max_value)) else None
