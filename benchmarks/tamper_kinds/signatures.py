"""Signatures and their envelopes."""

import base64
import json
import random
import shutil
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from lightning_subliminal.lineage.signatures.dsse import seal
from tamper_kinds.kind import ENVELOPE, STATEMENT, Chain, edit, kind
from tamper_kinds.statements import BUILD, change_scalar

__all__: list[str] = []


@kind(
    "take the signature away",
    "untrusted-signer",
    # Not a base's: its signed child names its files and its statement, so nothing depends on its own signature.
    choose=lambda chain: [each for each in chain.artefacts() if each.parent.name != "bases"],
    on_signatures=True,
)
def unsign(artefact: Path, chain: Chain, rng: random.Random) -> None:
    (artefact / ENVELOPE).unlink()


@kind("forge the signature: random bytes in a trusted name", "forged-signature", on_signatures=True)
def random_signature(artefact: Path, chain: Chain, rng: random.Random) -> None:
    forged = base64.b64encode(rng.randbytes(rng.choice([0, 12, 63, 64, 65]))).decode()
    edit(artefact / ENVELOPE, lambda envelope: envelope["signatures"][0].update(sig=forged))


def sign_again(artefact: Path) -> None:
    """Sign a statement with a new key."""
    raw = (artefact / STATEMENT).read_bytes()
    (artefact / ENVELOPE).write_bytes(seal(raw, Ed25519PrivateKey.generate()))


@kind("sign with another key", "untrusted-signer", on_signatures=True)
def other_key(artefact: Path, chain: Chain, rng: random.Random) -> None:
    sign_again(artefact)


@kind("sign with another key under the trusted key's id", "forged-signature", on_signatures=True)
def other_key_same_id(artefact: Path, chain: Chain, rng: random.Random) -> None:
    name = json.loads((artefact / ENVELOPE).read_text())["signatures"][0]["keyid"]
    sign_again(artefact)
    edit(artefact / ENVELOPE, lambda envelope: envelope["signatures"][0].update(keyid=name))


@kind("change the statement and sign it with another key", "untrusted-signer", on_signatures=True)
def resign(artefact: Path, chain: Chain, rng: random.Random) -> None:
    change_scalar(*BUILD, "internalParameters")(artefact, chain, rng)
    sign_again(artefact)


@kind("an envelope of another artefact", "forged-signature", on_signatures=True)
def other_envelope(artefact: Path, chain: Chain, rng: random.Random) -> None:
    shutil.copyfile(chain.twin(artefact) / ENVELOPE, artefact / ENVELOPE)


@kind("flip a bit of the envelope", "forged-signature", "untrusted-signer", on_signatures=True)
def flip_envelope(artefact: Path, chain: Chain, rng: random.Random) -> None:
    def change(envelope: Any) -> None:
        holder, name = rng.choice([(envelope, "payload"), (envelope["signatures"][0], "sig")])
        data = bytearray(base64.b64decode(holder[name]))
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
        holder[name] = base64.b64encode(data).decode()

    edit(artefact / ENVELOPE, change)


@kind("declare the payload to be of another type", "forged-signature", on_signatures=True)
def other_type(artefact: Path, chain: Chain, rng: random.Random) -> None:
    name = rng.choice(["text/plain", "application/vnd.in-toto.link+json", ""])
    edit(artefact / ENVELOPE, lambda envelope: envelope.update(payloadType=name))
