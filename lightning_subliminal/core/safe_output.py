"""What reaches the terminal: text alone. A name, a value or a message of a file that somebody made moves no cursor.

``clean_output`` puts a filter before standard output and standard error, so that whatever is printed goes through it;
``rich_console`` makes consoles of which the text does, while their own colours and bars pass. Files, and bytes written
to ``sys.stdout.buffer``, stay as they are.
"""

import os
import re
import sys
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.segment import Segment

__all__ = ["JOINING", "CleanStream", "clean", "clean_output", "quiet_panics", "rich_console", "shorten"]

_PLAIN = re.compile(r"[\t\n -~]*")
_UP = re.compile(r"(?:\x1b\[A)+")  # how tqdm goes back to the line of an outer bar
JOINING = "\u200c\u200d\xad"  # how Persian, Indic texts and emoji are joined, and where a word may be parted
# What stands before Arabic, Syriac and Kaithi numbers is drawn, though Unicode counts it among the invisible.
_DRAWN = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
_CUT = 1000  # characters that are kept of each end of an error's line


def clean(text: str) -> str:
    r"""Return a text in which whatever a terminal might obey, or hide, is written out as ``\u001b``.

    Line breaks, tabs, spaces of all kinds, and what joins or parts letters stay. The spelling is that of JSON, so that
    a JSON text keeps its meaning.
    """
    if text.isprintable() or _PLAIN.fullmatch(text):
        return text
    return "".join(each if _is_text(each) else _written(each) for each in text)


def shorten(line: str) -> str:
    """Return a line without what is in its midst, where it is longer than anybody reads."""
    return line if len(line) <= 2 * _CUT else f"{line[:_CUT]} [...] {line[-_CUT:]}"


def _is_text(each: str) -> bool:
    return each.isprintable() or each in f"\n\t{JOINING}{_DRAWN}" or unicodedata.category(each) == "Zs"


def _written(each: str) -> str:
    code = ord(each)
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"


class CleanStream:
    """A text stream of which only text comes out; all but ``write`` is the stream's own.

    A carriage return at the begin of what is written, as bars of progress have it, passes.

    Args:
        stream: where to write.
    """

    def __init__(self, stream: TextIO) -> None:
        self.rich_proxied_file = stream  # rich writes there: its consoles clean text themselves

    def write(self, text: str) -> int:
        """Write a text, cleaned."""
        bar = text.startswith("\r") and not text.startswith("\r\n")
        kept = clean(_UP.sub("", text.replace("\r\n", "\n")).removeprefix("\r"))
        self.rich_proxied_file.write(f"\r{kept}" if bar else kept)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write texts, cleaned."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        """Return what the stream has of that name."""
        return getattr(self.rich_proxied_file, name)


@contextmanager
def clean_output() -> Iterator[None]:
    """Let nothing but text reach standard output and standard error inside."""
    before = sys.stdout, sys.stderr
    inside: Any = tuple(CleanStream(each) if each is not None else each for each in before)
    sys.stdout, sys.stderr = inside
    try:
        yield
    finally:
        if sys.stdout is inside[0]:  # else somebody has put another one there, as when a pipe's reader has gone
            sys.stdout = before[0]
        if sys.stderr is inside[1]:
            sys.stderr = before[1]


def rich_console(**settings: Any) -> "Console":
    """Return a console of rich whose texts are cleaned.

    Args:
        settings: of ``rich.console.Console``.
    """
    console: Console = _clean_console()(**settings)
    return console


@cache
def _clean_console() -> Any:
    from rich.console import Console
    from rich.segment import Segment

    class CleanConsole(Console):
        """A console that escapes all that is not text, at the one place where its output is put together."""

        def _render_buffer(self, buffer: "Iterable[Segment]") -> str:
            return super()._render_buffer(
                each if each.control else Segment(clean(each.text), each.style) for each in buffer
            )

    return CleanConsole


@contextmanager
def quiet_panics() -> Iterator[None]:
    """Keep what a library in Rust prints of its own panic from standard error; all else that is printed comes after."""
    try:
        sys.stderr.flush()
        saved = os.dup(2)
    except (AttributeError, OSError, ValueError):  # there is none
        yield
        return
    with tempfile.TemporaryFile() as kept:
        os.dup2(kept.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            kept.seek(0)
            told = kept.read().decode(errors="replace")
            if told and " panicked at " not in told:
                sys.stderr.write(told)
