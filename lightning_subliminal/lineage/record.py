"""The record of one artefact: what it is (digests of its files) and what it was made from.

It is written last, so a folder with a record whose digests hold is whole; any other is a killed run's.
"""

import json
from importlib.metadata import version
from pathlib import Path
from typing import Any

from lightning_subliminal.describe import describe, file_digest
from lightning_subliminal.errors import InputError
from lightning_subliminal.rows import atomically

__all__ = ["RECORD", "is_whole", "read_record", "write_record"]

RECORD = "lineage.json"
_PACKAGES = ("lightning-subliminal", "torch", "lightning", "transformers", "peft")


def write_record(folder: Path, kind: str, made_from: Any) -> None:
    """Write ``folder``'s record.

    Args:
        folder: the artefact; each file below it is digested, hidden ones and the record itself aside.
        kind: what it is, such as ``teacher`` or ``rows``.
        made_from: all that shaped it: base, teacher, filters, parameters, seeds, as ``describe`` takes them.
    """
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != RECORD)
    record = {
        "kind": kind,
        "files": {str(path.relative_to(folder)): file_digest(path) for path in files if path.name[0] != "."},
        "made_from": describe(made_from),
        "versions": {name: _version(name) for name in _PACKAGES},
    }
    text = json.dumps(record, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    atomically(folder / RECORD, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def read_record(folder: Path) -> dict[str, Any]:
    """Read a folder's record; empty where there is none.

    Raises:
        InputError: if the record is damaged.
    """
    path = folder / RECORD
    if not path.is_file():
        return {}
    try:
        record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        record["files"].items()
    except (ValueError, TypeError, KeyError, AttributeError) as err:  # no JSON, or no record
        raise InputError(f"{path} is damaged: delete the folder, and the next run makes it again.") from err
    return record


def is_whole(folder: Path) -> bool:
    """Tell whether a stage has finished this folder.

    Raises:
        InputError: if it has, but a file was lost or changed since.
    """
    record = read_record(folder)
    for name, expected in record.get("files", {}).items():
        path = folder / name
        if not path.is_file() or file_digest(path) != expected:
            state = "changed" if path.is_file() else "lost"
            raise InputError(f"{path} was {state} after it was made: delete {folder}, and the next run makes it again.")
    return bool(record)


def _version(package: str) -> str:
    try:
        return version(package)
    except ModuleNotFoundError:  # PackageNotFoundError: run from a source tree
        return "unknown"
