"""Every benchmark is importable: what it takes from the package is there."""

import importlib.util
import sys
from pathlib import Path

import pytest
from cases import cases

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"


@cases("path", sorted(BENCHMARKS.glob("*.py")))
def test_it_is_imported(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(BENCHMARKS)
    spec = importlib.util.spec_from_file_location(f"benchmark_{path.stem}", path)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)  # dataclasses look themselves up there
    spec.loader.exec_module(module)
    assert module.__doc__
