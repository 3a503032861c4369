"""Where records go: the containers, each written in a stream, whole or not at all."""

import csv
import gzip
import json
import os
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import IO, Any

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import atomically
from lightning_subliminal.formats.row_errors import Fault, expected
from lightning_subliminal.formats.storage.readers import container
from lightning_subliminal.formats.storage.records import ROW_MARK
from lightning_subliminal.formats.storage.table_writer import write_folder, write_parquet
from lightning_subliminal.formats.storage.tables import is_dataset_folder

__all__ = ["Sink", "json_line"]

_PLAIN = ("trl-plain", "alpaca", "text", "columns")  # schemas whose columns are texts
_CUTTING = re.compile("[\u2028\u2029\x85]")  # where str.splitlines() would cut a line


class Sink:
    """A place to write records to.

    Args:
        out: the file by its ending; without one a folder of `datasets`; "-" is the standard output, as JSON lines.
        schema: the name of the records' schema.

    Attributes:
        notices: what could not be written as it was, and how often.

    Raises:
        InputError: if nothing can be written there, or the container can't hold the schema.
    """

    def __init__(self, out: str | Path, schema: str) -> None:
        self.name = str(out)
        self.path = Path(out)
        self.notices: Counter[str] = Counter()
        self.kind = container(self.name) if self.name == "-" or self.path.suffix else "folder"
        if self.kind == "txt" and schema != "text":
            raise InputError(f"{self.name}: a .txt holds the schema text, not {schema}: leave --to out, or set it so.")
        if self.kind == "csv" and schema not in _PLAIN:
            raise InputError(f"{self.name}: CSV holds {', '.join(_PLAIN)}, not {schema}: its columns are plain texts.")
        if self.name != "-":
            self._check_place()

    def encode(self, record: dict[str, Any]) -> Any:
        """Make of a record what ``write`` takes.

        Raises:
            Fault: if the container can't hold it.
        """
        if self.kind in ("jsonl", "json"):
            return json_line(record, self.notices)
        if self.kind == "txt":
            for name in record.keys() - {"text"}:
                self.notices[f"column `{name}` dropped: a .txt has no columns"] += 1
            return record["text"]
        if self.kind == "csv":
            for name, value in record.items():
                if isinstance(value, (list, dict)):
                    raise expected(name, "one value, as CSV holds", value)
                if not isinstance(value, str) and name != "finished":  # it is read as what it was
                    self.notices[f"column `{name}`: CSV gives its values back as text"] += 1
        return record

    def write(self, encoded: Iterable[Any]) -> None:
        """Write all; a temporary file beside ``out`` takes its place at the end.

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
                self.notices[f"column `{column}` has no one type that Parquet holds: written as JSON text"] += 1
            if self.kind == "folder" and self.path.is_dir():
                shutil.rmtree(self.path)  # an older export, as `_check_place` has seen
            return
        with _opened(path, self.name.lower().endswith(".gz")) as stream:
            if self.kind == "csv":
                self._write_csv(encoded, stream)
            else:
                for piece in _WRITERS[self.kind](encoded):
                    stream.write(piece.encode())

    def _write_csv(self, records: Iterable[dict[str, Any]], stream: IO[bytes]) -> None:
        rows = iter(records)
        first = next(rows)  # an empty set is refused before
        columns = list(first)
        line = _Line()
        writer = csv.writer(line, quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writerow(columns)
        for record in chain([first], rows):
            for name in record.keys() - first.keys():
                self.notices[f"column `{name}` dropped: the first row lacks it, and CSV has its columns at first"] += 1
            writer.writerow([record.get(name) for name in columns])
            stream.write(line.take().encode())

    def _check_place(self) -> None:
        """Refuse, before any work, what would be refused at its end."""
        if self.kind == "folder":
            if self.path.is_file():
                raise InputError(f"{self.name} is a file: give it one of the endings, or name a folder.")
            if self.path.is_dir() and any(self.path.iterdir()) and not is_dataset_folder(self.path):
                raise InputError(f"{self.name} holds other files: name a new folder, or a file in it.")
        elif self.path.is_dir():
            raise InputError(f"{self.name} is a folder: name a file.")
        if self.path.exists() and not (self.path.is_file() or self.path.is_dir()):
            raise InputError(f"{self.name} is no regular file: give `-` to write to the standard output.")
        above = next((each for each in self.path.absolute().parents if each.exists()), Path("/"))
        if not above.is_dir() or not os.access(above, os.W_OK | os.X_OK):
            reason = "is no folder" if not above.is_dir() else "can't be written"
            raise InputError(
                f"{self.name} can't be written, since {above} {reason}: choose a folder that you may write."
            )


def json_line(record: Any, notices: Counter[str]) -> str:
    """Return a record as one line of JSON, in which no reader sees a line's end.

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
        line = _CUTTING.sub(lambda found: f"\\u{ord(found[0]):04x}", line)
    return line


def _plain(value: Any, notices: Counter[str]) -> Any:
    """Turn what JSON has no word for into what it has."""
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        notices["number that JSON has no word for (NaN, infinity) written as null"] += 1
        return None
    if isinstance(value, dict):
        return {str(key): _plain(inner, notices) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner, notices) for inner in value]
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, (bytes, bytearray)):
        notices["bytes written as null: JSON holds none"] += 1
        return None
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _write_jsonl(lines: Iterable[str]) -> Iterator[str]:
    return (line + "\n" for line in lines)


def _write_json(lines: Iterable[str]) -> Iterator[str]:
    before = "[\n"
    for line in lines:
        yield before + line
        before = ",\n"
    yield "\n]\n"


def _write_txt(texts: Iterable[str]) -> Iterator[str]:
    for text in texts:
        escaped = _MARKED_ROW.sub(r"\\\1", text)
        yield f"{ROW_MARK}\n{escaped}\n"


@contextmanager
def _opened(path: Path, zipped: bool) -> Iterator[IO[bytes]]:
    """Open a file for bytes; zipped ones are the same for the same content, since they tell no time and no name."""
    with path.open("wb", buffering=1 << 20) as raw:
        if not zipped:
            yield raw
            return
        with gzip.GzipFile(filename="", mode="wb", compresslevel=6, fileobj=raw, mtime=0) as stream:
            yield stream  # type: ignore[misc]


class _Line:
    """What csv writes to: its text can be taken away."""

    def __init__(self) -> None:
        self._text: list[str] = []

    def write(self, text: str) -> None:
        self._text.append(text)

    def take(self) -> str:
        text = "".join(self._text)
        self._text.clear()
        return text


_STRICT = json.JSONEncoder(ensure_ascii=False, allow_nan=False)
_MARKED_ROW = re.compile(rf"^(\\*{ROW_MARK})$", re.MULTILINE)
_WRITERS: dict[str, Callable[[Iterable[Any]], Iterator[str]]] = {
    "jsonl": _write_jsonl,
    "json": _write_json,
    "txt": _write_txt,
}
