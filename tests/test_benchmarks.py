"""Every benchmark is importable: what it takes from the package is there; and that of a GPU runs small."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest
from cases import cases

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


def imported(path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(BENCHMARKS)
    spec = importlib.util.spec_from_file_location(f"benchmark_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


@cases("path", sorted(BENCHMARKS.glob("*.py")))
def test_it_is_imported(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert imported(path, monkeypatch).__doc__


@pytest.mark.slow
def test_what_a_gpu_is_for_runs_on_a_tiny_shape(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    imported(BENCHMARKS / "gpu.py", monkeypatch).main(["--shapes", "tiny"])
    shown = capsys.readouterr().out
    for work in ("generation", "evaluation", "LoRA training"):
        (line,) = (each for each in shown.splitlines() if work in each)
        speed, share, seconds = line.split("\u2502")[3:6]
        assert float(speed.replace(",", "")) > 0
        assert 0 < float(share.strip(" %")) < 100
        assert float(seconds) > 0
