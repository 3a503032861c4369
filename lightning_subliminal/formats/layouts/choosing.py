"""Choose a schema: by two columns, by the columns of a record, or by the file that is written."""

from pathlib import Path
from typing import Any

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.formats.detection import guess
from lightning_subliminal.formats.layouts.schema import Schema
from lightning_subliminal.formats.layouts.schemas import make_schema
from lightning_subliminal.formats.layouts.shapes import no_object, one_object, row_lists
from lightning_subliminal.formats.row_errors import Fault

__all__ = ["default_schema", "pick_schema", "schema_of"]


def pick_schema(
    name: str | None, prompt_column: str | None = None, completion_column: str | None = None
) -> Schema | None:
    """Return the schema that a user names, or the one of two columns; None if neither is given.

    Raises:
        InputError: if one column is without the other, or both are given with the name of another schema.
    """
    if prompt_column is None and completion_column is None:
        return make_schema(name) if name is not None else None
    if prompt_column is None or completion_column is None:
        lacking = "--prompt-column" if prompt_column is None else "--completion-column"
        raise InputError(f"{lacking} is missing: name the columns of both texts.")
    if name not in (None, "columns"):
        raise InputError(f"--prompt-column and --completion-column belong to the schema columns, not to {name}.")
    return make_schema(f"columns:{prompt_column},{completion_column}")


def schema_of(record: Any) -> Schema:
    """Return the schema that fits a record's columns.

    Raises:
        Fault: if no schema does, or more than one.
    """
    if not isinstance(record, dict):
        raise no_object(record)
    lists = any(isinstance(record.get(key), list) for key in ("prompt", "completion"))
    try:
        return make_schema(guess(record.keys(), lists))
    except InputError as err:
        more = f" It {one_object(record)}." if row_lists(record) else ""
        raise Fault("", f"{err}{more}", "no schema fits its columns") from err


def default_schema(out: str | Path) -> str:
    """Return the schema that a file is written in by default: trl, if its container can hold that."""
    name = Path(out).name.lower().removesuffix(".gz")
    return "text" if name.endswith(".txt") else "trl-plain" if name.endswith(".csv") else "trl"
