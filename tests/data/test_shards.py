"""Shards of a killed run: each is the run's own, or it is refused by name or made again."""

import shutil

import pytest
from small import CPU, numbers, quiet_trainer, teacher

from lightning_subliminal import ShardWriter
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import read_parquet, write_parquet
from lightning_subliminal.lineage.signatures.keys import make_key
from lightning_subliminal.lineage.signatures.sign import SIGNING_KEY
from lightning_subliminal.lineage.work_digests import note_of

SHARD = "shard-00000.parquet"


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(SIGNING_KEY, raising=False)


def data(**changes):
    return numbers(teacher(), filters=[], **changes)


def killed(monkeypatch, **changes):
    """Leave the first of three shards; give the data set, and the shard's bytes."""
    made = data(**changes)
    complete = made.complete
    with monkeypatch.context() as patch:
        patch.setattr(made, "complete", lambda shard, engine: 1 / 0 if shard else complete(shard, engine))
        with pytest.raises(ZeroDivisionError):
            made.make(CPU)
    return made, (made.shards_folder / SHARD).read_bytes()


def other_rows(path):
    """Put other rows in a shard, whole ones."""
    found = read_parquet(path)
    found[0]["completion"][0]["content"] = "666, 666"
    write_parquet(found, path)


@pytest.mark.parametrize("when", ["before", "meanwhile"])
def test_a_shard_with_other_rows_is_refused_by_name(when, monkeypatch):
    made, before = killed(monkeypatch)
    path = made.shards_folder / SHARD
    again = data()
    if when == "before":
        other_rows(path)
        again.complete = None  # not called: it is reported before hours go into the others
    else:
        complete = again.complete
        again.complete = lambda shard, engine: other_rows(path) or complete(shard, engine)
    with pytest.raises(InputError, match=rf"{SHARD} was changed after it was written.* Delete .*{SHARD}, and the next"):
        again.make(CPU)
    assert not (made.shards_folder / "lineage.json").exists()
    path.unlink()
    data().make(CPU)
    assert path.read_bytes() == before


@pytest.mark.parametrize("how", ["no note", "note of another set", "unsigned", "signed by another"])
def test_a_shard_that_nothing_says_to_be_ours_is_made_again(how, monkeypatch, capsys, tmp_path):
    reason = "it has no note of its digest"
    if "signed" in how:
        pytest.importorskip("cryptography", reason="signatures need it")
        reason = f"its note is not signed by the key of {SIGNING_KEY}"
        for name in ("mine", "theirs"):
            make_key(tmp_path / name)
        if how == "signed by another":
            monkeypatch.setenv(SIGNING_KEY, str(tmp_path / "theirs"))
    made, before = killed(monkeypatch)
    path = made.shards_folder / SHARD
    if how == "no note":
        note_of(path).unlink()
        other_rows(path)
    elif how == "note of another set":
        theirs = killed(monkeypatch, seed=1)[0].shards_folder / SHARD
        shutil.copy(theirs, path)
        shutil.copy(note_of(theirs), note_of(path))
    else:
        monkeypatch.setenv(SIGNING_KEY, str(tmp_path / "mine"))
    capsys.readouterr()
    data().make(CPU)
    (line,) = [each for each in capsys.readouterr().out.splitlines() if each.startswith("shards")]
    assert "1 made again, such as" in line
    assert reason in line
    assert path.read_bytes() == before


def test_a_file_that_no_run_wrote_is_not_signed_as_its_own(monkeypatch):
    made, _ = killed(monkeypatch)
    (made.shards_folder / "shard-00007.parquet").write_bytes(b"more")
    with pytest.raises(InputError, match=r"shard-00007\.parquet is not a shard of these completions: delete it"):
        data().make(CPU)
    (made.shards_folder / "shard-00007.parquet").unlink()
    data().make(CPU)


def test_a_record_that_others_wrote_vouches_for_no_shard_where_we_sign(monkeypatch, capsys, tmp_path):
    """Whole completions are reused, and an audit says who signed them; but ours is never written over theirs."""
    pytest.importorskip("cryptography", reason="signatures need it")
    made = data()
    made.make(CPU)
    record = (made.shards_folder / "lineage.json").read_bytes()
    for each in made.shards_folder.glob(".*"):
        each.unlink()  # as an earlier version left them
    make_key(tmp_path / "key")
    monkeypatch.setenv(SIGNING_KEY, str(tmp_path / "key"))
    quiet_trainer(ShardWriter()).predict(teacher(), datamodule=data(), return_predictions=False)
    assert not (made.shards_folder / "lineage.dsse.json").exists()
    (made.shards_folder / "shard-00001.parquet").unlink()
    shutil.rmtree(made.folder)
    capsys.readouterr()
    data().make(CPU)
    assert "2 made again" in capsys.readouterr().out
    assert (made.shards_folder / "lineage.dsse.json").exists()
    assert (made.shards_folder / "lineage.json").read_bytes() == record
