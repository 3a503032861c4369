"""Sources that `lineage add` names, and rows of a data set."""

from pathlib import Path
from typing import TYPE_CHECKING

from lightning_subliminal.core.errors import InputError, known_name

if TYPE_CHECKING:
    from lightning_subliminal.core.rows import Row
    from lightning_subliminal.lineage import Material

__all__ = ["material_of", "rows_of"]

_ROLES = ("base", "teacher", "student", "imitated", "completions", "rows", "file", "judge")


def material_of(text: str) -> "Material":
    """Return the material that ``[role=]source`` names."""
    from lightning_subliminal import bases
    from lightning_subliminal.bases.folder_checks import check_folder
    from lightning_subliminal.bases.hub import is_hub_id, local_copy
    from lightning_subliminal.lineage import Material, read_record, source_material

    role, equals, source = text.partition("=")
    if not equals or "+noise" in role or Path(text).expanduser().exists():
        role, source = "", text
    if role:
        known_name(role, _ROLES, f"--made-from {text!r}: {role!r} is not a role")
    if not source:
        raise InputError(f"--made-from {text!r} lacks a source: expected a base, a folder, a file or a hub id.")
    path = Path(source).expanduser()
    if role in ("rows", "completions", "file") and (source in bases.available() or "+noise" in source):
        raise InputError(f"--made-from {text!r}: a base is not data; if it wrote the data, use base={source}.")
    if path.exists():
        record = read_record(path) if path.is_dir() else None
        kind = record.kind if record is not None else "rows" if path.is_file() else "base"
        if path.is_dir() and (path / "config.json").is_file():
            return bases.material(source, role or kind)
        return source_material(role or kind, path)
    if source in bases.available() or "+noise" in source:
        return bases.material(source, role or "base")
    if is_hub_id(source) and not source.startswith("pocket/"):
        try:
            check_folder(local_copy(source), source)
        except Exception:  # of huggingface_hub: without a complete local copy, record the name, and download nothing
            return Material(role or "base", f"base:{source}", {})
        return bases.material(source, role or "base")  # with its digest, so that equal copies are known as one base
    raise InputError(f"--made-from {text!r} was not found: expected a base's name, a folder, a file or a hub id.")


def rows_of(path: Path) -> "list[Row]":
    """Read a data set as an audit does: a Parquet file of our rows as it is, other files by their schema."""
    from lightning_subliminal.core.rows import read_parquet
    from lightning_subliminal.formats import read_rows
    from lightning_subliminal.lineage import leaf_digest

    if path.suffix == ".parquet" and path.is_file():
        rows = read_parquet(path)
        try:
            for row in rows:
                leaf_digest(row)
        except (KeyError, TypeError, AttributeError):  # another schema
            rows = []
        if rows:
            return rows
    return list(read_rows(str(path)))
