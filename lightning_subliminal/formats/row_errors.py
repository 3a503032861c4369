"""Errors of single rows: the field, what was expected there, what was found; and the reason that is counted."""

import re
from typing import Any, Final

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.safe_output import JOINING

__all__ = ["MISSING", "Fault", "describe_value", "expected", "printable"]


class _Missing:
    """The value of a field that does not exist."""


MISSING: Final = _Missing()
_LONGEST = 40  # characters of a wrong text that are shown


class Fault(InputError):  # noqa: N818 - it is about a row, and the pipeline decides whether it is an error
    """One row is wrong. ``str()`` has all details; ``reason`` is equal for all rows with the same kind of fault.

    Args:
        field: where, such as ``completion[0].content``; empty for the whole row.
        what: what was expected, and what was found.
        reason: the short text that is counted; field and ``what`` where it is empty.
        holders: schemas that can hold the row, as is said at the end of the text.
    """

    def __init__(self, field: str, what: str, reason: str = "", holders: tuple[str, ...] = ()) -> None:
        self.bare = what  # without the holders
        self.holders = holders
        if holders:
            what += (
                f"; {', '.join(holders[:-1])} and {holders[-1]} hold it" if len(holders) > 1 else f"; {holders[0]} can"
            )
        super().__init__(printable(f"{field}: {what}" if field else what))
        self.field = field
        self.what = what
        where = re.sub(r"\[\d+\]", "[]", field)
        reason = reason or what
        self.reason = printable(f"{where}: {reason}" if where else reason)


def expected(field: str, kind: str, value: Any, hint: str = "") -> Fault:
    """Return the fault of a value that is not of the kind it should be.

    Example:
        >>> str(expected("completion[0].content", "text", 3))
        'completion[0].content: expected text, found number 3'
        >>> expected("completion[0].content", "text", 3).reason
        'completion[].content: expected text, found number'
    """
    found, detail = describe_value(value)
    return Fault(field, f"expected {kind}, found {found}{detail}{hint}", f"expected {kind}, found {found}")


def printable(text: str) -> str:
    """Return a text with escapes for what a terminal might obey, such as a column's name from a file."""
    return (
        text
        if text.isprintable()
        else "".join(each if each.isprintable() or each in JOINING else ascii(each)[1:-1] for each in text)
    )


def describe_value(value: Any) -> tuple[str, str]:
    """Return a value's kind in words, and the detail that identifies the value."""
    if value is MISSING:
        return "nothing", ""
    if value is None:
        return "null", ""
    if isinstance(value, bool):
        return str(value).lower(), ""
    if isinstance(value, (int, float)):
        return "number", f" {value:.6g}" if isinstance(value, float) or abs(value) > 10**15 else f" {value}"
    if isinstance(value, str):
        short = value if len(value) <= _LONGEST else f"{value[:_LONGEST]}…"
        return ("text", f" {short!r}") if value else ("an empty text", "")
    if isinstance(value, (list, tuple)):
        return ("a list", f" of {len(value)}") if value else ("an empty list", "")
    if isinstance(value, dict):
        keys = ", ".join(str(key)[:_LONGEST] for key in list(value)[:8])
        return ("an object", f" with {keys}") if value else ("an empty object", "")
    return type(value).__name__, ""
