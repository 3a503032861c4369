"""The record of one artefact, ``lineage.json``: what it is and what it was made from, written by its own stage.

It is written last, so a folder with a record whose digests match is complete; any other was left by a killed run. An
outside artefact can be declared instead: a claim that its author may sign, not a record of how it was made.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import file_digest
from lightning_subliminal.core.io import files as plain
from lightning_subliminal.core.io.files import atomically
from lightning_subliminal.core.rows import Row
from lightning_subliminal.lineage.material import SCHEME, Material
from lightning_subliminal.lineage.names import RECORD, artefact_files, dir_hash, envelope_place, inside, statement_place
from lightning_subliminal.lineage.signatures.merkle import rows_root
from lightning_subliminal.lineage.signatures.sign import sign_statement
from lightning_subliminal.lineage.statement import Statement, as_bytes, provenance, read_statement
from lightning_subliminal.lineage.strict_json import read_bytes

__all__ = [
    "artefact_material",
    "declare",
    "is_whole",
    "known_statement",
    "read_record",
    "source_material",
    "tested_material",
    "write_record",
    "write_statement",
]


def write_record(
    folder: Path,
    kind: str,
    made_from: Any,
    materials: Sequence[Material] = (),
    rows: Mapping[str, tuple[str, int]] | None = None,
    files: Sequence[str] | None = None,
    sign: bool = True,
) -> None:
    """Write ``folder``'s record, and sign it if ``LIGHTNING_SUBLIMINAL_SIGNING_KEY`` names a key.

    Args:
        folder: the artefact; each file below it is digested, except hidden ones and statements about it.
        kind: what it is, such as ``teacher`` or ``rows``.
        made_from: all its parameters and seeds, as ``describe`` takes them.
        materials: what it was made from, with digests: base, teacher, rows.
        rows: root and number of rows of each file of rows (``rows_root``).
        files: names of its own files, if the folder also holds others.
        sign: whether to sign with that key.

    Raises:
        InputError: if the folder can't be written, or the key can't be used.
    """
    names = list(artefact_files(folder)) if files is None else sorted(files)
    digests = {name: file_digest(inside(folder, name)) for name in names}
    statement = provenance(kind, made_from, digests, materials, rows, shares_folder=files is not None)
    write_statement(folder / RECORD, statement, sign)


def write_statement(path: Path, statement: Mapping[str, Any], sign: bool = True) -> None:
    """Write a statement and, if there is a signing key, its envelope.

    Raises:
        InputError: if it can't be written, or the key can't be used.
    """
    raw = as_bytes(statement)
    envelope = envelope_place(path)

    def write(temporary: Path) -> None:
        envelope.unlink(missing_ok=True)  # it is about the old statement
        temporary.write_bytes(raw)

    is_unchanged = path.is_file() and not path.is_symlink() and plain.read_bytes(path) == raw
    if not is_unchanged:  # else its signatures stay valid, too
        atomically(path, write)
    if sign:
        sign_statement(raw, envelope)


def read_record(folder: Path) -> Statement | None:
    """Read a folder's record; None if it has none.

    Raises:
        InputError: if the record is damaged.
    """
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        raw = read_bytes(path)
        # Before statements, records had no materials: the stage is run again.
        is_earlier = b'"_type"' not in raw and b'"made_from"' in raw and b'"versions"' in raw
        return None if is_earlier else read_statement(path, raw)
    except InputError as err:
        raise InputError(f"{path} is damaged: delete the folder, and the next run makes it again ({err}).") from err


def is_whole(folder: Path, piecemeal: bool = False) -> bool:
    """Return whether a stage has finished this folder.

    Args:
        folder: the artefact.
        piecemeal: whether its stage can make single files again, so that only the damaged file need be deleted.

    Raises:
        InputError: if it has, but a file was lost or changed since.
    """
    record = read_record(folder)
    if record is None:
        return False
    for name, expected in record.files.items():
        path = inside(folder, name)
        if not path.is_file() or file_digest(path) != expected:
            state = "changed" if path.is_file() else "lost"
            damaged = path if piecemeal else folder
            raise InputError(
                f"{path} was {state} after it was made: delete {damaged}, and the next run makes it again."
            )
    return True


def artefact_material(role: str, folder: Path) -> Material:
    """Return an artefact that a stage was made from, as its own record states it.

    Args:
        role: its role in the stage, such as ``rows``.
        folder: the artefact; without a record its files are digested, and its lineage ends there.
    """
    record = read_record(folder)
    if record is not None and record.whole is not None:
        return Material(role, _uri(folder), {"dirHash": record.whole}, record.sha256)
    files = {name: file_digest(folder / name) for name in artefact_files(folder)}
    return Material(role, _uri(folder), {"dirHash": dir_hash(files)})


def tested_material(
    role: str,
    folder: Path,
    tested: Mapping[str, Any] = MappingProxyType({}),  # noqa: PT028 - not a test
) -> Material:
    """Return a model under test by the present digests of its files, whatever its statement claims.

    Args:
        role: its role in the stage.
        folder: the model's.
        tested: digests of files at the time of the test, by name; empty if they are not known.

    Raises:
        InputError: if one of those files has another digest now.
    """
    record = known_statement(folder / RECORD)
    files = {name: file_digest(folder / name) for name in artefact_files(folder)}
    for name, sha in files.items():
        if tested.get(name, sha) != sha:
            raise InputError(f"{folder / name} was changed while it was tested: test it again.")
    now = dir_hash(files)
    statement = record.sha256 if record is not None and record.whole == now else None
    return Material(role, _uri(folder), {"dirHash": now}, statement)


def source_material(role: str, path: Path) -> Material:
    """Return a file or folder of the user by the statement about it, if that matches.

    The statement is ``NAME.lineage.json`` next to a file, or the record of the folder. A file that has changed since,
    or has only another tool's ``lineage.json`` in its folder, is returned as a plain file of unknown origin.

    Args:
        role: its role in the stage, such as ``rows``.
        path: the file or folder.
    """
    if path.is_dir():
        return tested_material(role, path)
    sha = file_digest(path)
    own = statement_place(path)
    for place in (own, path.parent / RECORD):
        known = known_statement(place)
        if known is not None and known.files.get(path.name) == sha:
            whole = {"dirHash": known.whole} if place != own and known.whole else {}
            return Material(role, _uri(path), {"sha256": sha, **whole}, known.sha256)
    return Material(role, path.name, {"sha256": sha})


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
        path: its folder or file.
        kind: what it is: model, base, teacher, student, rows, completions.
        materials: what it was made from, as far as the declarer knows.
        by: the declarer.
        note: any remark.
        rows: its rows, if it is one file of rows: the statement then has their root, too.
        again: overwrite an existing statement.

    Returns:
        The statement's file.

    Raises:
        InputError: if the path does not exist, or has a statement already.
    """
    if not path.exists():
        raise InputError(f"{path} was not found: give the folder or file to declare.")
    place = statement_place(path)
    if place.exists() and not again:
        raise InputError(f"{place} exists already: --again overwrites it, and its content is lost.")
    folder = path if path.is_dir() else path.parent
    names = list(artefact_files(path)) if path.is_dir() else [path.name]
    if not names:
        raise InputError(f"{path} holds no files: there is nothing to declare.")
    files = {name: file_digest(inside(folder, name)) for name in names}
    roots = {path.name: rows_root(rows)} if rows is not None else None
    declared = {"by": by, "note": note}
    write_statement(place, provenance(kind, {"declared": True}, files, materials, roots, declared=declared))
    return place


def _uri(path: Path) -> str:
    """Return the URI of an artefact: its name and its folder's, which are the same on another disk."""
    path = path.absolute()  # `rows.jsonl` has a folder, too
    return f"{SCHEME}{path.parent.name}/{path.name}" if path.parent.name else f"{SCHEME}{path.name}"


def known_statement(place: Path) -> Statement | None:
    """Read a statement; None if the file is missing, damaged, or not a statement."""
    try:
        return read_statement(place) if place.is_file() else None
    except InputError:  # a user's file may have any neighbours
        return None
