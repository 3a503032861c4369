"""Envelopes, against what others publish: the protocol's own vector, RFC 8032's, openssl, and securesystemslib."""

import base64
import json
import shutil
import subprocess

import pytest
from cases import cases

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.lineage.signatures.dsse import PAYLOAD_TYPE, pae, read_envelope, seal, signers

pytest.importorskip("cryptography", reason="signatures need it")

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lightning_subliminal.lineage.signatures.keys import TrustedKey, key_id

STATEMENT = '{"_type": "https://in-toto.io/Statement/v1", "é": "?>?>"}\n'.encode() + bytes([62, 63, 255])
# RFC 8032, section 7.1, TEST 1 to 3: private key, public key, message, signature.
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe2"
        "4655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302ae"
        "eb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28"
        "dc027beceea1ec40a",
    ),
]


def key(place):
    return Ed25519PrivateKey.from_private_bytes(bytes([place]) * 32)


def trusted(*places):
    return [TrustedKey(f"key {place}", key(place).public_key()) for place in places]


def sealed(*places, payload=STATEMENT, payload_type=PAYLOAD_TYPE):
    made = None
    for place in places:
        made = seal(payload, key(place), payload_type, old=made)
    return made


def reported(envelope):
    return json.loads(envelope)


def who(envelope, *places):
    data = envelope if isinstance(envelope, bytes) else json.dumps(envelope).encode()
    return signers(read_envelope(data, "the envelope"), trusted(*places))


def test_the_protocols_own_vector():
    assert pae("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )
    assert pae("", b"") == b"DSSEv1 0  0 "
    assert pae("é", "é😀".encode()) == b"DSSEv1 2 \xc3\xa9 6 \xc3\xa9\xf0\x9f\x98\x80", "lengths are of bytes"


def test_no_two_pairs_of_type_and_payload_have_one_encoding():
    parts = ["", " ", "1", "1 ", " 1", "1 1", "a", "a 1 b", "0 ", "DSSEv1 1 a 1 b"]
    pairs = [(kind, body.encode()) for kind in parts for body in parts]
    assert len({pae(*pair) for pair in pairs}) == len(pairs)


@cases(("private", "public", "message", "signature"), RFC_8032)
def test_signatures_are_those_of_rfc_8032(private, public, message, signature):
    signer = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(private))
    raw = signer.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    assert raw.hex() == public
    assert signer.sign(bytes.fromhex(message)).hex() == signature
    trust = TrustedKey("rfc", Ed25519PublicKey.from_public_bytes(bytes.fromhex(public)))
    assert trust.verifies(bytes.fromhex(signature), bytes.fromhex(message))
    assert not trust.verifies(bytes.fromhex(signature), bytes.fromhex(message) + b"\0")
    assert not trust.verifies(bytes.fromhex(signature)[:-1] + b"\x0c", bytes.fromhex(message))
    for short in (b"", bytes(63), bytes(65)):
        assert not trust.verifies(short, bytes.fromhex(message))


def test_an_envelope_holds_the_bytes_their_type_and_who_signed():
    data = sealed(1)
    assert data == sealed(1), "a signature is the same each time"
    assert sorted(reported(data)) == ["payload", "payloadType", "signatures"]
    assert base64.b64decode(reported(data)["payload"]) == STATEMENT
    envelope = read_envelope(data, "it")
    assert (envelope.payload, envelope.payload_type) == (STATEMENT, "application/vnd.in-toto+json")
    assert who(data, 1) == ["key 1"]
    assert who(data, 2, 3) == []
    assert who(data) == []


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is the reference here")
def test_openssl_finds_the_signature_good(tmp_path):
    envelope = read_envelope(sealed(1), "it")
    (tmp_path / "key.pub").write_bytes(
        key(1).public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    )
    (tmp_path / "signature").write_bytes(envelope.signatures[0])
    words = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", "key.pub", "-rawin", "-in", "message"]
    for message, expected in ((pae(PAYLOAD_TYPE, STATEMENT), 0), (STATEMENT, 1)):
        (tmp_path / "message").write_bytes(message)
        run = subprocess.run([*words, "-sigfile", "signature"], cwd=tmp_path, capture_output=True, check=False)
        if b"nrecognized" in run.stderr or b"not supported" in run.stderr:
            pytest.skip("this openssl is too old to verify ed25519")
        assert run.returncode == expected, run.stderr


def test_several_sign_one_statement():
    data = sealed(1, 2, 3)
    assert who(data, 1, 2, 3) == ["key 1", "key 2", "key 3"]
    assert who(data, 3, 4) == ["key 3"]
    assert sealed(1, 2, 3, 2) != data, "the latest is the last"
    assert len(reported(sealed(1, 2, 1, 2))["signatures"]) == 2, "nobody is there twice"
    with pytest.raises(InputError, match="holds another statement: delete it, then sign"):
        seal(STATEMENT + b" ", key(2), old=data)


def test_a_bad_signature_beside_a_good_one_does_no_harm():
    envelope = reported(sealed(1, 2))
    envelope["signatures"][0]["sig"] = base64.b64encode(bytes(64)).decode()
    assert who(envelope, 1, 2) == ["key 2"]
    envelope["signatures"] = []
    assert who(envelope, 1, 2) == []


def test_a_key_id_gives_no_trust_and_takes_none():
    envelope = reported(sealed(1))
    assert envelope["signatures"][0]["keyid"] == key_id(key(1).public_key())
    for keyid in (key_id(key(2).public_key()), "", "x", None, 3):
        envelope["signatures"][0]["keyid"] = keyid
        assert who(envelope, 1, 2) == ["key 1"], keyid
    del envelope["signatures"][0]["keyid"]
    assert who(envelope, 1, 2) == ["key 1"], "it is optional"


def test_both_spellings_of_base64_are_taken():
    envelope = reported(sealed(1, payload=bytes([251, 255, 254]) * 20))
    assert set("+/") <= set(envelope["payload"])
    plain = json.dumps(envelope)
    for strip in (False, True):
        safe = [envelope["payload"], envelope["signatures"][0]["sig"]]
        safe = [each.replace("+", "-").replace("/", "_") for each in safe]
        safe = [each.rstrip("=") for each in safe] if strip else safe
        again = json.loads(plain) | {"payload": safe[0]}
        again["signatures"][0]["sig"] = safe[1]
        assert who(again, 1) == ["key 1"]


def test_unknown_fields_are_ignored():
    envelope = reported(sealed(1)) | {"x": 1}
    envelope["signatures"][0]["y"] = [2]
    assert who(envelope, 1) == ["key 1"]


def test_a_signature_over_the_payload_alone_is_none():
    envelope = reported(sealed(1))
    for message in (STATEMENT, base64.b64encode(STATEMENT), PAYLOAD_TYPE.encode() + STATEMENT):
        envelope["signatures"] = [{"sig": base64.b64encode(key(1).sign(message)).decode()}]
        assert who(envelope, 1) == []


def test_a_signature_as_one_type_is_none_as_another():
    envelope = reported(sealed(1, payload_type="text/plain"))
    assert who(envelope, 1) == ["key 1"]
    for other in (PAYLOAD_TYPE, "text/plain ", "TEXT/PLAIN", ""):
        assert who(envelope | {"payloadType": other}, 1) == []


def test_each_changed_byte_of_the_payload_is_seen():
    envelope = reported(sealed(1))
    for place in range(0, len(STATEMENT), 7):
        changed = bytearray(STATEMENT)
        changed[place] ^= 1
        assert who(envelope | {"payload": base64.b64encode(changed).decode()}, 1) == []


def without(name):
    envelope = reported(sealed(1))
    del envelope[name]
    return envelope


def with_signature(signature):
    return reported(sealed(1)) | {"signatures": [signature]}


@cases(
    ("envelope", "message"),
    [
        (without("payload"), "is not a DSSE envelope: expected payload, payloadType and signatures"),
        (without("payloadType"), "is not a DSSE envelope"),
        (without("signatures"), "is not a DSSE envelope"),
        (reported(sealed(1)) | {"payload": 3}, "is not a DSSE envelope"),
        (reported(sealed(1)) | {"payloadType": None}, "is not a DSSE envelope"),
        (reported(sealed(1)) | {"signatures": {}}, "is not a DSSE envelope"),
        (reported(sealed(1)) | {"payload": "a"}, "holds a text that is not base64"),
        (reported(sealed(1)) | {"payload": "?!*~"}, "holds a text that is not base64"),
        (reported(sealed(1)) | {"payload": "aa\naa"}, "holds a text that is not base64"),
        (reported(sealed(1)) | {"payload": "é"}, "holds a text that is not base64"),
        (with_signature({}), "has a signature without `sig`"),
        (with_signature("x"), "has a signature without `sig`"),
        (with_signature({"sig": None}), "has a signature without `sig`"),
        (with_signature({"sig": "*"}), "holds a text that is not base64"),
        (reported(sealed(1)) | {"signatures": [{"sig": ""}] * 65}, "has 65 signatures: expected at most 64"),
        ({"_type": "https://in-toto.io/Statement/v1", "subject": []}, "is not a DSSE envelope"),
    ],
)
def test_what_is_no_envelope_is_reported(envelope, message):
    with pytest.raises(InputError, match=f"^the envelope {message}") as caught:
        who(envelope, 1)
    assert "\n" not in str(caught.value)


@cases("data", [b"", b"[]", b'{"payload": "", "payload": "YQ=="}', b"\xff", b"{" * 1000])
def test_what_is_no_strict_json_is_reported(data):
    with pytest.raises(InputError, match=r"^the envelope "):
        read_envelope(data, "the envelope")


def test_a_type_that_can_not_be_encoded_is_reported():
    with pytest.raises(InputError, match=r"^the envelope "):
        who(reported(sealed(1)) | {"payloadType": "\ud800"}, 1)


def test_another_implementation_reads_ours_and_we_read_its(tmp_path):
    dsse = pytest.importorskip("securesystemslib.dsse", reason="the other implementation of DSSE")
    from securesystemslib.signer import CryptoSigner

    theirs = CryptoSigner(key(1))
    assert dsse.Envelope(STATEMENT, PAYLOAD_TYPE, {}).pae() == pae(PAYLOAD_TYPE, STATEMENT)
    made = dsse.Envelope(STATEMENT, PAYLOAD_TYPE, {})
    made.sign(theirs)
    assert who(made.to_dict(), 1, 2) == ["key 1"]
    ours = reported(sealed(1))
    ours["signatures"][0]["keyid"] = theirs.public_key.keyid  # that one trusts a keyid, the protocol does not
    dsse.Envelope.from_dict(ours).verify([theirs.public_key], 1)


def test_no_more_signatures_are_added_than_are_read():
    key = Ed25519PrivateKey.generate()
    old = json.loads(seal(b"{}", key))
    signature = old["signatures"][0]
    old["signatures"] = [signature | {"sig": base64.b64encode(bytes([each] * 64)).decode()} for each in range(64)]
    with pytest.raises(InputError, match="64 signatures already: delete it"):
        seal(b"{}", key, old=json.dumps(old).encode())
    old["signatures"].pop()
    assert len(reported(seal(b"{}", key, old=json.dumps(old).encode()))["signatures"]) == 64
