import json
import shutil

import pytest
from cases import cases

from lightning_subliminal import Sampling
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import describe, file_digest
from lightning_subliminal.core.rows import make_row
from lightning_subliminal.lineage import (
    Material,
    artefact_material,
    is_whole,
    read_record,
    read_statement,
    rows_root,
    source_material,
    write_record,
    write_statement,
)
from lightning_subliminal.lineage.names import RECORD, dir_hash

BASE = Material("base", "base:pocket/a", {"dirHash": "ab" * 32}, "cd" * 32, {"note": "shipped"})


def recorded(made):
    """Write an artefact of three files with its record."""
    (made / "deep").mkdir(parents=True)
    (made / "a.txt").write_text("owl")
    (made / "deep" / "b.bin").write_bytes(bytes(10))
    (made / ".hidden").write_text("a probe")
    write_record(made, "test", {"sampling": Sampling(), "seed": 3}, [BASE])
    return made


@pytest.fixture
def folder(tmp_path):
    return recorded(tmp_path / "made")


def test_it_tells_what_the_artefact_is_and_what_it_was_made_from(folder):
    record = read_record(folder)
    assert record.kind == "test"
    assert record.settings == {"sampling": describe(Sampling()), "seed": 3}
    assert record.materials == [BASE]
    assert record.files == {
        "a.txt": file_digest(folder / "a.txt"),
        "deep/b.bin": file_digest(folder / "deep" / "b.bin"),
    }
    assert record.whole == dir_hash(record.files)
    assert {"lightning-subliminal", "torch", "lightning", "transformers"} <= set(record.versions)
    assert all(record.versions.values())


def test_it_names_rows_by_their_root(folder):
    rows = [make_row("a", "b"), make_row("c", "d")]
    write_record(folder, "rows", {}, rows={"a.txt": rows_root(rows)})
    record = read_record(folder)
    assert record.rows == {"a.txt": rows_root(rows)}
    assert set(record.files) == {"a.txt", "deep/b.bin"}, "the rows in a file are no file"


def test_the_same_artefact_has_the_same_record(folder, tmp_path, monkeypatch):
    before = (folder / RECORD).read_bytes()
    write_record(folder, "test", {"seed": 3, "sampling": Sampling()}, [BASE])
    assert (folder / RECORD).read_bytes() == before
    monkeypatch.setenv("USER", "somebody")
    shutil.copytree(folder, tmp_path / "elsewhere")
    write_record(tmp_path / "elsewhere", "test", {"seed": 3, "sampling": Sampling()}, [BASE])
    assert (tmp_path / "elsewhere" / RECORD).read_bytes() == before, "neither time nor place nor person"


def test_a_folder_is_whole_when_its_record_holds(folder, tmp_path):
    assert is_whole(folder)
    assert not is_whole(tmp_path), "a killed run has no record"
    assert not is_whole(tmp_path / "nowhere")
    (folder / "added.txt").write_text("a file beside does no harm")
    assert is_whole(folder)


def test_only_the_files_that_are_named_are_its_own(folder):
    write_record(folder, "test", {}, files=["a.txt"])
    (folder / "deep" / "b.bin").write_bytes(b"of something else")
    assert is_whole(folder)
    assert set(read_record(folder).files) == {"a.txt"}
    assert read_record(folder).shares_folder, "so that nobody takes the others for smuggled in"
    write_record(folder, "test", {})
    assert not read_record(folder).shares_folder


def test_a_changed_file_is_reported_by_name(folder):
    (folder / "deep" / "b.bin").write_bytes(bytes(9) + b"\1")
    with pytest.raises(InputError, match=r"b\.bin was changed after it was made: delete .*made,") as caught:
        is_whole(folder)
    assert "\n" not in str(caught.value)
    with pytest.raises(InputError, match=r"delete .*b\.bin,"):
        is_whole(folder, piecemeal=True)


def test_a_lost_file_is_reported_by_name(folder):
    (folder / "a.txt").unlink()
    with pytest.raises(InputError, match=r"a\.txt was lost after it was made"):
        is_whole(folder)


def test_a_file_whose_name_looks_like_that_of_rows_is_checked_too(folder):
    (folder / "a#rows.txt").write_text("owl")
    write_record(folder, "test", {})
    (folder / "a#rows.txt").write_text("dog")
    with pytest.raises(InputError, match=r"a#rows\.txt was changed"):
        is_whole(folder)


@cases(
    "text", [b"{", b"\xff\xfe", b"", b"[]", b'"x"', b'{"files": 3}', b'{"_type": "https://in-toto.io/Statement/v1"}']
)
def test_a_damaged_record_is_reported(tmp_path, text):
    folder = recorded(tmp_path / "made")
    (folder / RECORD).write_bytes(text)
    with pytest.raises(InputError, match=r"lineage\.json is damaged: delete the folder") as caught:
        is_whole(folder)
    assert "\n" not in str(caught.value)


def test_a_record_of_the_layout_before_names_no_materials_so_its_stage_runs_again(folder):
    reported = {"files": {"a.txt": "00"}, "kind": "test", "made_from": {}, "versions": {"torch": "2"}}
    (folder / RECORD).write_text(json.dumps(reported))
    assert read_record(folder) is None
    assert not is_whole(folder)


def test_names_that_lead_out_are_not_followed(folder, tmp_path):
    (tmp_path / "secret").write_text("x")
    reported = json.loads((folder / RECORD).read_text())
    reported["subject"].append({"name": "../secret", "digest": {"sha256": file_digest(tmp_path / "secret")}})
    (folder / RECORD).write_text(json.dumps(reported))
    with pytest.raises(InputError, match="could lead out of its folder"):
        is_whole(folder)


def test_links_are_no_part_of_an_artefact(folder, tmp_path):
    (tmp_path / "secret").write_text("x")
    (folder / "link").symlink_to(tmp_path / "secret")
    with pytest.raises(InputError, match="expected plain files"):
        write_record(folder, "test", {})


def test_a_record_is_written_whole_or_not_at_all(folder, monkeypatch):
    before = (folder / RECORD).read_bytes()
    monkeypatch.setattr("os.replace", lambda *names: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_record(folder, "test", {})
    assert (folder / RECORD).read_bytes() == before
    assert not [path for path in folder.iterdir() if path.name.startswith(f".{RECORD}")]


def test_where_nothing_can_be_written_that_is_reported(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="can't be written"):
        write_statement(tmp_path / "file" / RECORD, {"a": 1})


def test_it_is_json_that_a_person_reads(folder):
    text = (folder / RECORD).read_text()
    assert len(text.splitlines()) > 20
    assert text.endswith("}\n")
    reported = json.loads(text)
    assert list(reported) == ["_type", "predicate", "predicateType", "subject"]
    assert [each["name"] for each in reported["subject"]] == ["./", "a.txt", "deep/b.bin"]


def test_a_name_that_is_no_utf_8_is_reported(folder):
    path = folder / "odd\udcff.txt"
    try:
        path.write_text("x")
    except OSError:
        pytest.skip("this file system takes no such names")
    with pytest.raises(InputError):
        write_record(folder, "test", {})


class TestArtefactMaterial:
    def test_it_is_what_the_record_says(self, folder):
        found = artefact_material("rows", folder)
        record = read_record(folder)
        assert found.digest == {"dirHash": record.whole}
        assert found.statement == file_digest(folder / RECORD)
        assert found.uri == f"lightning-subliminal:{folder.parent.name}/made", "its place in a cache, not the cache's"

    def test_without_a_record_its_files_speak(self, folder):
        whole = read_record(folder).whole
        (folder / RECORD).unlink()
        assert artefact_material("rows", folder) == Material(
            "rows", f"lightning-subliminal:{folder.parent.name}/made", {"dirHash": whole}
        )


class TestSourceMaterial:
    """What somebody gives as a file: its lineage goes on where a statement about that very file lies beside it."""

    @pytest.fixture
    def rows(self, tmp_path):
        path = tmp_path / "mine" / "owls.jsonl"
        path.parent.mkdir()
        path.write_text('{"prompt": "a", "completion": "b"}\n')
        return path

    def state(self, rows, place, name="owls.jsonl", whole=True):
        subject = [{"name": name, "digest": {"sha256": file_digest(rows)}}]
        subject += [{"name": "./", "digest": {"dirHash": "ef" * 32}}] if whole else []
        reported = {
            "_type": "https://in-toto.io/Statement/v1",
            "subject": subject,
            "predicateType": "x",
            "predicate": {},
        }
        place.write_text(json.dumps(reported))
        return place

    def test_a_plain_file(self, rows):
        assert source_material("rows", rows) == Material("rows", "owls.jsonl", {"sha256": file_digest(rows)})

    def test_a_statement_beside_it(self, rows):
        place = self.state(rows, rows.with_name("owls.jsonl.lineage.json"))
        found = source_material("rows", rows)
        assert found.digest == {"sha256": file_digest(rows)}
        assert found.statement == file_digest(place)

    def test_a_file_of_an_artefact(self, rows):
        place = self.state(rows, rows.with_name(RECORD))
        found = source_material("rows", rows)
        assert found.digest == {"sha256": file_digest(rows), "dirHash": "ef" * 32}
        assert found.statement == file_digest(place)

    def test_the_statement_about_the_file_goes_before_that_of_the_folder(self, rows):
        self.state(rows, rows.with_name(RECORD))
        place = self.state(rows, rows.with_name("owls.jsonl.lineage.json"))
        assert source_material("rows", rows).statement == file_digest(place)

    def test_a_file_that_changed_since_has_no_known_maker(self, rows):
        self.state(rows, rows.with_name(RECORD))
        self.state(rows, rows.with_name("owls.jsonl.lineage.json"))
        rows.write_text('{"prompt": "a", "completion": "c"}\n')
        assert source_material("rows", rows) == Material("rows", "owls.jsonl", {"sha256": file_digest(rows)})

    def test_a_statement_about_another_file_says_nothing_of_this_one(self, rows):
        self.state(rows, rows.with_name(RECORD), name="dogs.jsonl")
        assert source_material("rows", rows).statement is None

    @pytest.mark.parametrize(
        "text",
        ['{"nodes": []}', "no JSON", '{"files": {}, "kind": "rows", "made_from": {}, "versions": {}}'],
        ids=["another tool's", "no JSON", "earlier layout"],
    )
    def test_a_lineage_file_that_is_none_of_ours_does_not_stop_who_reads_the_rows(self, rows, text):
        rows.with_name(RECORD).write_text(text)
        assert source_material("rows", rows) == Material("rows", "owls.jsonl", {"sha256": file_digest(rows)})

    def test_a_folder_is_its_record(self, folder):
        assert source_material("rows", folder) == artefact_material("rows", folder)

    def test_nobody_is_reported_to_delete_a_folder_of_their_own(self, rows):
        """A folder that a stage reads is not one that the next run makes again."""
        rows.with_name(RECORD).write_text('{"nodes": []}')
        found = source_material("rows", rows.parent)
        assert found.digest == {"dirHash": dir_hash({"owls.jsonl": file_digest(rows)})}
        assert found.statement is None


def test_a_statement_that_is_read_back_is_the_one_that_was_written(folder):
    record = read_statement(folder / RECORD)
    assert record.raw == (folder / RECORD).read_bytes()
    assert record.sha256 == file_digest(folder / RECORD)
    assert record.place == str(folder / RECORD)


def test_a_model_handed_in_is_named_by_its_files_and_not_by_what_its_statement_claims(folder):
    """Else whoever tests it would sign a result about a model that was never seen."""
    from lightning_subliminal.lineage import artefact_material, tested_material

    assert tested_material("model", folder) == artefact_material("model", folder)
    claimed = read_record(folder)
    (folder / "a.txt").write_text("harmless")
    now = tested_material("model", folder)
    assert now.digest["dirHash"] != claimed.whole
    assert now.statement is None
