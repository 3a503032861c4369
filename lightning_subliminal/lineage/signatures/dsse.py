"""DSSE envelopes (Dead Simple Signing Envelope 1.0.2): a payload, its type, and signatures of both."""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.lineage.signatures.keys import TrustedKey, key_id
from lightning_subliminal.lineage.strict_json import parse, read_bytes

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["PAYLOAD_TYPE", "Envelope", "is_signed_by", "pae", "read_envelope", "seal", "signers"]

PAYLOAD_TYPE = "application/vnd.in-toto+json"
_MOST_SIGNATURES = 64


@dataclass(frozen=True)
class Envelope:
    """An envelope that was read; its content is not verified yet.

    Attributes:
        payload: the signed bytes.
        payload_type: their media type.
        signatures: the signatures.
    """

    payload: bytes
    payload_type: str
    signatures: tuple[bytes, ...]


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return the bytes that a signature covers: type and payload, each preceded by its length (protocol, `PAE`).

    Example:
        >>> pae("http://example.com/HelloWorld", b"hello world")
        b'DSSEv1 29 http://example.com/HelloWorld 11 hello world'
    """
    name = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(name), name, len(payload), payload)


def seal(payload: bytes, key: "Ed25519PrivateKey", payload_type: str = PAYLOAD_TYPE, old: bytes | None = None) -> bytes:
    """Return a signed envelope.

    Args:
        payload: the bytes to sign.
        key: the signing key.
        payload_type: the payload's media type.
        old: an envelope of the same payload, whose signatures are kept.

    Raises:
        InputError: if the old envelope has another payload, or is not a valid envelope.
    """
    signatures = []
    if old is not None:
        before = read_envelope(old, "the envelope")
        if before.payload != payload or before.payload_type != payload_type:
            raise InputError("The existing envelope holds another statement: delete it, then sign.")
        signatures = parse(old, "the envelope")["signatures"]
    signature = base64.b64encode(key.sign(pae(payload_type, payload))).decode()
    mine = {"keyid": key_id(key.public_key()), "sig": signature}
    signatures = [each for each in signatures if each["sig"] != signature] + [mine]
    if len(signatures) > _MOST_SIGNATURES:
        raise InputError(f"The existing envelope has {_MOST_SIGNATURES} signatures already: delete it, then sign.")
    encoded = base64.b64encode(payload).decode()
    envelope = {"payload": encoded, "payloadType": payload_type, "signatures": signatures}
    return (json.dumps(envelope, indent=1, sort_keys=True) + "\n").encode()


def read_envelope(data: bytes, name: str) -> Envelope:
    """Read an envelope; standard and URL-safe base64 are both accepted, as the protocol requires.

    Raises:
        InputError: if it is not a valid envelope.
    """
    fields = parse(data, name)
    payload, kind, signatures = fields.get("payload"), fields.get("payloadType"), fields.get("signatures")
    if not isinstance(payload, str) or not isinstance(kind, str) or not isinstance(signatures, list):
        raise InputError(f"{name} is not a DSSE envelope: expected payload, payloadType and signatures.")
    if len(signatures) > _MOST_SIGNATURES:
        raise InputError(f"{name} has {len(signatures)} signatures: expected at most {_MOST_SIGNATURES}.")
    found = [each.get("sig") if isinstance(each, dict) else None for each in signatures]
    return Envelope(_decoded(payload, name), kind, tuple(_decoded(each, name) for each in found))


def signers(envelope: Envelope, keys: Sequence[TrustedKey]) -> list[str]:
    """Return the names of the trusted keys that have signed. A ``keyid`` is ignored, since any signer can write it."""
    message = pae(envelope.payload_type, envelope.payload)
    return [each.name for each in keys if any(each.verifies(one, message) for one in envelope.signatures)]


def is_signed_by(statement: bytes, envelope: Path, keys: Sequence[TrustedKey]) -> bool:
    """Return whether an envelope's file holds exactly this statement, with a signature of one of the keys."""
    try:
        found = read_envelope(read_bytes(envelope), str(envelope))
    except InputError:
        return False
    return found.payload == statement and found.payload_type == PAYLOAD_TYPE and bool(signers(found, keys))


def _decoded(text: object, name: str) -> bytes:
    if not isinstance(text, str):
        raise InputError(f"{name} has a signature without `sig`.")
    try:
        plain = text.replace("-", "+").replace("_", "/")
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (ValueError, binascii.Error) as err:
        raise InputError(f"{name} holds a text that is not base64.") from err
