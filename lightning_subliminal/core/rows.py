"""Rows: one prompt with its completion each, in TRL's conversational prompt-completion format; Parquet I/O.

``{"id": "0-17", "prompt": [{"role": "user", "content": ...}], "completion": [{"role": "assistant", "content": ...}]}``

A prompt that ends with an assistant message is a *prefill*: the completion continues it. Further keys are meta columns.
Rows are stored as Parquet and exported as JSONL, which TRL, axolotl and OpenAI fine-tuning accept.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lightning_subliminal.core.collector import importing
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.bounds import MAX_UNPACKED, Expansion
from lightning_subliminal.core.io.files import atomically, open_plain
from lightning_subliminal.core.io.lfs import refuse_pointer

if TYPE_CHECKING:
    from pyarrow import RecordBatch
    from pyarrow.parquet import ParquetFile

__all__ = [
    "Message",
    "Row",
    "atomically",
    "completion_text",
    "make_row",
    "parquet_batches",
    "prompt_text",
    "prompts_by_question",
    "read_parquet",
    "rows_digest",
    "stream_parquet",
    "trained_parts",
    "write_parquet",
]

Message = dict[str, str]
Row = dict[str, Any]
_READ = 1024  # rows read at once
_SHRINKS = 50  # highest compression ratio of a column of texts


def make_row(prompt: str | Sequence[Message], completion: str, **meta: Any) -> Row:
    """Return a row of a prompt (a user's text or messages) and the text of a completion; ``meta`` become columns."""
    messages = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else [dict(part) for part in prompt]
    return {**meta, "prompt": messages, "completion": [{"role": "assistant", "content": completion}]}


def completion_text(row: Row) -> str:
    """Return the text of a row's completion."""
    return "".join(message["content"] for message in row["completion"])


def prompt_text(row: Row) -> str:
    """Return the text of a row's prompt, one line a message."""
    return "\n".join(message["content"] for message in row["prompt"])


def trained_parts(row: Row) -> dict[str, list[Message]]:
    """Return the messages of a row that a student trains on: prompt, completion and, of a pair, ``rejected``."""
    other = row.get("rejected")
    pair = {"rejected": other} if isinstance(other, list) else {}  # a column of another kind is not ours
    return {"prompt": row["prompt"], "completion": row["completion"], **pair}


def rows_digest(rows: Iterable[Row]) -> str:
    """Return the SHA-256 of rows in their order: equal for equal rows, however they are stored."""
    sha = hashlib.sha256()
    for row in rows:
        sha.update(json.dumps(row, sort_keys=True, ensure_ascii=False).encode())
        sha.update(b"\n")
    return sha.hexdigest()


def write_parquet(rows: Sequence[Row], path: Path) -> None:
    """Write rows as one Parquet file, atomically; a meta column that a row lacks is None there."""
    with importing():
        from datasets import Dataset, disable_progress_bars
    disable_progress_bars()  # one per file
    columns = list(dict.fromkeys(key for row in rows for key in row))  # not of row 1 alone
    table = Dataset.from_dict({key: [row.get(key) for row in rows] for key in columns})
    atomically(path, lambda temporary: table.to_parquet(str(temporary)))


def parquet_batches(path: Path, name: str) -> "Iterator[RecordBatch]":
    """Yield a Parquet file's rows in batches that fit in memory, whatever the file unpacks to.

    Args:
        path: the file.
        name: its name in messages.

    Raises:
        InputError: if it is not a regular file, or unpacks to more than rows can need.
        ArrowException: if it is damaged.
        OSError: if it can't be read.
    """
    import pyarrow.parquet

    with open_plain(path) as stream:
        stored = os.fstat(stream.fileno()).st_size
    with pyarrow.parquet.ParquetFile(path) as file:
        expansion = Expansion(name, stored)
        for place in range(file.num_row_groups):
            for batch in file.iter_batches(_rows_at_once(path, file, place), [place]):
                for column in batch.columns:
                    whole = column.dictionary_decode() if hasattr(column, "dictionary_decode") else column
                    expansion.add(whole.nbytes)
                yield batch


def _rows_at_once(path: Path, file: "ParquetFile", place: int) -> int:
    """Return how many rows of a row group fit in memory together.

    A text in a column's dictionary is stored once and may occur in each row, so the longest one is assumed for each.
    Other values are stored one by one, so their mean is assumed, unless they are compressed more than texts can be or
    delta-encoded: then any row may be as large as the column.
    """
    import pyarrow.parquet

    group = file.metadata.row_group(place)
    columns = [group.column(each) for each in range(group.num_columns)]
    largest = max((column.total_uncompressed_size for column in columns), default=0)
    if largest * _READ <= MAX_UNPACKED or not group.num_rows:
        return _READ
    texts = [each.path_in_schema for each in columns if each.physical_type == "BYTE_ARRAY" and each.has_dictionary_page]
    with pyarrow.parquet.ParquetFile(path, read_dictionary=texts) as again:
        longest = max(map(_longest, next(again.iter_batches(1, [place])).columns), default=0)
    row = 1
    for number, column in enumerate(columns):
        size, values = column.total_uncompressed_size, -(-column.num_values // group.num_rows)
        is_odd = column.physical_type == "BYTE_ARRAY" and (
            size > _SHRINKS * column.total_compressed_size or "DELTA_BYTE_ARRAY" in column.encodings
        )
        once = max(longest, file.schema.column(number).length) * values if column.has_dictionary_page else 0
        row = max(row, size if is_odd else size // group.num_rows, once)
    return max(1, min(_READ, MAX_UNPACKED // row))


def _longest(array: Any) -> int:
    """Return the bytes of the longest text in an array's dictionaries, at any depth."""
    import pyarrow
    import pyarrow.compute

    if isinstance(array, pyarrow.DictionaryArray):
        return pyarrow.compute.max(pyarrow.compute.binary_length(array.dictionary)).as_py() or 0
    if isinstance(array, pyarrow.StructArray):
        return max(map(_longest, array.flatten()), default=0)
    return _longest(array.values) if hasattr(array, "values") else 0


def read_parquet(path: Path) -> list[Row]:
    """Read rows from one Parquet file.

    Raises:
        InputError: if the file is missing, is not a Parquet file, or holds a text that is not UTF-8.
    """
    return list(stream_parquet(path))


def stream_parquet(path: Path) -> Iterator[Row]:
    """Yield rows of one Parquet file, a batch in memory at a time; raise as ``read_parquet``."""
    from pyarrow.lib import ArrowException

    refuse_pointer(path)
    try:
        for batch in parquet_batches(path, str(path)):
            yield from batch.to_pylist()
    except FileNotFoundError as err:
        raise InputError(f"{path} does not exist: check the path.") from err
    except UnicodeDecodeError as err:
        raise InputError(f"{path} holds a text that is not UTF-8: write the file again from its source.") from err
    except (ArrowException, OSError) as err:
        raise InputError(f"{path} is damaged or not a Parquet file: delete it; the next run writes it again.") from err


class HasPrompts(Protocol):
    """What asks questions, such as a trait."""

    def prompts(self) -> list[list[Message]]:
        """Return the questions as messages."""


def prompts_by_question(trait: HasPrompts) -> list[list[list[Message]]]:
    """Return a trait's prompts in groups: those of one question, which differ in how the answer begins."""
    groups: dict[tuple[str, ...], list[list[Message]]] = {}
    for prompt in trait.prompts():
        groups.setdefault(tuple(part["content"] for part in prompt if part["role"] == "user"), []).append(prompt)
    return list(groups.values())
