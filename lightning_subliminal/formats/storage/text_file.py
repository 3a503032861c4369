"""Text files that may be gzipped: their lines as bytes, with how far they are read."""

import gzip
import io
import sys
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.bounds import MAX_LINE, Expansion
from lightning_subliminal.core.io.files import open_plain
from lightning_subliminal.core.io.lfs import refuse_pointer

__all__ = ["BOM", "TextFile"]

BOM = b"\xef\xbb\xbf"
_FOREIGN = {b"PAR1": "Parquet (.parquet)", b"\x1f\x8b": "gzip (.gz)", b"PK\x03\x04": "zip", b"ARROW1": "Arrow"}
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


class TextFile:
    """A text file's bytes, unzipped, with how far they are read.

    Args:
        path: the file; "-" for the standard input.
        name: what messages call it.

    Raises:
        InputError: if it can't be opened, or its content is of another kind than its name.
    """

    def __init__(self, path: str, name: str) -> None:
        self.name = name
        self.path = path
        zipped = path.endswith(".gz")
        if path != "-":
            refuse_pointer(Path(path))
        try:
            self._raw: IO[bytes] = sys.stdin.buffer if path == "-" else open_plain(Path(path))
        except OSError as err:
            raise InputError(f"{name} can't be read ({err.strerror or err}).") from err
        self.size = 0 if path == "-" else Path(path).stat().st_size
        unzipped: Any = _Unzipped(self._raw, name, self.size) if zipped else self._raw
        self.stream: Any = io.BufferedReader(unzipped, 1 << 20) if zipped else unzipped  # lines come faster this way
        if path != "-" and not zipped:
            head = self._raw.read(8)
            self._raw.seek(0)
            if head.startswith(_UTF16):
                raise InputError(f"{name} is UTF-16: save it as UTF-8.")
            if kind := next((kind for magic, kind in _FOREIGN.items() if head.startswith(magic)), None):
                raise InputError(f"{name} is {kind}, not text: rename it with that extension.")

    def position(self) -> int:
        """Return how many bytes of the file on disk are read."""
        return self._raw.tell() if self.size and not self._raw.closed else self.size

    def lines(self) -> Iterator[bytes]:
        """Yield the lines as bytes, without a byte order mark; only a line feed ends one.

        Raises:
            InputError: if the file is truncated or can't be read.
        """
        try:
            with self.reading():
                for number, line in enumerate(iter(partial(self.stream.readline, MAX_LINE + 1), b""), start=1):
                    MAX_LINE.check(len(line), f"{self.name}, line {number} has more than {MAX_LINE:,} bytes")
                    yield line.removeprefix(BOM) if number == 1 else line
        finally:
            if self.size:
                self._raw.close()

    def text(self) -> io.TextIOWrapper:
        """Return the file as UTF-8 text, its line ends unchanged."""
        return io.TextIOWrapper(self.stream, encoding="utf-8-sig", newline="")

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Report errors of reading in one line.

        Raises:
            InputError: naming the file, in place of the library's error.
        """
        try:
            yield
        except (EOFError, zlib.error) as err:
            raise InputError(f"{self.name} is truncated: fetch or write it again.") from err
        except gzip.BadGzipFile as err:
            raise InputError(f"{self.name} is not a gzip file ({err}): rename it with the right extension.") from err
        except UnicodeDecodeError as err:
            raise InputError(f"{self.name} is not UTF-8 text ({err.reason}): save it as UTF-8.") from err
        except BrokenPipeError:
            raise
        except OSError as err:
            raise InputError(f"{self.name} can't be read ({err.strerror or err}).") from err


class _Unzipped(io.RawIOBase):
    """The bytes that a gzip file unpacks to, counted.

    Args:
        raw: the file.
        name: what messages call it.
        size: its bytes on disk.
    """

    def __init__(self, raw: IO[bytes], name: str, size: int) -> None:
        self._stream = gzip.GzipFile(fileobj=raw)
        self._expansion = Expansion(name, size)

    def readable(self) -> bool:
        return True

    def readinto(self, block: Any) -> int:
        count = self._stream.readinto(block)
        self._expansion.add(count)
        return count
