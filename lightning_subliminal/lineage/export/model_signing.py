"""An artefact's files signed as OpenSSF has it: a Sigstore bundle that the package model-signing verifies.

The package isn't needed here: the bundle is JSON around a DSSE envelope, its key ECDSA P-256 (it takes no ed25519).

Signed are all files of the folder, ``lineage.json`` and hidden ones among them: so the signature binds what the model
is to what is said of its making. Left out is what comes later or beside: the signature itself, the statement's
envelope, which takes further signatures, test results, and git's own files. A file added elsewhere is refused.
"""

import base64
import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import file_digest
from lightning_subliminal.lineage.names import ENVELOPE, RESULTS
from lightning_subliminal.lineage.signatures.dsse import PAYLOAD_TYPE, pae
from lightning_subliminal.lineage.signatures.keys import need_cryptography, read_private, write_pair
from lightning_subliminal.lineage.statement import STATEMENT

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey

__all__ = ["SIGNATURE", "make_p256", "sign_model"]

SIGNATURE = "model.sig"  # the bundle, where it lies in the folder
_PREDICATE = "https://model_signing/signature/v1.0"
_BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
_LEFT_OUT = (SIGNATURE, ENVELOPE, RESULTS, ".git", ".gitattributes", ".github", ".gitignore")


def sign_model(folder: Path, key_pem: Path) -> bytes:
    """Return the bundle of a folder; put it at ``folder/model.sig``, or anywhere outside.

    Args:
        folder: the artefact.
        key_pem: a private P-256 key in PEM, readable by its owner alone, as ``make_p256`` makes it.

    Raises:
        InputError: if the folder has no files or has links, or the key can't be used.
        InputError: if cryptography is not installed.
    """
    need_cryptography()
    key = _p256(key_pem)
    payload = json.dumps(_statement(folder), sort_keys=True, ensure_ascii=False).encode()
    told = {
        "mediaType": _BUNDLE,
        "verificationMaterial": {"publicKey": {"hint": _hint(key)}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(_signature(key, pae(PAYLOAD_TYPE, payload))).decode()}],
        },
    }
    return (json.dumps(told, indent=1) + "\n").encode()


def make_p256(path: Path) -> Path:
    """Make a P-256 key: the private one at ``path``, readable by its owner alone, the public one beside it as ``.pub``.

    With a passphrase in LIGHTNING_SUBLIMINAL_KEY_PASSPHRASE the private key is encrypted.

    Returns:
        The public key's file.

    Raises:
        InputError: if a file is there already, or can't be written.
        InputError: if cryptography is not installed.
    """
    need_cryptography()
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key

    return write_pair(path, generate_private_key(SECP256R1()))


def _p256(path: Path) -> "EllipticCurvePrivateKey":
    from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePrivateKey

    key: Any = read_private(path)
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise InputError(
            f"{path} holds another kind of key: it needs ECDSA P-256; name a file that is not there to make one."
        )
    return key


def _statement(folder: Path) -> dict[str, Any]:
    names = sorted(_files(folder), key=lambda name: name.split("/"))  # as the package sorts paths: part by part
    if not names:
        raise InputError(f"{folder} is no folder, or has no files: there is nothing to sign.")
    resources = [{"name": name, "algorithm": "sha256", "digest": file_digest(folder / name)} for name in names]
    # The standard's root binds no names; the resources do, and the verifier compares those.
    root = hashlib.sha256(b"".join(bytes.fromhex(each["digest"]) for each in resources)).hexdigest()
    how = {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": list(_LEFT_OUT)}
    return {
        "_type": STATEMENT,
        "subject": [{"name": folder.resolve().name, "digest": {"sha256": root}}],
        "predicateType": _PREDICATE,
        "predicate": {"serialization": how, "resources": resources},
    }


def _files(folder: Path) -> Iterator[str]:
    """Yield the names of all files that are signed, hidden ones too."""
    for place, folders, files in os.walk(folder):
        here = Path(place)
        if here == folder:
            folders[:] = [each for each in folders if each not in _LEFT_OUT]
            files = [each for each in files if each not in _LEFT_OUT]
        for name in [*files, *folders]:
            if (here / name).is_symlink():
                raise InputError(f"{here / name} is a link: put the file itself there, which stays as it is.")
        for name in files:
            yield (here / name).relative_to(folder).as_posix()


def _signature(key: "EllipticCurvePrivateKey", message: bytes) -> bytes:
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA
    from cryptography.hazmat.primitives.hashes import SHA256

    return key.sign(message, ECDSA(SHA256()))


def _public_pem(key: "EllipticCurvePrivateKey") -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _hint(key: "EllipticCurvePrivateKey") -> str:
    """Return what tells the verifier that it has the right key: SHA-256 of the public one in PEM."""
    return hashlib.sha256(_public_pem(key)).hexdigest()
