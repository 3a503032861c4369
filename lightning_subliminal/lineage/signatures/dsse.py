"""DSSE envelopes (Dead Simple Signing Envelope 1.0.2): bytes, their type, and signatures over both."""

import base64
import binascii
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.lineage.signatures.keys import TrustedKey, key_id
from lightning_subliminal.lineage.strict_json import parse

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["PAYLOAD_TYPE", "Envelope", "pae", "read_envelope", "seal", "signers"]

PAYLOAD_TYPE = "application/vnd.in-toto+json"
_MOST_SIGNATURES = 64


@dataclass(frozen=True)
class Envelope:
    """An envelope, read; nothing in it is trusted yet.

    Attributes:
        payload: the bytes that were signed.
        payload_type: their media type.
        signatures: one each.
    """

    payload: bytes
    payload_type: str
    signatures: tuple[bytes, ...]


def pae(payload_type: str, payload: bytes) -> bytes:
    """Return the bytes that a signature is over: type and payload, each behind its length (protocol, `PAE`).

    Example:
        >>> pae("http://example.com/HelloWorld", b"hello world")
        b'DSSEv1 29 http://example.com/HelloWorld 11 hello world'
    """
    name = payload_type.encode()
    return b"DSSEv1 %d %s %d %s" % (len(name), name, len(payload), payload)


def seal(payload: bytes, key: "Ed25519PrivateKey", payload_type: str = PAYLOAD_TYPE, old: bytes | None = None) -> bytes:
    """Return an envelope with a signature.

    Args:
        payload: what is signed.
        key: who signs.
        payload_type: its media type.
        old: an envelope of the same payload, whose signatures stay.

    Raises:
        InputError: if the old envelope is no such one.
    """
    signatures = []
    if old is not None:
        before = read_envelope(old, "the envelope")
        if before.payload != payload or before.payload_type != payload_type:
            raise InputError("The envelope that is there holds another statement: delete it, then sign.")
        signatures = parse(old, "the envelope")["signatures"]
    signature = base64.b64encode(key.sign(pae(payload_type, payload))).decode()
    mine = {"keyid": key_id(key.public_key()), "sig": signature}
    signatures = [each for each in signatures if each["sig"] != signature] + [mine]
    if len(signatures) > _MOST_SIGNATURES:
        raise InputError(f"The envelope that is there has {_MOST_SIGNATURES} signatures already: delete it, then sign.")
    told = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": payload_type,
        "signatures": signatures,
    }
    return (json.dumps(told, indent=1, sort_keys=True) + "\n").encode()


def read_envelope(data: bytes, what: str) -> Envelope:
    """Read an envelope; standard and URL-safe base64 are both taken, as the protocol asks.

    Raises:
        InputError: if it is none.
    """
    told = parse(data, what)
    payload, kind, signatures = told.get("payload"), told.get("payloadType"), told.get("signatures")
    if not isinstance(payload, str) or not isinstance(kind, str) or not isinstance(signatures, list):
        raise InputError(f"{what} is no DSSE envelope: expected payload, payloadType and signatures.")
    if len(signatures) > _MOST_SIGNATURES:
        raise InputError(f"{what} has {len(signatures)} signatures: expected at most {_MOST_SIGNATURES}.")
    found = [each.get("sig") if isinstance(each, dict) else None for each in signatures]
    return Envelope(_decoded(payload, what), kind, tuple(_decoded(each, what) for each in found))


def signers(envelope: Envelope, keys: Sequence[TrustedKey]) -> list[str]:
    """Return the names of the trusted keys that have signed. A ``keyid`` is not looked at: anybody can write one."""
    message = pae(envelope.payload_type, envelope.payload)
    return [each.name for each in keys if any(each.verifies(one, message) for one in envelope.signatures)]


def _decoded(text: object, what: str) -> bytes:
    if not isinstance(text, str):
        raise InputError(f"{what} has a signature without `sig`.")
    try:
        plain = text.replace("-", "+").replace("_", "/")
        return base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
    except (ValueError, binascii.Error) as err:
        raise InputError(f"{what} holds what is no base64.") from err
