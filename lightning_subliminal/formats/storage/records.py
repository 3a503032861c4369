"""Read records one by one from text files: JSON lines, a JSON list, CSV, plain text with marks; all may be gzipped.

A record that can't be read is yielded as a fault, so that the next one can still be read. A file that can't be read, or
is truncated, is an error.
"""

import csv
import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.bounds import MAX_LINE
from lightning_subliminal.formats.layouts.messages import read_text
from lightning_subliminal.formats.layouts.shapes import one_object
from lightning_subliminal.formats.row_errors import Fault
from lightning_subliminal.formats.storage.json_text import Decoder, list_elements
from lightning_subliminal.formats.storage.text_file import BOM, TextFile

__all__ = ["ROW_MARK", "Found", "TextFile", "read_csv", "read_json", "read_jsonl", "read_txt"]

ROW_MARK = "=== row ==="  # the line before each row of a .txt
_LARGEST_OBJECT = 2**28  # bytes of a file that is read whole only to name what it is


class Found(NamedTuple):
    """One record, and where it was found.

    Attributes:
        place: the file or set, as messages name it.
        unit: ``line`` or ``row``.
        number: of the line or row, from 1.
        record: its content; its text where it can't be read.
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


def read_jsonl(file: TextFile, name: str) -> Iterator[Found]:
    """Yield the records of JSON lines; empty lines are skipped."""
    decoder, first = Decoder(), True
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
                if first:
                    _refuse_whole(file, name)
        first = False
        yield Found(name, "line", number, record, fault)


def read_json(file: TextFile, name: str) -> Iterator[Found]:
    """Yield the records of a JSON list, without holding the list; a file of JSON lines is read as such.

    Raises:
        InputError: if it is neither, naming the place.
    """
    with file.reading():
        head = file.stream.peek(1 << 16)[: 1 << 16].removeprefix(BOM).lstrip()
    if head[:1] != b"[":  # an empty file holds no rows either way
        if head[:1] not in (b"{", b""):
            raise InputError(f"{name} is not a JSON list: expected [ at its beginning, found {head[:1]!r}.")
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
    """Refuse a file whose JSON spans several lines: an object with its rows under a key, a list, several objects.

    Raises:
        InputError: describing it: of an object its keys, and where the rows seem to be.
    """
    if file.path == "-" or file.size > _LARGEST_OBJECT:
        return
    again = TextFile(file.path, name)
    try:
        with again.reading():
            text = again.text().read()
        if "\n" not in text.strip():  # one row, whose fault is known
            return
        whole = json.loads(text)
    except json.JSONDecodeError as err:
        if err.msg == "Extra data" and "\n" in text[: err.pos].strip():
            raise InputError(
                f"{name} holds JSON values that span several lines: write each in one line, as `jq -c .` does."
            ) from err
        return
    except (ValueError, RecursionError, InputError):
        return
    finally:
        again.stream.close()
    if isinstance(whole, list):
        raise InputError(f"{name} is one JSON list ({len(whole)} elements), not JSON lines: rename it to end in .json.")
    if isinstance(whole, dict):
        raise InputError(f"{name} {one_object(whole)}.")


def read_csv(file: TextFile, name: str) -> Iterator[Found]:
    """Yield the records of a CSV file with a header line."""
    csv.field_size_limit(int(MAX_LINE))  # the library's own limit is 128 kB
    with file.reading():
        reader = csv.reader(file.text(), strict=True)
        try:
            columns = next(reader, [])
            if len(set(columns)) < len(columns):
                raise InputError(f"{name}, line 1: a column appears twice: {', '.join(columns)}.")
            start = reader.line_num + 1
            for values in reader:
                if values:
                    fault = None
                    if len(values) != len(columns):
                        many = f"expected {len(columns)} values, found {len(values)}"
                        fault = Fault("", f"{many}: quote texts that hold commas", "expected as many values as columns")
                    record = values if fault else dict(zip(columns, values, strict=True))
                    yield Found(name, "line", start, record, fault)
                start = reader.line_num + 1
        except csv.Error as err:
            raise InputError(f"{name}, line {reader.line_num}: {err}; expected CSV with a header line.") from err


def read_txt(file: TextFile, name: str) -> Iterator[Found]:
    """Yield the texts of a .txt: those under the lines ``=== row ===``, or each line if the first is not such a mark.

    Raises:
        InputError: if the marks were changed, so that texts would be read wrongly.
    """
    lines = enumerate(file.lines(), start=1)
    start, first = next(((number, line) for number, line in lines if line.strip()), (1, b""))
    mark = ROW_MARK.encode()
    if first.rstrip(b"\n") == mark:
        body: list[bytes] = []
        for number, line in lines:
            if line.rstrip(b"\n") == mark:
                yield _marked(name, start, body)
                start, body = number, []
            else:
                body.append(line)
        yield _marked(name, start, body)
        return
    if first.strip().startswith(b"=== ") and first.strip().endswith(b" ==="):
        found = first.decode(errors="backslashreplace")
        raise InputError(f"{name}, line {start}: expected the line {ROW_MARK!r} alone, found {found!r}.")
    if first:
        yield _text(name, start, first.removesuffix(b"\n").removesuffix(b"\r"))
        for number, line in lines:
            if line.strip():
                yield _text(name, number, line.removesuffix(b"\n").removesuffix(b"\r"))


def _marked(name: str, number: int, body: list[bytes]) -> Found:
    body = [line[1:] if line.lstrip(b"\\").rstrip(b"\n") == ROW_MARK.encode() else line for line in body]
    return _text(name, number, b"".join(body).removesuffix(b"\n"))


def _text(name: str, number: int, data: bytes) -> Found:
    text, fault = _decoded(data)
    return Found(name, "line", number, {"text": text}, fault)


def _decoded(line: bytes) -> tuple[str, Fault | None]:
    try:
        return line.decode(), None
    except UnicodeDecodeError as err:
        what = f"expected UTF-8 text, found byte 0x{line[err.start]:02x} at {err.start + 1}"
        return line.decode(errors="backslashreplace"), Fault("", what, "expected UTF-8 text")


def _check_surrogates(record: Any, text: str) -> None:
    """Refuse a record with half of a surrogate pair: JSON can write it, UTF-8 can't."""
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
