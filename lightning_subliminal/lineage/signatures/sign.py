"""Sign statements: new ones as stages write them, and existing ones."""

import os
from pathlib import Path

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.bounds import MAX_STATEMENT
from lightning_subliminal.core.io.files import atomically, read_bytes
from lightning_subliminal.lineage.signatures.dsse import seal
from lightning_subliminal.lineage.signatures.keys import TrustedKey, private_key

__all__ = ["SIGNING_KEY", "own_key", "sign_statement"]

SIGNING_KEY = "LIGHTNING_SUBLIMINAL_SIGNING_KEY"


def own_key() -> TrustedKey | None:
    """Return the public half of the key of LIGHTNING_SUBLIMINAL_SIGNING_KEY; None if the variable is not set.

    Raises:
        InputError: if it does not name a usable ed25519 private key.
    """
    named = os.environ.get(SIGNING_KEY)
    return TrustedKey(Path(named).stem, private_key(Path(named)).public_key()) if named else None


def sign_statement(raw: bytes, envelope: Path, key: Path | None = None) -> bool:
    """Write a statement's envelope; existing signatures are kept.

    Args:
        raw: the statement's bytes.
        envelope: the envelope's file.
        key: the signing key; None for that of LIGHTNING_SUBLIMINAL_SIGNING_KEY, if it is set.

    Returns:
        Whether it was signed.

    Raises:
        InputError: if the key can't be used, or the existing envelope holds another statement.
    """
    named = key or os.environ.get(SIGNING_KEY)
    if not named:
        return False
    signer = private_key(Path(named))
    try:
        old = read_bytes(envelope, MAX_STATEMENT) if envelope.is_file() else None
    except OSError as err:
        raise InputError(f"{envelope} can't be read ({err.strerror or err}).") from err
    sealed = seal(raw, signer, old=old)
    atomically(envelope, lambda temporary: temporary.write_bytes(sealed))
    return True
