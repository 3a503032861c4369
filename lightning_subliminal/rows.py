"""The row: one prompt with its completion, in TRL's conversational prompt-completion format, read and written here.

``{"id": "0-17", "prompt": [{"role": "user", "content": ...}], "completion": [{"role": "assistant", "content": ...}]}``

A prompt that ends with an assistant message is a *prefill*: the completion continues it. Further keys are meta columns.
Rows are stored as Parquet and exported as JSONL, which TRL, axolotl and OpenAI fine-tuning accept.
"""

import contextlib
import hashlib
import json
import os
import secrets
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from lightning_subliminal.errors import InputError
from lightning_subliminal.lfs import refuse_pointer

__all__ = [
    "Message",
    "Row",
    "atomically",
    "completion_text",
    "make_row",
    "prompt_text",
    "read_parquet",
    "rows_digest",
    "write_parquet",
]

Message = dict[str, str]
Row = dict[str, Any]


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


def atomically(path: Path, write: Callable[[Path], object], mend: str = "choose a folder that you may write") -> None:
    """Call ``write`` on a temporary name beside ``path``, then move it there: a killed run leaves no half file.

    Nobody can foresee the name, and so put a link there that is written through.

    Args:
        path: the file.
        write: writes to the path that it is given.
        mend: what to do where the folder can't be written, as the message ends.

    Raises:
        InputError: if the folder can't be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write(temporary)
        if temporary.is_symlink():
            raise InputError(f"{temporary} was made a link while it was written: choose a folder of your own.")
        os.replace(temporary, path)
    except OSError as err:
        raise InputError(f"{path} can't be written ({err.strerror or err}): {mend}.") from err
    finally:
        with contextlib.suppress(OSError):  # where the folder itself is wrong, that is told above
            temporary.unlink(missing_ok=True)


def write_parquet(rows: Sequence[Row], path: Path) -> None:
    """Write rows as one Parquet file, atomically; a meta column that a row lacks is None there."""
    from datasets import Dataset, disable_progress_bars

    disable_progress_bars()  # one a file, of one batch each
    columns = list(dict.fromkeys(key for row in rows for key in row))  # `datasets` would take the first row's alone
    table = Dataset.from_dict({key: [row.get(key) for row in rows] for key in columns})
    atomically(path, lambda temporary: table.to_parquet(str(temporary)))


def read_parquet(path: Path) -> list[Row]:
    """Read rows from one Parquet file.

    Raises:
        InputError: if the file is missing or is no Parquet file.
    """
    import pyarrow.parquet
    from pyarrow.lib import ArrowException

    refuse_pointer(path)
    try:
        return pyarrow.parquet.read_table(path).to_pylist()
    except FileNotFoundError as err:
        raise InputError(f"{path} is not there.") from err
    except (ArrowException, OSError) as err:
        raise InputError(f"{path} is damaged or no Parquet file: delete it, and the next run makes it again.") from err
