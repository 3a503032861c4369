"""Terminal output without control characters: names, values and messages of files cannot control the terminal.

``clean_output`` filters all that is printed to standard output and standard error; ``rich_console`` returns consoles
whose text is filtered, while their own colours and bars pass. Files and bytes for ``sys.stdout.buffer`` are unchanged.
"""

import os
import re
import sys
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from copy import copy
from functools import cache
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn
    from rich.segment import Segment

__all__ = ["JOINING", "CleanStream", "clean", "clean_output", "quiet_panics", "rich_console", "shorten", "stderr_bar"]

_PLAIN = re.compile(r"[\t\n -~]*")
_UP = re.compile(r"(?:\x1b\[A)+")  # how tqdm returns to the line of an outer bar
JOINING = "\u200c\u200d\xad"  # joiners of Persian, Indic texts and emoji, and the soft hyphen
# Signs before Arabic, Syriac and Kaithi numbers, which are visible although Unicode classes them as format characters.
_DRAWN = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"
_CUT = 1000  # characters kept at each end of a long error line


def clean(text: str) -> str:
    r"""Return a text with control and invisible characters escaped as in JSON, such as ``\u001b``.

    Line breaks, tabs, all spaces, joiners and soft hyphens stay. A JSON text keeps its meaning.
    """
    if text.isprintable() or _PLAIN.fullmatch(text):
        return text
    return "".join(_escaped(each) for each in text)


def shorten(line: str) -> str:
    """Return a line with its middle left out if it is very long."""
    return line if len(line) <= 2 * _CUT else f"{line[:_CUT]} [...] {line[-_CUT:]}"


def _escaped(each: str) -> str:
    if each.isprintable() or each in f"\n\t{JOINING}{_DRAWN}" or unicodedata.category(each) == "Zs":
        return each
    code = ord(each)
    if code < 0x10000:
        return f"\\u{code:04x}"
    code -= 0x10000
    return f"\\u{0xD800 + (code >> 10):04x}\\u{0xDC00 + (code & 0x3FF):04x}"


class CleanStream:
    """A wrapper of a text stream that escapes control characters.

    A carriage return at the beginning, as progress bars write it, passes.

    Args:
        stream: the stream to write to.
    """

    def __init__(self, stream: TextIO) -> None:
        self.rich_proxied_file = stream  # rich writes there, with its text already cleaned

    def write(self, text: str) -> int:
        """Write a cleaned text."""
        bar = text.startswith("\r") and not text.startswith("\r\n")
        kept = clean(_UP.sub("", text.replace("\r\n", "\n")).removeprefix("\r"))
        self.rich_proxied_file.write(f"\r{kept}" if bar else kept)
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write cleaned texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        """Return the stream's own attribute."""
        return getattr(self.rich_proxied_file, name)


@contextmanager
def clean_output() -> Iterator[None]:
    """Escape control characters on standard output and standard error inside."""
    before = sys.stdout, sys.stderr
    inside: Any = tuple(CleanStream(each) if each is not None else each for each in before)
    sys.stdout, sys.stderr = inside
    try:
        yield
    finally:
        if sys.stdout is inside[0]:  # else it was replaced, as when the reader of a pipe has closed it
            sys.stdout = before[0]
        if sys.stderr is inside[1]:
            sys.stderr = before[1]


def rich_console(**settings: Any) -> "Console":
    """Return a console of rich, by the arguments of ``rich.console.Console``, whose texts are cleaned."""
    console: Console = _clean_console()(**settings)
    return console


def stderr_bar(*columns: "ProgressColumn") -> "AbstractContextManager[Progress]":
    """Return a progress bar on standard error, of nothing without a terminal: rich 14 ends it with an empty line."""
    from rich.progress import Progress

    console = rich_console(stderr=True)
    bar = Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
    return bar if console.is_terminal else nullcontext(bar)


@cache
def _clean_console() -> Any:
    from rich.console import Console
    from rich.segment import Segment
    from rich.table import Table

    class CleanConsole(Console):
        """A console that escapes control characters where its output is assembled, and keeps titles in one line."""

        def print(self, *objects: Any, **settings: Any) -> None:
            """Print, with the title of a table as a line above it: rich wraps it to the width of the table."""
            if len(objects) == 1 and isinstance(objects[0], Table) and objects[0].title:
                table = copy(objects[0])
                title, table.title = table.title, None
                super().print(title, style="table.title", markup=False, soft_wrap=True)
                objects = (table,)
            super().print(*objects, **settings)

        def _render_buffer(self, buffer: "Iterable[Segment]") -> str:
            return super()._render_buffer(
                each if each.control else Segment(clean(each.text), each.style) for each in buffer
            )

    return CleanConsole


@contextmanager
def quiet_panics() -> Iterator[None]:
    """Suppress the panic messages of libraries in Rust on standard error; other output is printed at the end."""
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
            text = kept.read().decode(errors="replace")
            if " panicked at " not in text:
                sys.stderr.write(text)
