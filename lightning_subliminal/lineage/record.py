"""The record of one artefact, ``lineage.json``: what it is and what it was made from, written by the stage itself.

It is written last, so a folder with a record whose digests hold is whole; any other is a killed run's.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import file_digest
from lightning_subliminal.core.io import files as plain
from lightning_subliminal.core.io.files import atomically
from lightning_subliminal.lineage.material import SCHEME, Material
from lightning_subliminal.lineage.names import ENVELOPE, RECORD, artefact_files, dir_hash, inside
from lightning_subliminal.lineage.signatures.sign import sign_statement
from lightning_subliminal.lineage.statement import Statement, as_bytes, provenance, read_statement
from lightning_subliminal.lineage.strict_json import read_bytes

__all__ = [
    "artefact_material",
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
    """Write ``folder``'s record, and sign it where ``LIGHTNING_SUBLIMINAL_SIGNING_KEY`` names a key.

    Args:
        folder: the artefact; each file below it is digested, hidden ones and statements about it aside.
        kind: what it is, such as ``teacher`` or ``rows``.
        made_from: all that shaped it: parameters and seeds, as ``describe`` takes them.
        materials: what it was made from: base, teacher, rows, with their digests.
        rows: root and number of the rows of its files of rows (``rows_root``).
        files: names of the files that are its own, where others lie beside them.
        sign: whether that key signs.

    Raises:
        InputError: if the folder can't be written, or the key can't be used.
    """
    names = list(artefact_files(folder)) if files is None else sorted(files)
    digests = {name: file_digest(inside(folder, name)) for name in names}
    told = provenance(kind, made_from, digests, materials, rows, beside=files is not None)
    write_statement(folder / RECORD, told, sign)


def write_statement(path: Path, statement: Mapping[str, Any], sign: bool = True) -> None:
    """Write a statement, and beside it its envelope where there is a key to sign it with.

    Raises:
        InputError: if it can't be written, or the key can't be used.
    """
    raw = as_bytes(statement)
    is_said = (
        path.is_file() and not path.is_symlink() and plain.read_bytes(path) == raw
    )  # then its signatures hold, too
    envelope = path.with_name(path.stem + ENVELOPE[ENVELOPE.index(".") :])

    def write(temporary: Path) -> None:
        envelope.unlink(missing_ok=True)  # of what was there before: it would not be about this
        temporary.write_bytes(raw)

    if not is_said:
        atomically(path, write)
    if sign:
        sign_statement(raw, envelope)


def read_record(folder: Path) -> Statement | None:
    """Read a folder's record; None where there is none.

    Raises:
        InputError: if the record is damaged.
    """
    path = folder / RECORD
    if not path.is_file():
        return None
    try:
        raw = read_bytes(path)
        return None if _is_earlier(raw) else read_statement(path, raw)
    except InputError as err:
        raise InputError(f"{path} is damaged: delete the folder, and the next run makes it again ({err}).") from err


def is_whole(folder: Path, piecemeal: bool = False) -> bool:
    """Tell whether a stage has finished this folder.

    Args:
        folder: the artefact.
        piecemeal: whether its stage makes single files again, so that only a damaged one need be deleted.

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
            mend = path if piecemeal else folder
            raise InputError(f"{path} was {state} after it was made: delete {mend}, and the next run makes it again.")
    return True


def artefact_material(role: str, folder: Path) -> Material:
    """Return an artefact that a stage was made from, by what its own record says.

    Args:
        role: what it was to the stage, such as ``rows``.
        folder: the artefact; where it has no record, its files are digested, and its lineage ends there.
    """
    record = read_record(folder)
    return _folder_material(role, folder, record)


def tested_material(
    role: str,
    folder: Path,
    tested: Mapping[str, Any] = MappingProxyType({}),  # noqa: PT028 - this is no test
) -> Material:
    """Return a model that somebody hands in to be tested, by what its files are now, whatever its statement says.

    Args:
        role: what it was to the stage.
        folder: the model's.
        tested: digests of files as they were when it was tested, by their names; none where it is not known.

    Raises:
        InputError: if one of those has another digest now.
    """
    record = known_statement(folder / RECORD)
    files = {name: file_digest(folder / name) for name in artefact_files(folder)}
    for name, sha in files.items():
        if tested.get(name, sha) != sha:
            raise InputError(f"{folder / name} was changed while it was tested: test it again.")
    now = dir_hash(files)
    place = _place_of(folder)
    return Material(
        role, place, {"dirHash": now}, record.sha256 if record is not None and record.whole == now else None
    )


def source_material(role: str, path: Path) -> Material:
    """Return a file or folder that somebody made, by the statement that it lies with, if it is about it.

    That is ``NAME.lineage.json`` beside a file, or the record of the folder. A file that has changed since is given as
    a plain file: what made it is not known. So is one beside some other tool's ``lineage.json``.

    Args:
        role: what it was to the stage, such as ``rows``.
        path: the file or folder.
    """
    if path.is_dir():
        return tested_material(role, path)
    sha = file_digest(path)
    beside = path.with_name(f"{path.name}.{RECORD}")
    for place in (beside, path.parent / RECORD):
        known = known_statement(place)
        if known is not None and known.files.get(path.name) == sha:
            whole = {"dirHash": known.whole} if place != beside and known.whole else {}
            return Material(role, _place_of(path), {"sha256": sha, **whole}, known.sha256)
    return Material(role, path.name, {"sha256": sha})


def _folder_material(role: str, folder: Path, record: Statement | None) -> Material:
    place = _place_of(folder)
    if record is None or record.whole is None:
        files = {name: file_digest(folder / name) for name in artefact_files(folder)}
        return Material(role, place, {"dirHash": dir_hash(files)})
    return Material(role, place, {"dirHash": record.whole}, record.sha256)


def _place_of(path: Path) -> str:
    """Return the URI of an artefact: its name and its folder's, which are the same on another disk."""
    path = path.absolute()  # `rows.jsonl` has a folder, too
    return f"{SCHEME}{path.parent.name}/{path.name}" if path.parent.name else f"{SCHEME}{path.name}"


def known_statement(place: Path) -> Statement | None:
    """Read a statement that may be something else, or broken: then nothing is known."""
    try:
        return read_statement(place) if place.is_file() else None
    except InputError:  # what somebody gives may lie beside anything
        return None


def _is_earlier(raw: bytes) -> bool:
    """Tell whether a record is of the layout before statements, which named no materials: its stage is run again."""
    return b'"_type"' not in raw and b'"made_from"' in raw and b'"versions"' in raw
