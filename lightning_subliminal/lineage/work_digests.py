"""Digests of unfinished work, noted next to each file as it is written: shards of completions, checkpoints.

A stage's statement is written and signed at its end. A file that a killed run left could be changed before the stage
resumes, and then be signed as its own; the note reveals it. Without a key, notes guard against accidents. If
``LIGHTNING_SUBLIMINAL_SIGNING_KEY`` names a key, notes are signed, and others are not trusted.
"""

import base64
import json
import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import file_digest
from lightning_subliminal.core.io.bounds import MAX_KEY
from lightning_subliminal.core.rows import atomically
from lightning_subliminal.lineage.names import ENVELOPE, RECORD
from lightning_subliminal.lineage.record import read_record
from lightning_subliminal.lineage.signatures.dsse import is_signed_by, pae, read_envelope, seal, signers
from lightning_subliminal.lineage.signatures.keys import PASSPHRASE, TrustedKey, private_key
from lightning_subliminal.lineage.signatures.sign import SIGNING_KEY
from lightning_subliminal.lineage.strict_json import parse, read_bytes

__all__ = [
    "check_noted",
    "is_signed",
    "lacks_note",
    "note_of",
    "noted",
    "open_value",
    "recorded_digests",
    "seal_value",
    "write_noted",
]

_TYPE = "application/vnd.lightning-subliminal.noted+json"  # not a statement, so its signature is void elsewhere
_SEAL = "sealed"  # key of the signature in a value
_KEPT = 7  # digests of earlier states: the number of consecutive kills between note and file that are survived


def note_of(path: Path) -> Path:
    """Return the path of a file's note: hidden in the same folder, so that it is not part of an artefact."""
    return path.with_name(f".{path.name}.noted")


def write_noted(path: Path, write: Callable[[Path], object], mend: str = "choose a folder that you may write") -> None:
    """Write a file as ``atomically`` does, and note its digest.

    The note is written first and keeps earlier digests, too: after a kill between the two the file still matches.

    Raises:
        InputError: if the folder can't be written, or the key can't be used.
    """

    def written(temporary: Path) -> None:
        write(temporary)
        new = file_digest(temporary)
        old = [each for each in (noted(path) or ())[-_KEPT:] if each != new]
        raw = json.dumps({"for": _place(path), "sha256": [*old, new]}, sort_keys=True).encode()
        sealed = seal(raw, key, _TYPE) if (key := _key()) is not None else raw
        atomically(note_of(path), lambda place: place.write_bytes(sealed))

    atomically(path, written, mend)


def noted(path: Path) -> tuple[str, ...] | None:
    """Return the digests that a file may have by its note; None if there is no trusted note."""
    key = _key()  # first: an unusable key is the user's mistake, not the note's
    try:
        raw = read_bytes(note_of(path), MAX_KEY)
        note = parse(raw, "the note")
        if "payload" in note:
            envelope = read_envelope(raw, "the note")
            if envelope.payload_type != _TYPE:
                return None
            if key is not None and not signers(envelope, [TrustedKey("", key.public_key())]):
                return None
            note = parse(envelope.payload, "the note")
        elif key is not None:
            return None
    except InputError:
        return None
    found = note.get("sha256")
    if note.get("for") != _place(path) or not isinstance(found, list):
        return None
    return tuple(map(str, found))


def lacks_note(path: Path) -> str:
    """Return why a file is not trusted whose ``noted`` is None."""
    if os.environ.get(SIGNING_KEY) and note_of(path).is_file():
        return f"its note is not signed by the key of {SIGNING_KEY}"
    return "it has no note of its digest, so it may be another run's"


def check_noted(path: Path, mend: str, recorded: str | None = None) -> None:
    """Refuse a file that differs from its note.

    Args:
        path: the file.
        mend: what to do about it, the end of the message.
        recorded: its digest by a record, used if there is no note.

    Raises:
        InputError: if it has no trusted note, or another digest.
    """
    known = noted(path) or ((recorded,) if recorded else None)
    if known is None:
        raise InputError(f"{path} is not trusted: {lacks_note(path)}. {mend}")
    sha = file_digest(path)
    if sha not in known:
        then, now = known[-1][:12], sha[:12]
        raise InputError(f"{path} was changed after it was written (SHA-256 {then}... then, {now}... now). {mend}")


def recorded_digests(folder: Path, nothing_lost: bool = False) -> dict[str, str]:
    """Return the digests in a folder's record; none while a file is missing and the record is not our own."""
    record = read_record(folder)
    if record is None or not (nothing_lost or is_signed((folder / RECORD).read_bytes(), folder / ENVELOPE)):
        return {}
    return dict(record.files)


def seal_value(name: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a value for a cache, signed together with its name if there is a signing key.

    Raises:
        InputError: if the key can't be used.
    """
    if (key := _key()) is None:
        return dict(value)
    return {**value, _SEAL: base64.b64encode(key.sign(_named_value(name, value))).decode()}


def open_value(name: str, kept: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the value given to ``seal_value``; None if there is a signing key that has not signed it with this name.

    Raises:
        InputError: if the key can't be used.
    """
    value = {key: each for key, each in kept.items() if key != _SEAL}
    if (key := _key()) is None:
        return value
    try:
        signature = base64.b64decode(str(kept.get(_SEAL)), validate=True)
    except ValueError:
        return None
    return value if TrustedKey("", key.public_key()).verifies(signature, _named_value(name, value)) else None


def _named_value(name: str, value: Mapping[str, Any]) -> bytes:
    return pae(_TYPE, json.dumps({"for": name, "value": value}, sort_keys=True).encode())


def is_signed(raw: bytes, envelope: Path) -> bool:
    """Return whether there is no signing key, or the envelope has its signature of this statement."""
    key = _key()
    return key is None or is_signed_by(raw, envelope, [TrustedKey("", key.public_key())])


def _key() -> Any:
    """Return the signing key; None if there is none."""
    named = os.environ.get(SIGNING_KEY)
    return _read_key(named, os.environ.get(PASSPHRASE, "")) if named else None


@lru_cache(maxsize=1)
def _read_key(named: str, passphrase: str) -> Any:
    return private_key(Path(named))


def _place(path: Path) -> str:
    """Return the file's name in a note, with its folder, so that another folder's note does not match."""
    path = path.absolute()
    return f"{path.parent.name}/{path.name}"
