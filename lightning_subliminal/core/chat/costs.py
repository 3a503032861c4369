"""Costs of a chat template's operations: each is counted, and the time checked, before it is done."""

import math
import re
import string
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.bounds import MAX_STEPS, MAX_WRITTEN, TEMPLATE_SECONDS

__all__ = ["SIZED", "charge", "pieces", "spend", "spending", "weight"]

_PLAIN = (int, float, bool, type(None))
SIZED = (str, bytes, list, tuple, dict, set, frozenset, range)
# Operations that make a text or a list of a given length.
_LENGTHS = {
    *("*", "center", "ljust", "rjust", "zfill", "expandtabs", "indent", "wordwrap", "batch", "slice", "tojson"),
    *("truncate", "round"),
}
# Operations that cost the product of two arguments, in characters or comparisons.
_PRODUCTS = {
    *("*", "expandtabs", "indent", "wordwrap", "tojson", "urlize", "translate", "strip", "lstrip", "rstrip", "trim"),
    *("rfind", "rindex", "rsplit", "rpartition"),
}
_DIRECTIVE = re.compile(r"%(?:\([^()]*\))?([#0 +-]*[\d*]*(?:\.[\d*]*)?)[hlL]?(.?)", re.DOTALL)


class _Spent:
    """The costs of one rendering so far."""

    def __init__(self) -> None:
        self.steps = self.written = 0
        self.end = time.thread_time() + TEMPLATE_SECONDS  # of this thread: other load does not count

    def spend(self, written: int = 0) -> None:
        """Count a step, and characters that it writes; raise an InputError beyond a bound."""
        self.steps += 1
        self.written += written
        MAX_STEPS.check(self.steps, f"it takes more than {MAX_STEPS:,} steps")
        MAX_WRITTEN.check(self.written, f"it handles more than {MAX_WRITTEN:,} characters")
        if time.thread_time() > self.end:
            raise InputError(f"it takes more than {TEMPLATE_SECONDS} s ({TEMPLATE_SECONDS.how})")


_SPENT: ContextVar[_Spent | None] = ContextVar("spent", default=None)


def spend(written: int = 0) -> None:
    """Count a step of the current rendering, and characters that it writes."""
    spent = _SPENT.get()
    if spent is not None:
        spent.spend(written)


def weight(value: Any) -> int:
    """Return about how many characters a value has when it is printed.

    Raises:
        InputError: if it holds more than ``MAX_STEPS`` values.
    """
    if isinstance(value, str):
        return len(value)
    if isinstance(value, _PLAIN) or not isinstance(value, SIZED):
        return 1
    waiting, held, total = [value], 1, 0
    while waiting:
        each = waiting.pop()
        if isinstance(each, str):
            total += len(each)
        elif isinstance(each, SIZED):
            held += len(each)
            MAX_STEPS.check(held, f"a value holds more than {MAX_STEPS:,} others")
            total += len(each)
            if isinstance(each, dict):
                waiting += [*each.keys(), *each.values()]
            elif not isinstance(each, (range, bytes)):
                waiting += each
    return total


def charge(name: str, arguments: Sequence[Any], named: Mapping[str, Any]) -> None:
    """Count an operation by the size of its result: the sum of its arguments, or a product if one is repeated."""
    given, numbers = [*arguments, *named.values()], name in _LENGTHS
    sizes = [abs(each) if numbers and type(each) is int else weight(each) for each in given if type(each) is not bool]
    cost = sum(sizes)
    if name == "sum" and any(isinstance(each, SIZED) and not isinstance(each, str) for each in given[1:]):
        raise InputError("it sums lists")  # which copies them again and again
    if name in ("batch", "slice", "round"):
        MAX_STEPS.check(max(sizes[1:], default=0), f"`{name}` makes more than {MAX_STEPS:,} parts or digits")
    if name in _PRODUCTS:
        cost += math.prod(sorted(sizes, reverse=True)[:2])
    elif name == "replace":
        cost += _replaced(*arguments, **named)
    elif name in ("%", "format", "format_map") and given and isinstance(given[0], str):
        cost += sizes[0] * max(sizes[1:], default=1) + _widths(given[0], braces=name != "%")
    MAX_WRITTEN.check(cost, f"`{name}` may make a text of {MAX_WRITTEN:,} characters and more")
    spend(sum(sizes))


def _replaced(text: Any = "", old: Any = "", new: Any = "", *_: Any, **__: Any) -> int:
    """Return how many characters ``replace`` inserts into a text."""
    return str(text).count(str(old)) * weight(new)


def _widths(form: str, braces: bool) -> int:
    """Return the sum of the widths and precisions in a format.

    Raises:
        InputError: if one has six digits, or is an argument.
    """
    if braces:
        parts = [part or "" for _, _, part, _ in string.Formatter().parse(form)]
        wide = any("{" in part for part in parts)
    else:
        fields = _DIRECTIVE.findall(form)
        parts = [part for part, _ in fields]
        wide = any("*" in part or kind == "(" for part, kind in fields)  # a key with brackets hides the rest
    found = re.findall(r"\d+", " ".join(parts))
    if wide or any(len(each) > 5 for each in found):
        raise InputError(f"it formats by {form[:40]!r}, whose width is not bounded")
    return sum(map(int, found))


def pieces(values: Iterable[Any], between: Any) -> Iterator[Any]:
    """Yield the pieces of a join, and count each with its separator."""
    for each in values:
        spend(weight(each) + weight(between))
        yield each


@contextmanager
def spending() -> Iterator[None]:
    """Bound the total cost of all operations inside."""
    token = _SPENT.set(_Spent())
    try:
        yield
    finally:
        _SPENT.reset(token)
