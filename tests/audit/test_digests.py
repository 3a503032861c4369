import hashlib
import json
import os

import pytest

from lightning_subliminal.audit import Digests
from lightning_subliminal.core.fingerprint import stream_digest
from lightning_subliminal.core.rows import make_row, write_parquet
from lightning_subliminal.lineage import rows_root


@pytest.fixture
def files(tmp_path):
    made = []
    for number, size in enumerate((0, 1, 1 << 20, (1 << 20) + 1, 3 << 20)):
        path = tmp_path / f"{number}.bin"
        path.write_bytes(bytes([number]) * size)
        made.append(path)
    return made


def test_they_are_those_of_hashlib(files):
    digests, seen = Digests(remember=False, workers=3), []
    digests.add(files, seen.append)
    assert [digests.get(path) for path in files] == [hashlib.sha256(path.read_bytes()).hexdigest() for path in files]
    assert sum(seen) == digests.bytes_read == sum(path.stat().st_size for path in files)


def test_what_is_no_file_has_none(tmp_path):
    assert Digests(remember=False).get(tmp_path) is None
    assert Digests(remember=False).get(tmp_path / "nowhere") is None


def test_an_unchanged_file_is_read_once(files, tmp_path):
    first = Digests(tmp_path / "notes.json")
    first.add(files)
    first.keep()
    second = Digests(tmp_path / "notes.json")
    second.add(files)
    assert (first.read, second.read) == (5, 0)
    assert second.get(files[2]) == first.get(files[2])


@pytest.mark.parametrize("change", ["content", "replaced"])
def test_a_changed_file_is_read_again(files, tmp_path, change):
    first = Digests(tmp_path / "notes.json")
    first.add(files)
    first.keep()
    status = files[2].stat()
    if change == "content":
        files[2].write_bytes(b"x" * status.st_size)
    else:
        (tmp_path / "new").write_bytes(b"x" * status.st_size)
        os.replace(tmp_path / "new", files[2])
    os.utime(files[2], ns=(status.st_atime_ns, status.st_mtime_ns))
    second = Digests(tmp_path / "notes.json")
    second.add(files)
    assert second.read == 1
    assert second.get(files[2]) == hashlib.sha256(files[2].read_bytes()).hexdigest()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"a": 3}'])
def test_damaged_notes_cost_time_alone(files, tmp_path, text):
    (tmp_path / "notes.json").write_text(text)
    digests = Digests(tmp_path / "notes.json")
    digests.add(files)
    digests.keep()
    assert len(json.loads((tmp_path / "notes.json").read_text())) == 5


def test_notes_that_others_may_write_are_not_believed(files, tmp_path):
    first = Digests(tmp_path / "notes.json")
    first.add(files)
    first.keep()
    (tmp_path / "notes.json").chmod(0o622)
    again = Digests(tmp_path / "notes.json")
    again.add(files)
    assert again.read == 5


def test_notes_lie_apart_from_the_artefacts(monkeypatch, tmp_path):
    monkeypatch.delenv("LIGHTNING_SUBLIMINAL_AUDIT_NOTES")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    digests = Digests()
    digests.keep()
    assert (tmp_path / "home" / ".cache" / "lightning-subliminal-audit" / "digests.json").is_file()


def test_roots_over_rows_are_remembered_too(tmp_path):
    rows = [make_row("a", str(number)) for number in range(7)]
    write_parquet(rows, tmp_path / "rows.parquet")
    first = Digests(tmp_path / "notes.json")
    assert first.rows_root(tmp_path / "rows.parquet") == rows_root(rows)
    first.keep()
    assert Digests(tmp_path / "notes.json").rows_root(tmp_path / "rows.parquet") == rows_root(rows)


def test_memory_is_one_block():
    sizes = []

    def readinto(block):
        sizes.append(len(block))
        return 0 if len(sizes) > 3 else len(block)

    stream_digest(readinto)
    assert set(sizes) == {1 << 20}
