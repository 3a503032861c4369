"""Read records from tables: Parquet, folders of ``datasets``, sets on the Hugging Face hub."""

import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.files import open_plain, plain_folder
from lightning_subliminal.core.io.lfs import refuse_pointer
from lightning_subliminal.core.rows import parquet_batches
from lightning_subliminal.formats.row_errors import Fault
from lightning_subliminal.formats.storage.records import Found
from lightning_subliminal.formats.storage.shards import choose_split

__all__ = ["HUB_ID", "is_dataset_folder", "open_dataset", "open_hub", "parquet_size", "read_parquet", "read_set"]

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+(?::[\w.-]+)?(?:@[\w./-]+)?")
_READ = 1024  # rows read at once


def parquet_size(path: Path, name: str) -> int:
    """Return how many rows a Parquet file has.

    Raises:
        InputError: if it is not a Parquet file, or has two columns of one name.
    """
    import pyarrow.parquet

    refuse_pointer(path)
    with _reading(name, "not a Parquet file"), open_plain(path), pyarrow.parquet.ParquetFile(path) as file:
        columns = file.schema_arrow.names
        if twice := sorted({each for each in columns if columns.count(each) > 1}):  # a dict holds the last one alone
            raise InputError(f"{name}: a column appears twice: {', '.join(twice)}.")
        return int(file.metadata.num_rows)


def read_parquet(path: Path, name: str) -> Iterator[Found]:
    """Yield the records of a Parquet file."""
    with _reading(name, "not a Parquet file"):
        yield from _records(parquet_batches(path, name), name)


def is_dataset_folder(path: Path) -> bool:
    """Return whether ``datasets`` has saved a set, or splits of one, in this folder."""
    return (path / "state.json").is_file() or (path / "dataset_dict.json").is_file()


def open_dataset(path: Path, split: str | None) -> Any:
    """Open a set that ``datasets`` has saved.

    Raises:
        InputError: if it is damaged, or has more than one split and none is named.
    """
    import datasets

    plain_folder(path)
    with _reading(str(path), "not a folder of `datasets`", Exception):
        found = datasets.load_from_disk(str(path))
    return found[choose_split(list(found), str(path), split)] if isinstance(found, datasets.DatasetDict) else found


def open_hub(name: str, split: str | None) -> Any:
    """Open a set on the Hugging Face hub, in streaming mode.

    Args:
        name: its id, ``owner/name``; with ``:config`` or ``@revision`` where it needs one.
        split: which part; ``train``, or the only one, where it is None.

    Raises:
        InputError: if the hub can't be reached, or has no such set.
    """
    import logging

    import datasets
    from huggingface_hub import HfApi

    plain, _, revision = name.partition("@")
    plain, _, config = plain.partition(":")
    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # it logs each retry
    try:
        HfApi().dataset_info(plain, revision=revision or None, timeout=20)  # `datasets` would retry for long
        found = datasets.load_dataset(plain, config or None, revision=revision or None, streaming=True)
    except Exception as err:  # each library below has errors of its own
        raise InputError(f"{name} is not a local file, and as a set on the hub it {_hub_trouble(err)}") from err
    return found[choose_split(list(found), name, split)]


def read_set(data: Any, name: str) -> Iterator[Found]:
    """Yield the records of a set that ``datasets`` has opened."""
    import datasets

    with _reading(name, "a set that can't be read further", Exception):
        if isinstance(data, datasets.Dataset):
            yield from _records(data.with_format("arrow").iter(batch_size=_READ), name)
        else:
            for number, record in enumerate(data, start=1):
                yield Found(name, "row", number, record)


def _records(batches: Iterable[Any], name: str) -> Iterator[Found]:
    number = 0
    for batch in batches:
        try:
            records = batch.to_pylist()
        except UnicodeDecodeError:  # one of its texts
            records = [_one(batch, place) for place in range(batch.num_rows)]
        for record in records:
            number += 1
            fault = record if isinstance(record, Fault) else None
            yield Found(name, "row", number, None if fault else record, fault)


def _one(batch: Any, place: int) -> Any:
    try:
        return batch.slice(place, 1).to_pylist()[0]
    except UnicodeDecodeError:
        return Fault("", "expected UTF-8 text, found other bytes")


def _hub_trouble(err: Exception) -> str:
    kind = type(err).__name__
    text = " ".join(str(err).split())
    if "NotFound" in kind and "LocalEntry" not in kind:
        return "was not found, or needs a login: check the id, such as owner/name."
    if "Gated" in kind:
        return "is gated: request access on its page, and log in."
    if "Offline" in kind or os.environ.get("HF_HUB_OFFLINE", "0") not in ("", "0"):
        return "can't be fetched: HF_HUB_OFFLINE is set."
    if isinstance(err, OSError) or "Connect" in kind or "Timeout" in kind:
        return "can't be fetched: the hub can't be reached from here."
    if "config" in text.lower():
        return f"needs a config, such as owner/name:config ({text[:200]})"
    return f"can't be fetched ({kind}: {text[:200]})"


@contextmanager
def _reading(name: str, otherwise: str, *kinds: type[Exception]) -> Iterator[None]:
    """Report in one line that a table is damaged, or what it is ``otherwise``; errors of ``kinds`` too."""
    from pyarrow.lib import ArrowException

    try:
        yield
    except InputError:
        raise
    except (ArrowException, OSError, UnicodeDecodeError, *kinds) as err:
        if isinstance(err, (FileNotFoundError, PermissionError)) and err.strerror:
            raise InputError(f"{name} can't be read ({err.strerror}).") from err
        text = " ".join(str(err).split())[:200]
        raise InputError(f"{name} is damaged or {otherwise} ({text}).") from err
