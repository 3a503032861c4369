"""Write records to a container, in a stream, whole or not at all."""

import csv
import gzip
import io
import json
import os
import re
import shutil
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, Any

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import atomically
from lightning_subliminal.formats.layouts.schema import INPUT_READ, input_is_read
from lightning_subliminal.formats.row_errors import Fault, expected
from lightning_subliminal.formats.storage.readers import container
from lightning_subliminal.formats.storage.records import ROW_MARK
from lightning_subliminal.formats.storage.table_writer import write_folder, write_parquet
from lightning_subliminal.formats.storage.tables import is_dataset_folder

__all__ = ["HELD", "Sink", "json_line"]

HELD = {"txt": ("text",), "csv": ("trl-plain", "alpaca", "text", "columns")}  # by containers that can't hold all
_ANSWER = "=== assistant ==="  # how a schema `text` announces it
_SPLITTING = re.compile("[\u2028\u2029\x85]")  # where str.splitlines() would split a line
_STRICT = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
_MARKED_ROW = re.compile(rf"^(\\*{ROW_MARK})$", re.MULTILINE)


class Sink:
    """A container to write records to.

    Args:
        out: the file by its extension; without one a folder of `datasets`; "-" is the standard output, as JSON lines.
        schema: the name of the records' schema.

    Attributes:
        notices: what could not be written as it was, and how often.

    Raises:
        InputError: if it can't be written, or the container can't hold the schema.
    """

    def __init__(self, out: str | Path, schema: str) -> None:
        self.name = str(out)
        self.path = Path(out)
        self.notices: Counter[str] = Counter()
        self.kind = container(self.name) if self.name == "-" or self.path.suffix else "folder"
        if self.kind == "txt" and schema != "text":
            raise InputError(f"{self.name}: a .txt holds the schema text, not {schema}: omit --to, or set it to text.")
        if schema not in HELD.get(self.kind, (schema,)):
            held = ", ".join(HELD[self.kind])
            raise InputError(
                f"{self.name}: CSV holds {held}, not {schema}: its columns are plain texts; a .jsonl file holds it."
            )
        if self.name != "-":
            self._check_place()

    def advise(self, fault: Fault) -> Fault:
        """Return the fault of a row that a schema can't hold, which names no schema that this container can't."""
        able = [each for each in fault.holders if each in HELD.get(self.kind, fault.holders)]
        if len(able) == len(fault.holders):
            return fault
        hint = f"write it as {able[0]}, or name a .jsonl file" if able else "name a .jsonl file, and the schema trl"
        return Fault(fault.field, f"{fault.bare}; {hint}")

    def encode(self, record: dict[str, Any]) -> Any:
        """Convert a record into what ``write`` takes.

        Raises:
            Fault: if the container can't hold it.
        """
        if self.kind in ("jsonl", "json"):
            return json_line(record, self.notices)
        if self.kind == "txt":
            for name in record.keys() - {"text"}:
                self._drop(name, record, "a .txt has no columns")
            return f"{ROW_MARK}\n" + _MARKED_ROW.sub(r"\\\1", record["text"])
        if self.kind == "csv":
            for name, value in record.items():
                if isinstance(value, (list, dict)):
                    raise expected(name, "one value, as CSV holds", value)
                if not isinstance(value, str) and name != "finished":  # which is read back as a truth value
                    self.notices[f"column `{name}`: CSV returns its values as text"] += 1
        return record

    def write(self, encoded: Iterable[Any]) -> None:
        """Write all; a temporary file next to ``out`` replaces it at the end.

        Raises:
            InputError: if it can't be written.
        """
        if self.name == "-":
            sys.stdout.flush()
            for line in encoded:
                sys.stdout.buffer.write(f"{line}\n".encode())
            sys.stdout.buffer.flush()
            return
        atomically(self.path, lambda temporary: self._write(encoded, temporary), folder=self.kind == "folder")

    def _write(self, encoded: Iterable[Any], path: Path) -> None:
        if self.kind in ("parquet", "folder"):
            write = write_parquet if self.kind == "parquet" else write_folder
            for column in write(encoded, path):
                self.notices[f"column `{column}` has values of several types: written as JSON text"] += 1
            if self.kind == "folder" and self.path.is_dir():
                shutil.rmtree(self.path)  # an older export, as `_check_place` has seen
            return
        with _opened(path, self.name.lower().endswith(".gz")) as stream:
            if self.kind == "csv":
                self._write_csv(encoded, stream)
            elif self.kind == "json":
                for place, line in enumerate(encoded):
                    stream.write(f",\n{line}" if place else f"[\n{line}")
                stream.write("\n]\n")
            else:
                for text in encoded:
                    stream.write(f"{text}\n")

    def _write_csv(self, records: Iterable[dict[str, Any]], stream: IO[str]) -> None:
        rows = iter(records)
        first = next(rows)  # an empty set was refused before
        columns = list(first)
        writer = csv.writer(stream, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerow(columns)
        for record in chain([first], rows):
            for name in record.keys() - first.keys():
                self._drop(name, record, "the first row lacks it, and a CSV's columns are fixed")
            try:
                writer.writerow([record.get(name) for name in columns])
            except csv.Error as err:
                raise InputError(
                    f"{self.name}: a row can't be written to CSV ({err}); up to Python 3.10 a NUL can't: name a .jsonl "
                    "file."
                ) from err

    def _drop(self, name: str, record: dict[str, Any], why: str) -> None:
        """Count a column that is not written, and apart from the others Alpaca's ``input``, which the prompt has."""
        texts = [each for key, each in record.items() if key != name and isinstance(each, str)]
        texts += [each.rpartition(f"\n{_ANSWER}\n")[0] for each in texts]
        if name == "input" and any(input_is_read(record[name], each) for each in texts):
            self.notices[INPUT_READ] += 1
        else:
            self.notices[f"column `{name}` dropped: {why}"] += 1

    def _check_place(self) -> None:
        """Refuse, before any work, what would be refused at its end."""
        if self.kind == "folder":
            if self.path.is_file():
                raise InputError(f"{self.name} is a file: give it a known extension, or name a folder.")
            if self.path.is_dir() and any(self.path.iterdir()) and not is_dataset_folder(self.path):
                raise InputError(f"{self.name} holds other files: name a new folder, or a file in it.")
        elif self.path.is_dir():
            raise InputError(f"{self.name} is a folder: name a file.")
        if self.path.exists() and not (self.path.is_file() or self.path.is_dir()):
            raise InputError(f"{self.name} is not a regular file: use `-` to write to the standard output.")
        above = next((each for each in self.path.absolute().parents if each.exists()), Path("/"))
        if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
            reason = "is not a folder" if not above.is_dir() else "is not writable"
            raise InputError(f"{self.name} can't be written, since {above} {reason}: choose a writable folder.")


def json_line(record: Any, notices: Counter[str]) -> str:
    """Return a record as one line of JSON, in which no reader sees the end of a line.

    Raises:
        Fault: if it holds what JSON or UTF-8 can't.
    """
    try:
        try:
            line = _STRICT.encode(record)
        except (ValueError, TypeError):  # NaN, a date, bytes
            line = _STRICT.encode(_plain(record, notices))
        line.encode()
    except RecursionError as err:
        raise Fault("", "expected an object, found one nested too deep to write") from err
    except UnicodeEncodeError as err:
        raise Fault("", "expected text, found half of a surrogate pair in a meta column") from err
    if not line.isascii():
        line = _SPLITTING.sub(lambda found: f"\\u{ord(found[0]):04x}", line)
    return line


def _plain(value: Any, notices: Counter[str]) -> Any:
    """Convert values that JSON can't express into those it can."""
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        notices["number that JSON can't express (NaN, infinity) written as null"] += 1
        return None
    if isinstance(value, dict):
        return {str(key): _plain(inner, notices) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner, notices) for inner in value]
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, (bytes, bytearray)):
        notices["bytes written as null: JSON can't express them"] += 1
        return None
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


@contextmanager
def _opened(path: Path, zipped: bool) -> Iterator[IO[str]]:
    """Open a file for text; equal content is zipped to equal bytes, since neither time nor name is stored."""
    with path.open("wb", buffering=1 << 20) as raw:
        stream: Any = gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=raw, mtime=0) if zipped else raw
        with io.TextIOWrapper(stream, encoding="utf-8", newline="") as text:
            yield text
