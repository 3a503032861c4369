import os
import shutil
import stat
import subprocess

import pytest
from cases import cases

from lightning_subliminal.core.errors import InputError

pytest.importorskip("cryptography", reason="signatures need it")

from cryptography.hazmat.primitives.asymmetric import ec, ed448, rsa, x25519
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from lightning_subliminal.lineage.signatures.keys import PASSPHRASE, key_id, make_key, private_key, trusted_keys

POSIX = pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
OPENSSL = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is the reference here")


@pytest.fixture(autouse=True)
def _no_passphrase(monkeypatch):
    monkeypatch.delenv(PASSPHRASE, raising=False)


def alice(place):
    assert make_key(place / "alice") == place / "alice.pub"
    return place / "alice"


@pytest.fixture
def path(tmp_path):
    return alice(tmp_path)


def refused(message, call, *args):
    with pytest.raises(InputError, match=message) as caught:
        call(*args)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def others():
    return {
        "rsa": rsa.generate_private_key(65537, 1024),  # noqa: S505 - it signs nothing
        "ec": ec.generate_private_key(ec.SECP256R1()),
        "ed448": ed448.Ed448PrivateKey.generate(),
        "x25519": x25519.X25519PrivateKey.generate(),
    }


def private_pem(key, secret=b""):
    protection = BestAvailableEncryption(secret) if secret else NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, protection)


def public_pem(key):
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def keep(path, data):
    path.write_bytes(data)
    path.chmod(0o600)
    return path


def test_what_is_signed_by_one_is_verified_by_the_other(path):
    (trust,) = trusted_keys([path.with_name("alice.pub")])
    signature = private_key(path).sign(b"owl")
    assert trust.name == "alice"
    assert trust.verifies(signature, b"owl")
    assert not trust.verifies(signature, b"owl ")
    make_key(path.with_name("bob"))
    (other,) = trusted_keys([path.with_name("bob.pub")])
    assert not other.verifies(signature, b"owl")
    assert key_id(trust.key) == key_id(private_key(path).public_key()) != key_id(other.key)


@POSIX
def test_only_the_owner_may_read_the_private_key(path, tmp_path):
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    before = os.umask(0)
    try:
        make_key(tmp_path / "deep" / "er" / "key")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "deep" / "er" / "key").stat().st_mode) == 0o600, "whatever the umask"


@POSIX
@cases("umask", [0, 0o002, 0o022, 0o077, 0o177, 0o777])
def test_no_umask_lets_others_write_a_key_or_its_folder(umask, tmp_path):
    parent = tmp_path if umask & 0o700 else tmp_path / "deep" / "er"  # such a umask makes folders nobody can enter
    before = os.umask(umask)
    try:
        public = make_key(parent / "key")
    finally:
        os.umask(before)
    assert stat.S_IMODE((parent / "key").stat().st_mode) == 0o600
    assert not stat.S_IMODE(public.stat().st_mode) & 0o022, "who writes it decides whom the others trust"
    assert not any(stat.S_IMODE(each.stat().st_mode) & 0o022 for each in (parent, parent.parent))


def test_a_key_is_not_written_through_a_link(tmp_path):
    for name in ("key", "key.pub"):
        (tmp_path / name).symlink_to(tmp_path / "victim")
        with pytest.raises(InputError, match="can't be written"):
            make_key(tmp_path / "key")
        (tmp_path / name).unlink()
        (tmp_path / "key").unlink(missing_ok=True)
    assert not (tmp_path / "victim").exists()


@POSIX
@cases("mode", [0o640, 0o604, 0o660, 0o620, 0o610, 0o644, 0o777])
def test_a_private_key_that_others_may_read_is_refused(tmp_path, mode):
    path = alice(tmp_path)
    path.chmod(mode)
    reported = refused("may be read by other users", private_key, path)
    assert reported.endswith(f"chmod 600 {path}"), "which can be pasted"
    path.chmod(0o600)
    assert private_key(path)
    path.chmod(0o400)
    assert private_key(path)


def test_nothing_is_overwritten(path, tmp_path):
    before = path.read_bytes(), path.with_name("alice.pub").read_bytes()
    refused("alice exists already: choose another name", make_key, path)
    path.unlink()
    refused(r"alice\.pub exists already", make_key, path)
    assert not path.exists(), "no private key without its public one"
    assert path.with_name("alice.pub").read_bytes() == before[1]
    (tmp_path / "carol").symlink_to(tmp_path / "victim")
    refused("can't be written", make_key, tmp_path / "carol")
    assert not (tmp_path / "victim").exists(), "a link that leads nowhere is not followed"


def test_a_folder_that_can_not_be_made_is_reported(path):
    refused("can't be written .*: choose a folder that you may write", make_key, path / "key")


def test_with_a_passphrase_it_is_encrypted(tmp_path, monkeypatch):
    path = tmp_path / "key"
    monkeypatch.setenv(PASSPHRASE, "correct horse é")
    make_key(path)
    assert path.read_text().startswith("-----BEGIN ENCRYPTED PRIVATE KEY-----")
    assert trusted_keys([tmp_path / "key.pub"])[0].verifies(private_key(path).sign(b"x"), b"x")
    monkeypatch.setenv(PASSPHRASE, "wrong")
    reported = refused(f"or {PASSPHRASE} is not its passphrase", private_key, path)
    assert "wrong" not in reported
    monkeypatch.delenv(PASSPHRASE)
    refused(f"is encrypted, or is not: set or unset {PASSPHRASE}", private_key, path)
    monkeypatch.setenv(PASSPHRASE, "")
    refused("set or unset", private_key, path)


def test_a_passphrase_for_a_key_that_needs_none_is_reported(path, monkeypatch):
    monkeypatch.setenv(PASSPHRASE, "x")
    refused(f"set or unset {PASSPHRASE}", private_key, path)


@cases("kind", ["rsa", "ec", "ed448", "x25519"])
def test_another_kind_of_key_is_reported(tmp_path, kind):
    key = others()[kind]
    refused("holds another kind of key: expected ed25519", private_key, keep(tmp_path / "key", private_pem(key)))
    refused("holds another kind of key: expected ed25519", trusted_keys, [keep(tmp_path / "key.pub", public_pem(key))])


@OPENSSL
def test_a_key_on_a_curve_that_nobody_knows_is_reported(tmp_path):
    words = ["openssl", "genpkey", "-algorithm", "SM2", "-out", str(tmp_path / "key")]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("this openssl makes no SM2 keys")
    (tmp_path / "key").chmod(0o600)
    refused("key: |not a private key in PEM|another kind of key", private_key, tmp_path / "key")
    words = ["openssl", "pkey", "-in", "key", "-pubout", "-out", "key.pub"]
    subprocess.run(words, cwd=tmp_path, capture_output=True, check=True)
    refused("is not a public key in PEM", trusted_keys, [tmp_path / "key.pub"])


@cases("data", [b"", b"x", b"\xff\0", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_what_is_no_key_is_reported(tmp_path, data):
    refused("is not a private key in PEM", private_key, keep(tmp_path / "key", data))
    refused("is not a public key in PEM: give the .pub", trusted_keys, [tmp_path / "key"])


def test_one_half_in_the_place_of_the_other_is_reported(path):
    refused("is not a public key in PEM: give the .pub that `lineage keygen` made", trusted_keys, [path])
    public = path.with_name("alice.pub")
    public.chmod(0o600)
    refused("is not a private key in PEM", private_key, public)


def test_what_is_not_there_is_reported(tmp_path):
    refused("can't be read .*: `lineage keygen` makes one", private_key, tmp_path / "nowhere")
    refused("can't be read", private_key, tmp_path)
    refused("can't be read", trusted_keys, [tmp_path / "nowhere"])


def test_a_folder_of_keys_is_trusted_as_a_whole(tmp_path):
    for name in ("zoe", "alice"):
        make_key(tmp_path / "keys" / name)
    (tmp_path / "keys" / "carol.pem").write_bytes(public_pem(private_key(tmp_path / "keys" / "zoe")))
    (tmp_path / "keys" / "README").write_text("whose they are")
    make_key(tmp_path / "bob")
    found = trusted_keys([tmp_path / "keys", tmp_path / "bob.pub"])
    assert [each.name for each in found] == ["alice", "carol", "zoe", "bob"]
    assert trusted_keys([]) == []
    (tmp_path / "none").mkdir()
    refused(r"none holds no keys: expected files \*\.pub or \*\.pem", trusted_keys, [tmp_path / "none"])
    (tmp_path / "keys" / "broken.pub").write_text("x")
    refused(r"broken\.pub is not a public key", trusted_keys, [tmp_path / "keys"])


@OPENSSL
def test_openssl_makes_the_same_kind_of_key(path, tmp_path, monkeypatch):
    def openssl(*words):
        return subprocess.run(["openssl", *words], cwd=tmp_path, capture_output=True, check=True).stdout

    assert b"ED25519" in openssl("pkey", "-pubin", "-in", "alice.pub", "-noout", "-text").upper()
    assert openssl("pkey", "-in", "alice", "-pubout") == (tmp_path / "alice.pub").read_bytes()
    openssl("genpkey", "-algorithm", "ed25519", "-out", "theirs")
    openssl("pkey", "-in", "theirs", "-pubout", "-out", "theirs.pub")
    (tmp_path / "theirs").chmod(0o600)
    (trust,) = trusted_keys([tmp_path / "theirs.pub"])
    assert trust.verifies(private_key(tmp_path / "theirs").sign(b"x"), b"x")
    monkeypatch.setenv(PASSPHRASE, "secret")
    make_key(tmp_path / "hidden")
    reported = openssl("pkey", "-in", "hidden", "-passin", f"env:{PASSPHRASE}", "-pubout")
    assert reported == (tmp_path / "hidden.pub").read_bytes()


def test_several_keys_in_one_file_are_refused(tmp_path):
    both = b"".join(make_key(tmp_path / name).read_bytes() for name in ("alice", "bob"))
    (tmp_path / "team.pem").write_bytes(both)
    with pytest.raises(InputError, match="holds several keys"):
        trusted_keys([tmp_path / "team.pem"])


@cases(
    "point",
    [
        "01" + "00" * 31,
        "01" + "00" * 30 + "80",
        "00" * 32,
        "ec" + "ff" * 30 + "7f",
        "ed" + "ff" * 30 + "7f",
        "ee" + "ff" * 30 + "ff",
        "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
        "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
    ],
)
def test_a_key_in_whose_name_anybody_can_sign_is_refused(point, tmp_path):
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(point))
    (tmp_path / "weak.pub").write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(InputError, match="holds a weak key"):
        trusted_keys([tmp_path / "weak.pub"])
