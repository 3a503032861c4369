"""Digests of unfinished work, noted beside each file as it is written: shards of completions, checkpoints.

A stage's statement is written and signed at its end. What a killed run left could be changed before it goes on, and be
signed as the stage's own; a note tells. Without a key, notes guard against accidents. Where
``LIGHTNING_SUBLIMINAL_SIGNING_KEY`` names a key, they are signed, and no other note is believed.
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
from lightning_subliminal.lineage.signatures.dsse import pae, read_envelope, seal, signers
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
    "seal_value",
    "write_noted",
]

_TYPE = "application/vnd.lightning-subliminal.noted+json"  # no statement: its signature is worth nothing elsewhere
_SEAL = "sealed"  # key of the signature in a value
_KEPT = 7  # digests of earlier states: as many kills in a row between a note and its file are survived


def note_of(path: Path) -> Path:
    """Return where a file's note lies: hidden beside it, so that it is no part of an artefact."""
    return path.with_name(f".{path.name}.noted")


def write_noted(path: Path, write: Callable[[Path], object], mend: str = "choose a folder that you may write") -> None:
    """Write a file as ``atomically`` does, and note its digest.

    The note comes first and names what was noted before, too: a kill between the two leaves a file that is noted.

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
    """Return the digests that a file may have by its note; None where there is no note, or none to believe."""
    key = _key()  # first: a key that can't be used is the user's mistake, not the note's
    try:
        raw = read_bytes(note_of(path), MAX_KEY)
        told = parse(raw, "the note")
        if "payload" in told:
            envelope = read_envelope(raw, "the note")
            if envelope.payload_type != _TYPE or not _is_mine(envelope):
                return None
            told = parse(envelope.payload, "the note")
        elif key is not None:
            return None
    except InputError:
        return None
    found = told.get("sha256")
    if told.get("for") != _place(path) or not isinstance(found, list):
        return None
    return tuple(map(str, found))


def lacks_note(path: Path) -> str:
    """Say in a few words why a file whose ``noted`` is None is not believed."""
    if os.environ.get(SIGNING_KEY) and note_of(path).is_file():
        return f"its note is not signed by the key of {SIGNING_KEY}"
    return "no note of its digest lies beside it, so it may be some other run's"


def check_noted(path: Path, mend: str, recorded: str | None = None) -> None:
    """Refuse a file that is not as it was noted.

    Args:
        path: the file.
        mend: what to do about it, as the message ends.
        recorded: its digest by a record, which says it where no note does.

    Raises:
        InputError: if it has no note that is believed, or another digest.
    """
    known = noted(path) or ((recorded,) if recorded else None)
    if known is None:
        raise InputError(f"{path} is not believed: {lacks_note(path)}. {mend}")
    sha = file_digest(path)
    if sha not in known:
        raise InputError(
            f"{path} was changed after it was written: its SHA-256 was {known[-1][:12]}..., is {sha[:12]}.... {mend}"
        )


def seal_value(name: str, value: Mapping[str, Any]) -> dict[str, Any]:
    """Return a value that a cache keeps under a name, with our signature over both where a key signs here.

    Raises:
        InputError: if the key can't be used.
    """
    if (key := _key()) is None:
        return dict(value)
    return {**value, _SEAL: base64.b64encode(key.sign(_named_value(name, value))).decode()}


def open_value(name: str, kept: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what ``seal_value`` was given; None where a key signs here and has not signed it under this name.

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
    """Return whether a statement needs no signature here, or its envelope has that of our own key."""
    if _key() is None:
        return True
    try:
        found = read_envelope(read_bytes(envelope), str(envelope))
    except InputError:
        return False
    return found.payload == raw and _is_mine(found)


def _is_mine(envelope: Any) -> bool:
    key = _key()
    return key is None or bool(signers(envelope, [TrustedKey("", key.public_key())]))


def _key() -> Any:
    """Return the key to sign with; None where none is named."""
    named = os.environ.get(SIGNING_KEY)
    if not named:
        return None
    return _read_key(named, os.environ.get(PASSPHRASE, ""))


@lru_cache(maxsize=1)
def _read_key(named: str, passphrase: str) -> Any:
    return private_key(Path(named))


def _place(path: Path) -> str:
    """Return what a note calls its file: another folder's note is not about this one."""
    path = path.absolute()
    return f"{path.parent.name}/{path.name}"
