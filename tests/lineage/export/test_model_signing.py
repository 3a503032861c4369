import base64
import hashlib
import json
import os

import pytest

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.lineage import write_record
from lightning_subliminal.lineage.export import make_p256, sign_model

pytest.importorskip("cryptography", reason="needs cryptography")


@pytest.fixture
def key(tmp_path):
    make_p256(tmp_path / "key")
    return tmp_path / "key"


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "model"
    (made / "a").mkdir(parents=True)
    for name in ("a/x.bin", "a-b", "a.b", ".hidden", "z"):  # whose order by text is not that by parts
        (made / name).write_bytes(name.encode())
    write_record(made, "student", {})
    return made


@pytest.fixture
def verify(folder, key):
    """Verify the folder's signature with the package; its word where it refuses."""
    pytest.importorskip("model_signing", reason="needs model-signing and pyOpenSSL")
    from model_signing import verifying

    signature = folder / "model.sig"
    signature.write_bytes(sign_model(folder, key))

    def word(public=None):
        public = public or key.with_name("key.pub")
        try:
            verifying.Config().use_elliptic_key_verifier(public_key=public).verify(folder, signature)
        except ValueError as err:
            return str(err).replace("\\", "").replace('"', "'")  # it quotes names by what the digests' bytes hold
        return "verified"

    return word


def test_the_package_verifies_it(verify):
    assert verify() == "verified"


def test_one_flipped_bit_is_refused(verify, folder):
    raw = bytearray((folder / "z").read_bytes())
    raw[0] ^= 1
    (folder / "z").write_bytes(raw)
    assert "Hash mismatch for 'z'" in verify()


def test_a_record_that_was_changed_is_refused(verify, folder):
    write_record(folder, "base", {})
    assert "Hash mismatch for 'lineage.json'" in verify()


def test_added_lost_and_renamed_files_are_refused(verify, folder):
    (folder / "new").write_text("x")
    assert "Extra files found" in verify()
    (folder / "new").unlink()
    (folder / "a" / "lineage.dsse.json").write_text("only the folder's own is left out")
    assert "Extra files found" in verify()
    (folder / "a" / "lineage.dsse.json").unlink()
    (folder / "z").rename(folder / "y")
    assert "Missing files" in verify()


def test_what_comes_later_does_no_harm(verify, folder):
    (folder / "lineage.dsse.json").write_text("an envelope, with one more signature")
    (folder / "test-results").mkdir()
    (folder / "test-results" / "owl.json").write_text("{}")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("")
    assert verify() == "verified"


def test_another_key_is_refused(verify, tmp_path):
    assert "Key mismatch" in verify(make_p256(tmp_path / "other"))


def test_a_changed_payload_is_refused(verify, folder):
    place = folder / "model.sig"
    bundle = json.loads(place.read_text())
    payload = base64.b64decode(bundle["dsseEnvelope"]["payload"]).replace(b'"name": "model"', b'"name": "other"')
    bundle["dsseEnvelope"]["payload"] = base64.b64encode(payload).decode()
    place.write_text(json.dumps(bundle))
    from cryptography.exceptions import InvalidSignature

    with pytest.raises(InvalidSignature):
        verify()


def test_the_package_signs_the_same_files_in_the_same_order(folder, key, tmp_path):
    signing = pytest.importorskip("model_signing.signing", reason="needs model-signing and pyOpenSSL")
    left_out = [folder / each for each in (".git", "model.sig")]
    hashing = pytest.importorskip("model_signing.hashing").Config().set_ignored_paths(paths=left_out)
    config = signing.Config().set_hashing_config(hashing).use_elliptic_key_signer(private_key=key)
    config.sign(folder, tmp_path / "theirs")

    def payload(data):
        return json.loads(base64.b64decode(json.loads(data)["dsseEnvelope"]["payload"]))

    ours, theirs = payload(sign_model(folder, key)), payload((tmp_path / "theirs").read_bytes())
    assert ours["predicate"]["resources"] == theirs["predicate"]["resources"]
    assert ours["subject"] == theirs["subject"]
    assert ours["predicateType"] == theirs["predicateType"]


def test_the_hint_is_the_public_keys_digest(folder, key):
    bundle = json.loads(sign_model(folder, key))
    expected = hashlib.sha256(key.with_name("key.pub").read_bytes()).hexdigest()
    assert bundle["verificationMaterial"]["publicKey"]["hint"] == expected


@pytest.mark.skipif(os.name != "posix", reason="modes of files are POSIX's")
def test_a_key_that_others_may_read_is_refused(folder, key):
    assert key.stat().st_mode & 0o777 == 0o600
    key.chmod(0o640)
    with pytest.raises(InputError, match="chmod 600"):
        sign_model(folder, key)


def test_a_key_of_another_kind_is_refused(folder, tmp_path):
    from lightning_subliminal.lineage.signatures.keys import make_key

    make_key(tmp_path / "ed")
    with pytest.raises(InputError, match="expected ECDSA P-256"):
        sign_model(folder, tmp_path / "ed")


def test_a_key_is_never_written_over(key):
    with pytest.raises(InputError, match="exists already"):
        make_p256(key)


def test_an_encrypted_key_needs_its_passphrase(folder, tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_KEY_PASSPHRASE", "owl")
    make_p256(tmp_path / "locked")
    assert b"ENCRYPTED" in (tmp_path / "locked").read_bytes()
    assert sign_model(folder, tmp_path / "locked")
    monkeypatch.delenv("LIGHTNING_SUBLIMINAL_KEY_PASSPHRASE")
    with pytest.raises(InputError, match="encrypted"):
        sign_model(folder, tmp_path / "locked")


def test_links_and_empty_folders_are_refused(folder, key, tmp_path):
    with pytest.raises(InputError, match="nothing to sign"):
        sign_model(tmp_path / "nowhere", key)
    (folder / "link").symlink_to(folder / "z")
    with pytest.raises(InputError, match="is a link"):
        sign_model(folder, key)
