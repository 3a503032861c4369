"""Declares what an outside artefact was made from: somebody says so, and may sign it; nobody recorded it."""

from collections.abc import Sequence
from pathlib import Path

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import file_digest
from lightning_subliminal.core.rows import Row
from lightning_subliminal.lineage.material import Material
from lightning_subliminal.lineage.names import RECORD, artefact_files, inside
from lightning_subliminal.lineage.record import write_statement
from lightning_subliminal.lineage.signatures.merkle import rows_root
from lightning_subliminal.lineage.statement import provenance

__all__ = ["declare"]


def declare(
    path: Path,
    kind: str,
    materials: Sequence[Material],
    by: str = "",
    note: str = "",
    rows: Sequence[Row] | None = None,
    again: bool = False,
) -> Path:
    """Write the statement of an artefact that this package did not make.

    Args:
        path: its folder, or its file.
        kind: what it is: model, base, teacher, student, rows, completions.
        materials: what it was made from, as far as whoever declares knows.
        by: who declares it.
        note: what there is to say besides.
        rows: its rows, where it is one file of rows: their root is stated, too.
        again: write over a statement that is there.

    Returns:
        The statement's file.

    Raises:
        InputError: if there is nothing there, or a statement already.
    """
    if not path.exists():
        raise InputError(f"{path} is not there: give the folder or file to declare.")
    place = path / RECORD if path.is_dir() else path.with_name(f"{path.name}.{RECORD}")
    if place.exists() and not again:
        raise InputError(f"{place} is there already: --again writes over it, and what was said before is lost.")
    folder = path if path.is_dir() else path.parent
    names = list(artefact_files(path)) if path.is_dir() else [path.name]
    if not names:
        raise InputError(f"{path} holds no files: nothing can be said of it.")
    files = {name: file_digest(inside(folder, name)) for name in names}
    told = {"by": by, "note": note}
    roots = {path.name: rows_root(rows)} if rows is not None else None
    settings = {"declared": True}
    write_statement(place, provenance(kind, settings, files, materials, roots, declared=told))
    return place
