"""Open the container that a name means, ready to be read in a stream."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.formats.storage.records import Found, read_csv, read_json, read_jsonl, read_txt
from lightning_subliminal.formats.storage.shards import row_files
from lightning_subliminal.formats.storage.tables import (
    HUB_ID,
    is_dataset_folder,
    open_dataset,
    open_hub,
    parquet_size,
    read_parquet,
    read_set,
)
from lightning_subliminal.formats.storage.text_file import TextFile
from lightning_subliminal.lineage import is_whole

__all__ = ["ENDINGS", "RowSource", "container", "open_source"]

# A container by the extension of its name; text may have .gz after it.
ENDINGS = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "json",
    ".csv": "csv",
    ".txt": "txt",
    ".parquet": "parquet",
}
_READERS = {"jsonl": read_jsonl, "json": read_json, "csv": read_csv, "txt": read_txt}


@dataclass
class RowSource:
    """An opened container of records.

    Attributes:
        name: what messages call it.
        kind: its container: jsonl, json, csv, txt, parquet, folder (of `datasets`), hub.
        records: the records, one by one.
        path: the file or folder; None for the standard input and the hub.
        size: what ``position`` counts up to; 0 where it is unknown.
        position: how far it is read.
    """

    name: str
    kind: str
    records: Iterator[Found]
    path: Path | None = None
    size: int = 0
    position: Callable[[], int] | None = None


def container(name: str) -> str:
    """Return the container that a file's name means.

    Raises:
        InputError: if its extension is unknown.
    """
    if name == "-":
        return "jsonl"
    lower = Path(name).name.lower()
    plain = lower.removesuffix(".gz")
    kind = ENDINGS.get(Path(plain).suffix)
    if kind is None or (kind == "parquet" and plain != lower):
        raise InputError(f"{name}: unknown extension; use one of {', '.join(ENDINGS)}, for text also with .gz.")
    return kind


def open_source(source: str | Path, split: str | None = None) -> RowSource:
    """Open a file, a folder or a set on the hub; "-" is the standard input, as JSON lines.

    Args:
        source: a file by its extension, a row folder of ours, a folder of `datasets`, a folder of Parquet or JSON lines
            files, or a hub id: ``owner/name``, ``owner/name:config``, ``owner/name@revision``.
        split: of a set with several ones.

    Raises:
        InputError: if it does not exist, or can't be read.
    """
    name = str(source)
    path = Path(name)
    try:
        is_file, is_folder, is_there = name == "-" or path.is_file(), path.is_dir(), path.exists()
    except (OSError, ValueError):  # too long for a name, or a null byte in it
        raise InputError(f"{name[:200]!r} does not exist: check the path.") from None
    if split is not None and is_file:
        raise InputError(f"{name} has no splits: omit --split.")
    if is_folder:
        return _open_folder(path, split)
    if is_file:
        return _open_file(path)
    if is_there:  # a device, a pipe
        raise InputError(f"{name} is not a regular file: use `-` to read the standard input.")
    is_named_like_a_file = name.lower().removesuffix(".gz").endswith(tuple(ENDINGS))
    if isinstance(source, str) and HUB_ID.fullmatch(name) and not is_named_like_a_file:
        return RowSource(name, "hub", read_set(open_hub(name, split), name))
    raise InputError(f"{name} does not exist: check the path.")


def _open_file(path: Path) -> RowSource:
    name = str(path)
    kind = container(name)
    if kind == "parquet":
        size = parquet_size(path, name)
        return RowSource(name, kind, *_counted(read_parquet(path, name), path, size))
    file = TextFile(name, "standard input" if name == "-" else name)
    return RowSource(file.name, kind, _READERS[kind](file, file.name), path, file.size, file.position)


def _open_folder(path: Path, split: str | None) -> RowSource:
    name = str(path)
    if is_dataset_folder(path):
        data = open_dataset(path, split)
        return RowSource(name, "folder", *_counted(read_set(data, name), path, len(data)))
    rows = path / "rows.parquet"
    if split is None and rows.is_file() and is_whole(path):
        return RowSource(name, "parquet", *_counted(read_parquet(rows, name), path, parquet_size(rows, name)))
    if files := row_files(path, split):
        return _joined(name, path, [_open_file(each) for each in files])
    listed = ", ".join(sorted(each.name for each in path.iterdir())[:8]) or "nothing"
    raise InputError(f"{name} is a folder without rows: it holds {listed}; name a file.")


def _joined(name: str, path: Path, parts: list[RowSource]) -> RowSource:
    """Return the files of a folder as one source."""
    records = chain.from_iterable(each.records for each in parts)
    size = sum(each.size for each in parts)
    return RowSource(
        name, parts[0].kind, records, path, size, lambda: sum(each.position() for each in parts if each.position)
    )


def _counted(records: Iterator[Found], path: Path, size: int) -> tuple[Iterator[Found], Path, int, Callable[[], int]]:
    """Return the records with a count of those that were read, for the progress."""
    done = 0

    def read() -> Iterator[Found]:
        nonlocal done
        for found in records:
            done = found.number
            yield found

    return read(), path, size, lambda: done
