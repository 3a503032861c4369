"""Signatures of OpenSSF's model-signing: a Sigstore bundle for the files of an artefact.

The package isn't needed to sign: the bundle is JSON around a DSSE envelope, with an ECDSA P-256 key (the package does
not accept ed25519).

All files of the folder are signed, including ``lineage.json`` and hidden ones, so the signature binds the model to its
lineage. Excluded are files that may be added later: the signature itself, the statement's envelope, which can take
further signatures, test results, and git's own files. Any other added file makes verification fail.
"""

import base64
import hashlib
import json
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import file_digest
from lightning_subliminal.lineage.names import ENVELOPE, RESULTS
from lightning_subliminal.lineage.signatures.dsse import PAYLOAD_TYPE, pae
from lightning_subliminal.lineage.signatures.keys import make_key, need_cryptography, read_private
from lightning_subliminal.lineage.statement import STATEMENT

__all__ = ["SIGNATURE", "make_p256", "sign_model"]

SIGNATURE = "model.sig"  # the bundle's name in the folder
_PREDICATE = "https://model_signing/signature/v1.0"
_BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
make_p256 = partial(make_key, kind="p256")
_LEFT_OUT = (SIGNATURE, ENVELOPE, RESULTS, ".git", ".gitattributes", ".github", ".gitignore")


def sign_model(folder: Path, key_pem: Path) -> bytes:
    """Return the bundle of a folder, to be written to ``folder/model.sig`` or outside the folder.

    Args:
        folder: the artefact.
        key_pem: a private P-256 key in PEM, readable by its owner alone, as ``make_p256`` makes it.

    Raises:
        InputError: if the folder has no files or has links, the key can't be used, or cryptography is not installed.
    """
    need_cryptography()
    from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.hashes import SHA256
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key: Any = read_private(key_pem)
    if not isinstance(key, EllipticCurvePrivateKey) or not isinstance(key.curve, SECP256R1):
        raise InputError(f"{key_pem} holds another kind of key: expected ECDSA P-256; name a new file to make one.")
    payload = json.dumps(_statement(folder), sort_keys=True, ensure_ascii=False).encode()
    signature = key.sign(pae(PAYLOAD_TYPE, payload), ECDSA(SHA256()))
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    bundle = {
        "mediaType": _BUNDLE,
        # By the hint the verifier recognises its key: SHA-256 of the public key in PEM.
        "verificationMaterial": {"publicKey": {"hint": hashlib.sha256(public).hexdigest()}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": base64.b64encode(payload).decode(),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [{"sig": base64.b64encode(signature).decode()}],
        },
    }
    return (json.dumps(bundle, indent=1) + "\n").encode()


def _statement(folder: Path) -> dict[str, Any]:
    names = sorted(_files(folder), key=lambda name: name.split("/"))  # as the package sorts paths: part by part
    if not names:
        raise InputError(f"{folder} is not a folder, or has no files: there is nothing to sign.")
    resources = [{"name": name, "algorithm": "sha256", "digest": file_digest(folder / name)} for name in names]
    # The standard's root does not cover the names; the resources do, and the verifier compares them.
    root = hashlib.sha256(b"".join(bytes.fromhex(each["digest"]) for each in resources)).hexdigest()
    how = {"method": "files", "hash_type": "sha256", "allow_symlinks": False, "ignore_paths": list(_LEFT_OUT)}
    return {
        "_type": STATEMENT,
        "subject": [{"name": folder.resolve().name, "digest": {"sha256": root}}],
        "predicateType": _PREDICATE,
        "predicate": {"serialization": how, "resources": resources},
    }


def _files(folder: Path) -> Iterator[str]:
    """Yield the names of all files to sign, including hidden ones."""
    for place, folders, files in os.walk(folder):
        here = Path(place)
        if here == folder:
            folders[:] = [each for each in folders if each not in _LEFT_OUT]
            files = [each for each in files if each not in _LEFT_OUT]
        for name in [*files, *folders]:
            if (here / name).is_symlink():
                raise InputError(f"{here / name} is a link: replace it by the file itself.")
        for name in files:
            yield (here / name).relative_to(folder).as_posix()
