"""The benchmark of `kill -9`, small: one kill in the middle of a run, and the same bytes at its end."""

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import forks
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
    start_fresh = benchmark.harness.start

    def start(folder: Path, words: list[str]) -> Any:
        if (folder / "log.txt").exists():  # to resume, with another seed of `hash()` than the run it is compared with
            return start_fresh(folder, words)
        folder.mkdir(parents=True, exist_ok=True)
        environment = os.environ | {"PYTHONPATH": str(ROOT), "LIGHTNING_SUBLIMINAL_CACHE": str(folder / "cache")}
        command = [sys.executable, "-m", "lightning_subliminal", *words]
        return forks.start(command, cwd=folder, env=environment, log=folder / "log.txt")

    monkeypatch.setattr(benchmark.harness, "start", start)
    assert benchmark.main(["--kills", "1", "--folder", str(tmp_path / "runs"), *SMALL])
    reported = capsys.readouterr().out
    assert "same bytes: 1 of 1" in reported
    assert "7 files to compare" in reported
