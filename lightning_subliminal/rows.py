"""The row: one prompt with its completion, in TRL's conversational prompt-completion format, read and written here.

``{"id": "0-17", "prompt": [{"role": "user", "content": ...}], "completion": [{"role": "assistant", "content": ...}]}``

A prompt that ends with an assistant message is a *prefill*: the completion continues it. Further keys are meta columns.
Rows are stored as Parquet and exported as JSONL, which TRL, axolotl and OpenAI fine-tuning accept.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_subliminal.bounds import MAX_UNPACKED, Expansion
from lightning_subliminal.errors import InputError
from lightning_subliminal.files import atomically, open_plain
from lightning_subliminal.lfs import refuse_pointer

if TYPE_CHECKING:
    from pyarrow import RecordBatch

__all__ = [
    "Message",
    "Row",
    "atomically",
    "completion_text",
    "make_row",
    "parquet_batches",
    "prompt_text",
    "read_parquet",
    "rows_digest",
    "stream_parquet",
    "write_parquet",
]

Message = dict[str, str]
Row = dict[str, Any]
_READ = 1024  # rows read at once


def make_row(prompt: str | Sequence[Message], completion: str, **meta: Any) -> Row:
    """Make a row of a prompt (a user's text or messages) and the text of its completion; ``meta`` become columns."""
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else [dict(part) for part in prompt]
    return {**meta, "prompt": messages, "completion": [{"role": "assistant", "content": completion}]}


def completion_text(row: Row) -> str:
    """Give the text of a row's completion."""
    return "".join(message["content"] for message in row["completion"])


def prompt_text(row: Row) -> str:
    """Give the text of a row's prompt, one line a message."""
    return "\n".join(message["content"] for message in row["prompt"])


def rows_digest(rows: Iterable[Row]) -> str:
    """Give the SHA-256 of rows in their order: equal for equal rows, however they are stored."""
    sha = hashlib.sha256()
    for row in rows:
        sha.update(json.dumps(row, sort_keys=True, ensure_ascii=False).encode())
        sha.update(b"\n")
    return sha.hexdigest()


def write_parquet(rows: Sequence[Row], path: Path) -> None:
    """Write rows as one Parquet file, atomically; a meta column that a row lacks is None there."""
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()  # one a file, of one batch each
    columns = list(dict.fromkeys(key for row in rows for key in row))  # `datasets` would take the first row's alone
    table = Dataset.from_dict({key: [row.get(key) for row in rows] for key in columns})
    atomically(path, lambda temporary: table.to_parquet(str(temporary)))


def parquet_batches(path: Path, name: str) -> "Iterator[RecordBatch]":
    """Yield a Parquet file's rows in batches that fit the memory, whatever the file unpacks to.

    A text that is stored once may be that of each row, so a batch has no more rows than the largest column allows.

    Args:
        path: the file.
        name: what messages call it.

    Raises:
        InputError: if it is no regular file, or unpacks to more than rows do.
        ArrowException: if it is damaged.
        OSError: if it can't be read.
    """
    import pyarrow.parquet

    with open_plain(path) as stream:
        stored = os.fstat(stream.fileno()).st_size
    with pyarrow.parquet.ParquetFile(path) as file:
        groups = [file.metadata.row_group(place) for place in range(file.num_row_groups)]
        largest = max(
            (group.column(place).total_uncompressed_size for group in groups for place in range(group.num_columns)),
            default=0,
        )
        expansion = Expansion(name, stored)
        for batch in file.iter_batches(batch_size=max(1, min(_READ, MAX_UNPACKED // max(1, largest)))):
            expansion.add(batch.nbytes)
            yield batch


def read_parquet(path: Path) -> list[Row]:
    """Read rows from one Parquet file.

    Raises:
        InputError: if the file is missing, is no Parquet file, or holds a text that is no UTF-8.
    """
    return list(stream_parquet(path))


def stream_parquet(path: Path) -> Iterator[Row]:
    """Read rows from one Parquet file, holding some of them at a time.

    Raises:
        InputError: if the file is missing or is no Parquet file.
    """
    from pyarrow.lib import ArrowException

    refuse_pointer(path)
    try:
        for batch in parquet_batches(path, str(path)):
            yield from batch.to_pylist()
    except FileNotFoundError as err:
        raise InputError(f"{path} is not there.") from err
    except UnicodeDecodeError as err:
        raise InputError(f"{path} holds a text that is no UTF-8: write the file again from its source.") from err
    except (ArrowException, OSError) as err:
        raise InputError(f"{path} is damaged or no Parquet file: delete it, and the next run makes it again.") from err
