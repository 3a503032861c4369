import json

import pytest

from lightning_subliminal.core.errors import InputError

pytest.importorskip("cryptography", reason="signatures need it")

from lightning_subliminal.lineage import Material, is_whole, read_record, write_record, write_test_result
from lightning_subliminal.lineage.signatures.dsse import read_envelope, signers
from lightning_subliminal.lineage.signatures.keys import PASSPHRASE, make_key, trusted_keys
from lightning_subliminal.lineage.signatures.sign import SIGNING_KEY, own_key, sign_statement


@pytest.fixture(autouse=True)
def _no_key(monkeypatch):
    monkeypatch.delenv(SIGNING_KEY, raising=False)
    monkeypatch.delenv(PASSPHRASE, raising=False)


@pytest.fixture
def key(tmp_path):
    make_key(tmp_path / "alice")
    return tmp_path / "alice"


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "made"
    made.mkdir()
    (made / "a.txt").write_text("owl")
    return made


def signed_by(envelope, *keys):
    found = read_envelope(envelope.read_bytes(), str(envelope))
    return signers(found, trusted_keys([key.with_name(f"{key.name}.pub") for key in keys]))


def test_a_stage_signs_what_it_writes(folder, key, monkeypatch):
    monkeypatch.setenv(SIGNING_KEY, str(key))
    write_record(folder, "test", {"seed": 3})
    envelope = folder / "lineage.dsse.json"
    assert read_envelope(envelope.read_bytes(), "it").payload == (folder / "lineage.json").read_bytes()
    assert signed_by(envelope, key) == ["alice"]
    assert is_whole(folder)
    assert set(read_record(folder).files) == {"a.txt"}, "an envelope is no part of the artefact"
    before = envelope.read_bytes()
    write_record(folder, "test", {"seed": 3})
    assert envelope.read_bytes() == before, "the same stage, the same bytes"


def test_the_key_changes_nothing_in_the_statement(folder, key, monkeypatch):
    write_record(folder, "test", {"seed": 3})
    plain = (folder / "lineage.json").read_bytes()
    assert not (folder / "lineage.dsse.json").exists()
    monkeypatch.setenv(SIGNING_KEY, str(key))
    write_record(folder, "test", {"seed": 3})
    assert (folder / "lineage.json").read_bytes() == plain
    private = key.read_text().splitlines()[1]
    for path in folder.iterdir():
        assert private not in path.read_text()
        assert str(key) not in path.read_text()


def test_what_is_signed_is_not_what_is_written_later(folder, key, monkeypatch):
    monkeypatch.setenv(SIGNING_KEY, str(key))
    write_record(folder, "test", {"seed": 3})
    monkeypatch.delenv(SIGNING_KEY)
    (folder / "a.txt").write_text("another owl")
    write_record(folder, "test", {"seed": 3})
    assert not (folder / "lineage.dsse.json").exists(), "it would vouch for what is not there"
    assert is_whole(folder)


def test_results_of_tests_are_signed_too(folder, key, monkeypatch):
    monkeypatch.setenv(SIGNING_KEY, str(key))
    write_test_result(folder, "student", Material("student", "x", {"dirHash": "ab" * 32}), {"owl": (0.0, 0.01)})
    statement = folder / "test-results" / "student.json"
    envelope = folder / "test-results" / "student.dsse.json"
    assert read_envelope(envelope.read_bytes(), "it").payload == statement.read_bytes()
    assert signed_by(envelope, key) == ["alice"]


def test_others_sign_what_is_there(folder, key, tmp_path):
    make_key(tmp_path / "bob")
    write_record(folder, "test", {"seed": 3})
    raw, envelope = (folder / "lineage.json").read_bytes(), folder / "lineage.dsse.json"
    assert not sign_statement(raw, envelope), "nobody is named"
    assert not envelope.exists()
    assert sign_statement(raw, envelope, key)
    assert sign_statement(raw, envelope, tmp_path / "bob")
    assert signed_by(envelope, key, tmp_path / "bob") == ["alice", "bob"]
    before = envelope.read_bytes()
    with pytest.raises(InputError, match="holds another statement: delete it, then sign"):
        sign_statement(raw + b" ", envelope, key)
    assert envelope.read_bytes() == before
    assert not [path for path in folder.iterdir() if path.name.startswith(".")], "no half file"


def test_the_key_that_is_given_is_taken_before_that_of_the_environment(folder, key, tmp_path, monkeypatch):
    make_key(tmp_path / "bob")
    write_record(folder, "test", {})
    monkeypatch.setenv(SIGNING_KEY, str(key))
    envelope = folder / "lineage.dsse.json"
    assert sign_statement((folder / "lineage.json").read_bytes(), envelope, tmp_path / "bob")
    assert signed_by(envelope, key, tmp_path / "bob") == ["bob"]


def test_a_damaged_envelope_is_not_written_over(folder, key):
    write_record(folder, "test", {})
    (folder / "lineage.dsse.json").write_text("{")
    with pytest.raises(InputError, match="is not strict JSON"):
        sign_statement((folder / "lineage.json").read_bytes(), folder / "lineage.dsse.json", key)
    assert (folder / "lineage.dsse.json").read_text() == "{"


def test_a_key_that_can_not_be_used_is_reported_before_the_work(key, tmp_path, monkeypatch):
    own_key()  # none is named
    monkeypatch.setenv(SIGNING_KEY, "")
    own_key()
    monkeypatch.setenv(SIGNING_KEY, str(key))
    own_key()
    key.chmod(0o644)
    with pytest.raises(InputError, match="chmod 600"):
        own_key()
    monkeypatch.setenv(SIGNING_KEY, str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="can't be read"):
        own_key()
    monkeypatch.setenv(SIGNING_KEY, str(tmp_path / "alice.pub"))
    (tmp_path / "alice.pub").chmod(0o600)
    with pytest.raises(InputError, match="is not a private key"):
        own_key()


def test_the_command_line_tells_it_first(key, monkeypatch, capsys):
    from lightning_subliminal.cli.entry import main

    monkeypatch.setenv(SIGNING_KEY, str(key) + ".lost")
    with pytest.raises(SystemExit) as ended:
        main(["data", "stats", "nowhere.jsonl"])
    assert ended.value.code == 2
    reported = capsys.readouterr().err.replace("\n", " ")
    assert "alice.lost can't be read" in reported
    assert "nowhere.jsonl" not in reported


def test_the_key_that_is_named_can_still_be_made(tmp_path, monkeypatch, capsys):
    from lightning_subliminal.cli.entry import main

    monkeypatch.setenv(SIGNING_KEY, str(tmp_path / "new"))
    main(["lineage", "keygen", str(tmp_path / "new")])
    assert (tmp_path / "new.pub").is_file()
    own_key()
    capsys.readouterr()


def test_the_envelope_is_json_that_a_person_reads(folder, key, monkeypatch):
    monkeypatch.setenv(SIGNING_KEY, str(key))
    write_record(folder, "test", {})
    text = (folder / "lineage.dsse.json").read_text()
    assert text.endswith("\n")
    assert len(text.splitlines()) > 5
    assert json.loads(text)["payloadType"] == "application/vnd.in-toto+json"
