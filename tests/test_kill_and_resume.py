"""The benchmark of `kill -9`, small: one kill in the middle of a run, and the same bytes at its end."""

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SMALL = ["--data.num_prompts", "256", "--data.shard_size", "64", "--trainer.max_epochs", "3"]
SMALL += ["--data.teacher.max_epochs", "40"]


@pytest.mark.slow
def test_killed_fit_ends_with_the_same_bytes(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    spec = importlib.util.spec_from_file_location("kill_and_resume", ROOT / "benchmarks" / "kill_and_resume.py")
    benchmark = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(benchmark)
    assert benchmark.main(["--kills", "1", "--folder", str(tmp_path / "runs"), *SMALL])
    told = capsys.readouterr().out
    assert "same bytes: 1 of 1" in told
    assert "7 files to compare" in told
