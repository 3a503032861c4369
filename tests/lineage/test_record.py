import json

import pytest

from lightning_subliminal import Sampling
from lightning_subliminal.describe import describe, file_digest
from lightning_subliminal.errors import InputError
from lightning_subliminal.lineage import is_whole, write_record
from lightning_subliminal.lineage.record import RECORD, read_record


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "made"
    (made / "deep").mkdir(parents=True)
    (made / "a.txt").write_text("owl")
    (made / "deep" / "b.bin").write_bytes(bytes(10))
    (made / ".hidden").write_text("a probe")
    write_record(made, "test", {"sampling": Sampling(), "seed": 3})
    return made


def test_it_tells_what_the_artefact_is_and_what_it_was_made_from(folder):
    record = read_record(folder)
    assert record["kind"] == "test"
    assert record["made_from"] == {"sampling": describe(Sampling()), "seed": 3}
    assert record["files"] == {
        "a.txt": file_digest(folder / "a.txt"),
        "deep/b.bin": file_digest(folder / "deep" / "b.bin"),
    }
    assert {"torch", "lightning", "transformers"} <= set(record["versions"])
    assert all(record["versions"].values())


def test_the_same_artefact_has_the_same_record(folder):
    before = (folder / RECORD).read_bytes()
    write_record(folder, "test", {"seed": 3, "sampling": Sampling()})
    assert (folder / RECORD).read_bytes() == before
    assert "time" not in read_record(folder)


def test_a_folder_is_whole_when_its_record_holds(folder, tmp_path):
    assert is_whole(folder)
    assert not is_whole(tmp_path), "a killed run has no record"
    assert not is_whole(tmp_path / "nowhere")
    (folder / "added.txt").write_text("a file beside does no harm")
    assert is_whole(folder)


def test_a_changed_file_is_told_by_name(folder):
    (folder / "deep" / "b.bin").write_bytes(bytes(9) + b"\1")
    with pytest.raises(InputError, match=r"b\.bin was changed after it was made: delete .*made,") as caught:
        is_whole(folder)
    assert "\n" not in str(caught.value)


def test_a_lost_file_is_told_by_name(folder):
    (folder / "a.txt").unlink()
    with pytest.raises(InputError, match=r"a\.txt was lost after it was made"):
        is_whole(folder)


@pytest.mark.parametrize("text", [b"{", b"\xff\xfe", b"", b"[]", b'"x"', b'{"files": 3}'])
def test_a_damaged_record_is_told(folder, text):
    (folder / RECORD).write_bytes(text)
    with pytest.raises(InputError, match=r"lineage\.json is damaged: delete the folder"):
        is_whole(folder)


def test_a_record_is_written_whole_or_not_at_all(folder, monkeypatch):
    before = (folder / RECORD).read_bytes()
    monkeypatch.setattr("os.replace", lambda *names: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_record(folder, "test", {})
    assert (folder / RECORD).read_bytes() == before
    assert not [path for path in folder.iterdir() if path.name.startswith(f".{RECORD}")]


def test_it_is_json_that_a_person_reads(folder):
    lines = (folder / RECORD).read_text().splitlines()
    assert len(lines) > 5
    assert list(json.loads((folder / RECORD).read_text())) == ["files", "kind", "made_from", "versions"]
