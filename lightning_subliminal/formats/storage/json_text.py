"""Read JSON in a stream: the value of a line, or the elements of a list one by one without holding the list."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.bounds import MAX_LINE
from lightning_subliminal.formats.row_errors import Fault
from lightning_subliminal.lineage.strict_json import StrictDecoder

__all__ = ["Decoder", "list_elements"]

_PROBLEMS = {  # the beginning of a message of Python's parser, and ours for it
    "Expecting value": "no value",
    "Expecting property name": "no name in double quotes",
    "Illegal trailing comma": "a comma with nothing after it",
    "Expecting ',' delimiter": "no comma",
    "Expecting ':' delimiter": "no colon",
    "Unterminated string": "an unterminated text",
    "Invalid control character": "a control character in a text",
    "Invalid \\escape": "an unknown escape in a text",
    "Invalid \\uXXXX escape": "a broken \\u escape in a text",
    "Unexpected UTF-8 BOM": "a byte order mark",
    "Extra data": "more than one value",
}
CHUNK = 1 << 18  # characters of a list that are parsed together


class Decoder(StrictDecoder):
    """The strict decoder of statements, for rows: it names the first fault of a row."""

    def one(self, text: str) -> Any:
        """Read a whole text as one value.

        Raises:
            Fault: if it is not valid JSON, or has a key twice.
        """
        self.twice.clear()  # of a text that was broken
        try:
            value = self.decode(text)
        except (ValueError, RecursionError) as err:
            raise _invalid(err) from err
        if fault := self.fault():
            raise fault
        return value

    def next(self, text: str, start: int) -> tuple[Any, int]:
        """Return the value that begins at ``start``, and where it ends; then ``fault`` checks it."""
        self.twice.clear()
        return self.raw_decode(text, start)

    def fault(self) -> Fault | None:
        """Return the fault of the value read last, if it has a key twice."""
        if not self.twice:
            return None
        key = self.twice[0]
        self.twice.clear()
        return Fault("", f"expected each key once, found {key[:40]!r} twice", "expected each key once")


class _Window:
    """The part of a JSON list that is being parsed: little more than one element.

    Args:
        read: returns up to a number of further characters.
        name: what messages call the file.
    """

    def __init__(self, read: Callable[[int], str], name: str) -> None:
        self.read, self.name = read, name
        self.buffer, self.at, self.line, self.done = "", 0, 1, False

    def more(self) -> None:
        """Double the part, so that a long element is scanned few times."""
        if self.at > len(self.buffer) // 2:
            self.line += self.buffer.count("\n", 0, self.at)
            self.buffer, self.at = self.buffer[self.at :], 0
        held = len(self.buffer) - self.at
        MAX_LINE.check(held, f"{self.name}, line {self.line}: an element of more than {MAX_LINE:,} characters")
        text = self.read(max(CHUNK, len(self.buffer)))
        self.done = not text
        self.buffer += text

    def next(self) -> str:
        """Move to the next character that is not white space, and return it; empty at the end."""
        while True:
            while self.at < len(self.buffer) and self.buffer[self.at] in " \t\n\r":
                self.at += 1
            if self.at < len(self.buffer) or self.done:
                return self.buffer[self.at : self.at + 1]
            self.more()

    def value(self, decoder: Decoder) -> tuple[Any, str]:
        """Return the value that begins here, and its text.

        Raises:
            InputError: if there is none, naming the line.
        """
        while True:
            try:
                record, end = decoder.next(self.buffer, self.at)
                if end < len(self.buffer) or self.done:  # else a number might continue
                    text = self.buffer[self.at : end]
                    self.at = end
                    return record, text
            except json.JSONDecodeError as err:
                near = err.pos > len(self.buffer) - 16 or err.msg.startswith("Unterminated string")
                if self.done or not near:
                    raise self.broken(_problem(err), err.pos) from err
            except (ValueError, RecursionError) as err:
                raise InputError(f"{self.name}, line {self.line_at(self.at)}: {_invalid(err)}") from err
            self.more()

    def broken(self, problem: str, at: int) -> InputError:
        """Return the error of a problem at a place of the buffer."""
        found = f"not valid JSON: {problem}, found {self.buffer[at : at + 20]!r}"
        if at >= len(self.buffer):
            found = f"the list is truncated: {problem}"
        return InputError(f"{self.name}, line {self.line_at(at)}: {found}.")

    def line_at(self, at: int) -> int:
        """Return the number of the line in which a place of the buffer is."""
        return self.line + self.buffer.count("\n", 0, at)


def list_elements(read: Callable[[int], str], name: str) -> Iterator[tuple[Any, str, Fault | None]]:
    """Yield the elements of a JSON list, each with its text and what is wrong with it."""
    decoder, window = Decoder(), _Window(read, name)
    window.next()
    window.at += 1  # after the bracket
    after = window.next()
    while after != "]":
        window.next()
        record, text = window.value(decoder)
        yield record, text, decoder.fault()
        after = window.next()
        if after not in ("]", ","):
            raise window.broken("expected , or ]", window.at)
        window.at += after == ","
    window.at += 1
    if window.next():
        raise window.broken("expected nothing after the list", window.at)


def _invalid(err: Exception) -> Fault:
    if isinstance(err, json.JSONDecodeError):
        reason = f"not valid JSON: {_problem(err)}"
        return Fault("", f"{reason} at character {err.pos + 1}; expected one object", reason)
    if isinstance(err, RecursionError):
        return Fault("", "expected an object, found brackets nested too deep to read")
    return Fault("", "expected numbers of at most 4,300 digits, found a longer one")


def _problem(err: json.JSONDecodeError) -> str:
    """Describe in our words what Python's parser found."""
    return next((ours for theirs, ours in _PROBLEMS.items() if err.msg.startswith(theirs)), err.msg)
