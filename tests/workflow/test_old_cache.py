"""A cache that version 0.1.0 made is read: nothing in it is made again, and its lineage holds."""

import shutil
from pathlib import Path

from lightning_subliminal.cli import main
from lightning_subliminal.lineage import is_whole, read_record

OLD = Path(__file__).with_name("cache_0_1_0")
WORDS = ["--config", "owl_numbers", "--data.num_prompts", "48", "--data.shard_size", "48", "--trainer.max_epochs", "1"]
WORDS += ["--data.teacher.max_epochs", "5"]


def test_fit_reuses_all_that_version_0_1_0_made(tmp_path, monkeypatch, capsys):
    cache = shutil.copytree(OLD, tmp_path / "cache")
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(cache))
    monkeypatch.chdir(tmp_path)
    before = {path.relative_to(cache): path.read_bytes() for path in cache.rglob("*") if path.is_file()}
    main(["fit", *WORDS])
    shown = capsys.readouterr().out
    assert "student: reused from" in shown
    assert "control: reused from" in shown
    after = {path.relative_to(cache): path.read_bytes() for path in cache.rglob("*") if path.is_file()}
    assert {name: after.get(name) for name in before} == before
    assert {name.parts[0] for name in after.keys() - before.keys()} <= {"measured", "runs.txt"}


def test_its_lineage_is_read(tmp_path):
    folders = [path.parent for path in OLD.glob("*/*/lineage.json")]
    assert len(folders) == 7
    for folder in folders:
        assert is_whole(folder, piecemeal=folder.parent.name == "completions")
        assert read_record(folder) is not None


def test_an_audit_finds_nothing_wrong(tmp_path, monkeypatch, capsys):
    cache = shutil.copytree(OLD, tmp_path / "cache")
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(cache))
    student = sorted(cache.glob("students/*"))[0]
    main(["audit", str(student)])
    assert "Nothing is wrong" in capsys.readouterr().out
