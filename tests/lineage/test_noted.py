"""Notes of unfinished work: what a kill leaves is known, what somebody else left is not."""

import json
import os
import shutil

import pytest
from cases import cases

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.lineage.signatures.keys import make_key
from lightning_subliminal.lineage.signatures.sign import SIGNING_KEY
from lightning_subliminal.lineage.work_digests import check_noted, is_signed, lacks_note, note_of, noted, write_noted

MEND = "Delete it."


@pytest.fixture(autouse=True)
def _no_key(monkeypatch):
    monkeypatch.delenv(SIGNING_KEY, raising=False)


def first(folder):
    made = folder / "run" / "last.ckpt"
    put(made, "first")
    return made


@pytest.fixture
def path(tmp_path):
    return first(tmp_path)


def put(path, text):
    write_noted(path, lambda temporary: temporary.write_text(text))


def sign(monkeypatch, tmp_path, name):
    pytest.importorskip("cryptography", reason="signatures need it")
    if not (tmp_path / name).exists():
        make_key(tmp_path / name)
    monkeypatch.setenv(SIGNING_KEY, str(tmp_path / name))


def test_what_was_written_is_known(path):
    check_noted(path, MEND)
    put(path, "second")
    check_noted(path, MEND)
    assert path.read_text() == "second"
    assert sorted(each.name for each in path.parent.iterdir()) == [".last.ckpt.noted", "last.ckpt"]


@cases("times", [1, 2, 5])
def test_a_kill_between_the_note_and_its_file_is_survived(times, tmp_path, monkeypatch):
    path = first(tmp_path)
    replace = os.replace

    def killed(source, target):
        if target == path:
            raise KeyboardInterrupt
        replace(source, target)

    for each in range(times):
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", killed)
            with pytest.raises(KeyboardInterrupt):
                put(path, f"lost {each}")
    assert path.read_text() == "first"
    check_noted(path, MEND)
    put(path, "second")
    check_noted(path, MEND)


@cases("harm", ["changed", "cut", "empty"])
def test_a_changed_file_is_refused_with_both_digests(harm, tmp_path):
    path = first(tmp_path)
    path.write_bytes({"changed": b"Tirst", "cut": b"firs", "empty": b""}[harm])
    digests = r"\(SHA-256 [0-9a-f]{12}\.\.\. then, [0-9a-f]{12}\.\.\. now\)"
    with pytest.raises(InputError, match=rf"last\.ckpt was changed .*{digests}\. Delete it\."):
        check_noted(path, MEND)


@cases(
    "note",
    [
        None,
        b"",
        b"{",
        b"[]",
        b"\xff",
        b'{"for": "run/last.ckpt"}',
        b'{"for": "run/last.ckpt", "sha256": "a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e"}',
        b'{"for": "other/last.ckpt", "sha256": ["a7937b64b8caa58f03721bb6bacf5c78cb235febe0e70b1b84cd99541461a08e"]}',
        b'{"payload": 1}',
        b" " * 70_000,
    ],
)
def test_no_note_is_none(note, tmp_path):
    path = first(tmp_path)
    note_of(path).unlink()
    if note is not None:
        note_of(path).write_bytes(note)
    assert noted(path) is None
    with pytest.raises(InputError, match="is not trusted: it has no note of its digest") as caught:
        check_noted(path, MEND)
    assert "\n" not in str(caught.value)


def test_a_note_is_about_one_file_in_one_folder(path, tmp_path):
    elsewhere = tmp_path / "elsewhere" / "last.ckpt"
    elsewhere.parent.mkdir()
    beside = path.with_name("other.ckpt")
    for each in (elsewhere, beside):
        shutil.copy(path, each)
        shutil.copy(note_of(path), note_of(each))
        assert noted(each) is None
    path.parent.rename(tmp_path / "moved")
    (tmp_path / "more" / "deep").mkdir(parents=True)
    (tmp_path / "moved").rename(tmp_path / "more" / "deep" / "run")
    check_noted(tmp_path / "more" / "deep" / "run" / "last.ckpt", MEND)


def test_with_a_key_only_its_notes_are_believed(path, tmp_path, monkeypatch):
    sign(monkeypatch, tmp_path, "mine")
    with pytest.raises(InputError, match=f"its note is not signed by the key of {SIGNING_KEY}"):
        check_noted(path, MEND)
    put(path, "signed")
    check_noted(path, MEND)
    assert len(noted(path)) == 1, "what was noted without a key is not carried on"
    sign(monkeypatch, tmp_path, "other")
    assert noted(path) is None
    assert "not signed by" in lacks_note(path)
    monkeypatch.delenv(SIGNING_KEY)
    check_noted(path, MEND)  # without a key, any note guards against accidents


def test_a_signed_note_can_be_neither_changed_nor_moved(path, tmp_path, monkeypatch):
    sign(monkeypatch, tmp_path, "mine")
    put(path, "signed")
    put(tmp_path / "other" / "last.ckpt", "of another run")
    ours = note_of(path).read_bytes()
    note_of(path).write_bytes(note_of(tmp_path / "other" / "last.ckpt").read_bytes())
    assert noted(path) is None
    reported = json.loads(ours)
    reported["payload"] = json.loads(note_of(tmp_path / "other" / "last.ckpt").read_bytes())["payload"]
    note_of(path).write_text(json.dumps(reported))
    assert noted(path) is None
    note_of(path).write_bytes(ours.replace(b"noted+json", b"in-toto+json"))
    assert noted(path) is None
    note_of(path).write_bytes(ours)
    check_noted(path, MEND)


def test_a_key_that_cannot_be_used_is_reported_and_no_note_is_blamed(path, tmp_path, monkeypatch):
    pytest.importorskip("cryptography", reason="signatures need it")
    monkeypatch.setenv(SIGNING_KEY, str(tmp_path / "missing"))
    with pytest.raises(InputError, match=r"The key .*missing can't be read"):
        noted(path)


def test_a_statement_of_others_is_not_our_own(tmp_path, monkeypatch):
    from lightning_subliminal.lineage.signatures.dsse import seal
    from lightning_subliminal.lineage.signatures.keys import private_key

    envelope = tmp_path / "lineage.dsse.json"
    assert is_signed(b"{}", envelope), "without a key, nothing has to be"
    sign(monkeypatch, tmp_path, "mine")
    assert not is_signed(b"{}", envelope)
    envelope.write_bytes(seal(b"{}", private_key(tmp_path / "mine")))
    assert is_signed(b"{}", envelope)
    assert not is_signed(b'{"a": 1}', envelope)
    sign(monkeypatch, tmp_path, "other")
    assert not is_signed(b"{}", envelope)
