"""Keys for signing and trust: ed25519 in PEM files, as ``openssl genpkey -algorithm ed25519`` makes them, too."""

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.bounds import MAX_KEY
from lightning_subliminal.core.io.files import read_bytes

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

__all__ = [
    "PASSPHRASE",
    "TrustedKey",
    "key_id",
    "make_key",
    "need_cryptography",
    "private_key",
    "read_private",
    "trusted_keys",
]

PASSPHRASE = "LIGHTNING_SUBLIMINAL_KEY_PASSPHRASE"  # noqa: S105 - the name of a variable
_FIELD = 2**255 - 19
_EIGHTH = int.from_bytes(bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05"), "little")
_SMALL = frozenset({0, 1, _FIELD - 1, _EIGHTH, _FIELD - _EIGHTH})  # y-coordinates of points of order 1, 2, 4 and 8


@dataclass(frozen=True)
class TrustedKey:
    """A public key that an auditor trusts.

    Attributes:
        name: its owner, which is the stem of its file.
        key: the key.
    """

    name: str
    key: "Ed25519PublicKey"

    def verifies(self, signature: bytes, message: bytes) -> bool:
        """Return whether this key made a signature of a message."""
        from cryptography.exceptions import InvalidSignature

        try:
            self.key.verify(signature, message)
        except InvalidSignature:
            return False
        return True


def make_key(path: Path, kind: Literal["ed25519", "p256"] = "ed25519") -> Path:
    """Make a private key, readable by its owner alone, and its public key at ``path`` with ``.pub`` appended.

    The private key is encrypted if LIGHTNING_SUBLIMINAL_KEY_PASSPHRASE holds a passphrase.

    Args:
        path: the private key's file.
        kind: ed25519 for statements, p256 for model-signing.

    Returns:
        The public key's file.

    Raises:
        InputError: if a file exists already or can't be written, or cryptography is not installed.
    """
    need_cryptography()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    public = path.with_name(path.name + ".pub")
    for each in (path, public):
        if each.exists():
            raise InputError(f"{each} exists already: choose another name, or its old signatures can't be verified.")
    key: Any = ed25519.Ed25519PrivateKey.generate() if kind == "ed25519" else ec.generate_private_key(ec.SECP256R1())
    secret = os.environ.get(PASSPHRASE, "").encode()
    protection = serialization.BestAvailableEncryption(secret) if secret else serialization.NoEncryption()
    pem, spki = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    try:
        for folder in reversed([each for each in path.absolute().parents if not each.exists()]):
            folder.mkdir(mode=0o755, exist_ok=True)
        _write_new(path, key.private_bytes(pem, serialization.PrivateFormat.PKCS8, protection), 0o600)
        _write_new(public, key.public_key().public_bytes(pem, spki), 0o644)
    except OSError as err:
        reason = err.strerror or err
        raise InputError(f"{path} can't be written ({reason}): choose a folder that you may write.") from err
    return public


def _write_new(path: Path, data: bytes, mode: int) -> None:
    """Write a new file that others can't write under any umask: a replaced public key would change who is trusted."""
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0)
    with open(os.open(path, flags, mode), "wb") as stream:
        if os.name == "posix" and mode == 0o600:
            os.fchmod(stream.fileno(), mode)  # under a umask of 0o777 its owner could not read it
        stream.write(data)


def private_key(path: Path) -> "Ed25519PrivateKey":
    """Read a private key.

    Raises:
        InputError: if others than its owner may read it, or it is not an ed25519 key in PEM.
    """
    need_cryptography()
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key: Any = read_private(path)
    if not isinstance(key, Ed25519PrivateKey):
        raise InputError(f"{path} holds another kind of key: expected ed25519, as `lineage keygen` makes it.")
    return key


def read_private(path: Path) -> Any:
    """Read a private key of any kind.

    Raises:
        InputError: if others than its owner may read it, or it is not a key in PEM.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    try:
        mode = path.stat().st_mode
        data = read_bytes(path, MAX_KEY)
    except OSError as err:
        raise InputError(f"The key {path} can't be read ({err.strerror or err}): `lineage keygen` makes one.") from err
    if os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise InputError(f"The private key {path} may be read by other users: run chmod 600 {path}")
    secret = os.environ.get(PASSPHRASE, "").encode() or None
    try:
        return load_pem_private_key(data, secret)
    except TypeError as err:  # encrypted and no passphrase, or the reverse
        raise InputError(f"The key {path} is encrypted, or is not: set or unset {PASSPHRASE}.") from err
    except (ValueError, UnsupportedAlgorithm) as err:
        raise InputError(f"{path} is not a private key in PEM, or {PASSPHRASE} is not its passphrase.") from err


def trusted_keys(paths: list[Path]) -> list[TrustedKey]:
    """Read trusted public keys: files, or folders of ``*.pub`` and ``*.pem``.

    Raises:
        InputError: if one is not a public ed25519 key, or a folder holds none.
    """
    files: list[Path] = []
    for path in paths:
        inner = sorted([*path.glob("*.pub"), *path.glob("*.pem")]) if path.is_dir() else [path]
        if not inner:
            raise InputError(f"{path} holds no keys: expected files *.pub or *.pem.")
        files += inner
    return [_public(path) for path in files]


def _public(path: Path) -> TrustedKey:
    need_cryptography()
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    try:
        data = read_bytes(path, MAX_KEY)
        key = load_pem_public_key(data)
    except InputError:
        raise
    except OSError as err:
        raise InputError(f"The key {path} can't be read ({err.strerror or err}).") from err
    except (ValueError, UnsupportedAlgorithm) as err:
        raise InputError(f"{path} is not a public key in PEM: give the .pub that `lineage keygen` made.") from err
    if data.count(b"-----BEGIN ") > 1:
        raise InputError(f"{path} holds several keys: give each a file of its own.")
    if not isinstance(key, Ed25519PublicKey):
        raise InputError(f"{path} holds another kind of key: expected ed25519.")
    if _is_weak(key):
        raise InputError(f"{path} holds a weak key, whose signatures anyone can forge: make one with `lineage keygen`.")
    return TrustedKey(path.stem, key)


def _is_weak(key: "Ed25519PublicKey") -> bool:
    """Return whether a key is a point of small order, for which one signature can be valid for every text."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    raw = key.public_bytes(Encoding.Raw, PublicFormat.Raw)
    return (int.from_bytes(raw, "little") & ((1 << 255) - 1)) % _FIELD in _SMALL


def key_id(key: "Ed25519PublicKey") -> str:
    """Return a key's id for display: SHA-256 of its SubjectPublicKeyInfo in DER. It proves nothing."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).hexdigest()


def need_cryptography() -> None:
    """Check that cryptography is installed.

    Raises:
        InputError: if it is not, with the command that installs it.
    """
    try:
        import cryptography  # noqa: F401
    except ModuleNotFoundError as err:
        raise InputError("Signatures need cryptography: pip install 'lightning-subliminal[lineage]'.") from err
