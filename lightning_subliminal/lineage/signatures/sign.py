"""Signs statements as stages write them, where a key is named; and those that are there already."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.bounds import MAX_STATEMENT
from lightning_subliminal.core.io.files import atomically, read_bytes

if TYPE_CHECKING:
    from lightning_subliminal.lineage.signatures.keys import TrustedKey

__all__ = ["SIGNING_KEY", "check_signing_key", "own_key", "sign_statement"]

SIGNING_KEY = "LIGHTNING_SUBLIMINAL_SIGNING_KEY"


def own_key() -> "TrustedKey | None":
    """Return the public half of the key that this machine signs with; None where it signs with none.

    Raises:
        InputError: if the key can't be used.
    """
    if not (named := os.environ.get(SIGNING_KEY)):
        return None
    from lightning_subliminal.lineage.signatures.keys import TrustedKey, private_key

    return TrustedKey(Path(named).stem, private_key(Path(named)).public_key())


def check_signing_key() -> None:
    """Refuse a key that can't be used before hours of work end in it.

    Raises:
        InputError: if LIGHTNING_SUBLIMINAL_SIGNING_KEY names no private key of ours.
    """
    if named := os.environ.get(SIGNING_KEY):
        from lightning_subliminal.lineage.signatures.keys import private_key

        private_key(Path(named))


def sign_statement(raw: bytes, envelope: Path, key: Path | None = None) -> bool:
    """Write a statement's envelope beside it; signatures that are there stay.

    Args:
        raw: the statement's bytes.
        envelope: the envelope's file.
        key: who signs; that of LIGHTNING_SUBLIMINAL_SIGNING_KEY where it is None, and nobody where there is none.

    Returns:
        Whether it was signed.

    Raises:
        InputError: if the key can't be used, or the envelope that is there is of something else.
    """
    named = key or os.environ.get(SIGNING_KEY)
    if not named:
        return False
    from lightning_subliminal.lineage.signatures.dsse import seal
    from lightning_subliminal.lineage.signatures.keys import private_key

    signer = private_key(Path(named))
    try:
        old = read_bytes(envelope, MAX_STATEMENT) if envelope.is_file() else None
    except OSError as err:
        raise InputError(f"{envelope} can't be read ({err.strerror or err}).") from err
    sealed = seal(raw, signer, old=old)
    atomically(envelope, lambda temporary: temporary.write_bytes(sealed))
    return True
