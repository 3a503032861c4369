"""Records one by one out of text files: JSON lines, a JSON list, CSV, plain text with marks; all may be gzipped.

A record that can't be read comes as a fault, so that the next one can still be read. A file that can't be read, or ends
too early, is an error.
"""

import csv
import gzip
import io
import json
import sys
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.bounds import MAX_LINE, Expansion
from lightning_subliminal.core.io.files import open_plain
from lightning_subliminal.core.io.lfs import refuse_pointer
from lightning_subliminal.formats.layouts.messages import read_text
from lightning_subliminal.formats.layouts.shapes import one_object
from lightning_subliminal.formats.row_errors import Fault
from lightning_subliminal.formats.storage.json_text import Decoder, list_elements

__all__ = ["ROW_MARK", "Found", "TextFile", "read_csv", "read_json", "read_jsonl", "read_txt"]

ROW_MARK = "=== row ==="  # the line before each row of a .txt
_BOM = b"\xef\xbb\xbf"
_FOREIGN = {b"PAR1": "Parquet (.parquet)", b"\x1f\x8b": "gzip (.gz)", b"PK\x03\x04": "zip", b"ARROW1": "Arrow"}
_LARGEST_OBJECT = 2**28  # bytes of a file that is read whole only to say what it is
_UTF16 = (b"\xff\xfe", b"\xfe\xff")


class Found(NamedTuple):
    """One record, and where it was found.

    Attributes:
        place: the file or set, as messages name it.
        unit: ``line`` or ``row``.
        number: of the line or row, from 1.
        record: what is there; where it can't be read, its text.
        fault: why it can't be read.
        part: which row of a record that holds several, from 1.
    """

    place: str
    unit: str
    number: int
    record: Any
    fault: Fault | None = None
    part: int = 0

    def __str__(self) -> str:
        part = f", part {self.part}" if self.part else ""
        return f"{self.place}, {self.unit} {self.number}{part}"


class TextFile:
    """A text file's bytes, unzipped, with how far they are read.

    Args:
        path: the file; "-" for the standard input.
        name: what messages call it.

    Raises:
        InputError: if it can't be opened, or is of another kind than its name says.
    """

    def __init__(self, path: str, name: str) -> None:
        self.name = name
        self.path = path
        if path != "-":
            refuse_pointer(Path(path))
        zipped = path.endswith(".gz")
        try:
            self._raw: IO[bytes] = sys.stdin.buffer if path == "-" else open_plain(Path(path))
        except OSError as err:
            raise InputError(f"{name} can't be read ({err.strerror or err}).") from err
        self.size = 0 if path == "-" else Path(path).stat().st_size
        unzipped: Any = _Unzipped(self._raw, name, self.size) if zipped else self._raw
        self.stream: Any = io.BufferedReader(unzipped, 1 << 20) if zipped else unzipped  # lines come quicker so
        if path != "-" and not zipped:
            self._check_kind(self._raw.read(8))
            self._raw.seek(0)

    def position(self) -> int:
        """Return how many bytes of the file on disk are read."""
        return self._raw.tell() if self.size and not self._raw.closed else self.size

    def lines(self) -> Iterator[bytes]:
        """Yield the lines as bytes, without a byte order mark; only a line feed ends one.

        Raises:
            InputError: if the file breaks off or can't be read.
        """
        try:
            with self.reading():
                first = True
                for number, line in enumerate(iter(partial(self.stream.readline, MAX_LINE + 1), b""), start=1):
                    MAX_LINE.check(len(line), f"{self.name}, line {number} has more than {MAX_LINE:,} bytes")
                    yield line.removeprefix(_BOM) if first else line
                    first = False
        finally:
            if self.size:
                self._raw.close()

    def text(self) -> io.TextIOWrapper:
        """Return the file as UTF-8 text, its line ends as they are."""
        return io.TextIOWrapper(self.stream, encoding="utf-8-sig", newline="")

    def reading(self) -> "_Reading":
        """Return a context in which the errors of reading are told in one line."""
        return _Reading(self.name)

    def _check_kind(self, head: bytes) -> None:
        if head.startswith(_UTF16):
            raise InputError(f"{self.name} is UTF-16: save it as UTF-8.")
        for magic, kind in _FOREIGN.items():
            if head.startswith(magic):
                raise InputError(f"{self.name} is no text, but {kind}: give it that ending.")


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


class _Reading:
    """Tells what breaks while a file is read."""

    def __init__(self, name: str) -> None:
        self.name = name

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, err: BaseException | None, trace: object) -> None:
        if isinstance(err, (EOFError, zlib.error)):
            raise InputError(f"{self.name} breaks off before its end: fetch or write it again.") from err
        if isinstance(err, gzip.BadGzipFile):
            raise InputError(f"{self.name} is no gzip file ({err}): give it the ending of what it is.") from err
        if isinstance(err, UnicodeDecodeError):
            raise InputError(f"{self.name} is no UTF-8 text ({err.reason}): save it as UTF-8.") from err
        if isinstance(err, OSError) and not isinstance(err, BrokenPipeError):
            raise InputError(f"{self.name} can't be read ({err.strerror or err}).") from err


def read_jsonl(file: TextFile, name: str) -> Iterator[Found]:
    """Yield the records of JSON lines; empty lines are none."""
    decoder, begun = Decoder(), False
    for number, line in enumerate(file.lines(), start=1):
        if not line.strip():
            continue
        text, fault = _decoded(line.rstrip(b"\r\n"))
        record: Any = text
        if fault is None:
            try:
                record = decoder.one(text)
                _check_surrogates(record, text)
            except Fault as found:
                fault = found
                if not begun:
                    _refuse_whole(file, name)
        begun = True
        yield Found(name, "line", number, record, fault)


def read_json(file: TextFile, name: str) -> Iterator[Found]:
    """Yield the records of a JSON list, without holding the list; a file of JSON lines is read as such.

    Raises:
        InputError: if it is neither, saying where.
    """
    with file.reading():
        head = file.stream.peek(1 << 16)[: 1 << 16].removeprefix(_BOM).lstrip()
    if head[:1] != b"[":  # an empty file holds no rows in either way
        if head[:1] not in (b"{", b""):
            raise InputError(f"{name} is no JSON list: expected [ at its beginning, found {head[:1]!r}.")
        yield from read_jsonl(file, name)
        return
    with file.reading():
        for number, (record, text, fault) in enumerate(list_elements(file.text().read, name), start=1):
            if fault is None:
                try:
                    _check_surrogates(record, text)
                except Fault as found:
                    fault = found
            yield Found(name, "row", number, record, fault)


def _refuse_whole(file: TextFile, name: str) -> None:
    """Refuse a file whose JSON goes over several lines: an object with its rows under a key, a list, several objects.

    Raises:
        InputError: saying what it is: of an object its keys, and where the rows seem to be.
    """
    if file.path == "-" or file.size > _LARGEST_OBJECT:
        return
    again = TextFile(file.path, name)
    try:
        with again.reading():
            text = again.text().read()
        whole = json.loads(text)
    except json.JSONDecodeError as err:
        if err.msg == "Extra data" and "\n" in text[: err.pos].strip():
            raise InputError(
                f"{name} holds JSON values over several lines: write each in one line, as `jq -c .` does."
            ) from err
        return
    except (ValueError, RecursionError, InputError):
        return
    finally:
        again.stream.close()
    if isinstance(whole, list):
        raise InputError(f"{name} is one JSON list ({len(whole)} elements), not JSON lines: give it the ending .json.")
    if isinstance(whole, dict):
        raise InputError(f"{name} {one_object(whole)}.")


def read_csv(file: TextFile, name: str) -> Iterator[Found]:
    """Yield the records of a CSV file with a head line."""
    csv.field_size_limit(int(MAX_LINE))  # the library's own limit is 128 kB
    with file.reading():
        reader = csv.reader(file.text(), strict=True)
        try:
            columns = next(reader, [])
            if len(set(columns)) < len(columns):
                raise InputError(f"{name}, line 1: a column is there twice: {', '.join(columns)}.")
            begun = reader.line_num + 1
            for values in reader:
                if values:
                    fault = None
                    if len(values) != len(columns):
                        many = f"expected {len(columns)} values, found {len(values)}"
                        fault = Fault("", f"{many}: quote texts that hold commas", "expected as many values as columns")
                    record = values if fault else dict(zip(columns, values, strict=True))
                    yield Found(name, "line", begun, record, fault)
                begun = reader.line_num + 1
        except csv.Error as err:
            raise InputError(f"{name}, line {reader.line_num}: {err}; expected CSV with a head line.") from err


def read_txt(file: TextFile, name: str) -> Iterator[Found]:
    """Yield the texts of a .txt: those under the lines ``=== row ===``, or where the first is none, each line.

    Raises:
        InputError: if the marks were changed, so that texts would be read wrongly.
    """
    lines = enumerate(file.lines(), start=1)
    begun, first = next(((number, line) for number, line in lines if line.strip()), (1, b""))
    mark = ROW_MARK.encode()
    if first.rstrip(b"\n") == mark:
        body: list[bytes] = []
        for number, line in lines:
            if line.rstrip(b"\n") == mark:
                yield _marked(name, begun, body)
                begun, body = number, []
            else:
                body.append(line)
        yield _marked(name, begun, body)
        return
    if first.strip().startswith(b"=== ") and first.strip().endswith(b" ==="):
        found = first.decode(errors="backslashreplace")
        raise InputError(f"{name}, line {begun}: expected the line {ROW_MARK!r} alone, found {found!r}.")
    if first:
        yield _line(name, begun, first)
        yield from (_line(name, number, line) for number, line in lines if line.strip())


def _marked(name: str, number: int, body: list[bytes]) -> Found:
    body = [line[1:] if line.lstrip(b"\\").rstrip(b"\n") == ROW_MARK.encode() else line for line in body]
    text, fault = _decoded(b"".join(body).removesuffix(b"\n"))
    return Found(name, "line", number, {"text": text}, fault)


def _line(name: str, number: int, line: bytes) -> Found:
    text, fault = _decoded(line.removesuffix(b"\n").removesuffix(b"\r"))
    return Found(name, "line", number, {"text": text}, fault)


def _decoded(line: bytes) -> tuple[str, Fault | None]:
    try:
        return line.decode(), None
    except UnicodeDecodeError as err:
        what = f"expected UTF-8 text, found byte 0x{line[err.start]:02x} at {err.start + 1}"
        return line.decode(errors="backslashreplace"), Fault("", what, "expected UTF-8 text")


def _check_surrogates(record: Any, text: str) -> None:
    """Refuse a record with half of a surrogate pair: JSON can spell it, UTF-8 can't."""
    if "\\ud" in text or "\\uD" in text:
        try:
            _walk(record, "")
        except RecursionError as err:
            raise Fault("", "expected an object, found brackets nested too deep to read") from err


def _walk(value: Any, path: str) -> None:
    if isinstance(value, str):
        read_text(value, path)
    elif isinstance(value, dict):
        for key, inner in value.items():
            read_text(key, path or "a key")
            _walk(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            _walk(inner, f"{path}[{place}]")
