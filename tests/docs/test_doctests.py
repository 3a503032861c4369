"""The examples in the docstrings of the package."""

import doctest
import importlib
from pathlib import Path

import pytest
from cases import cases

from docs.blocks import ROOT

PACKAGE = ROOT / "lightning_subliminal"
FILES = sorted(path for path in PACKAGE.rglob("*.py") if ">>> " in path.read_text(encoding="utf-8"))


def module_name(path: Path) -> str:
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@pytest.mark.slow
@cases("path", FILES)
def test_the_examples_of_a_module(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    found = doctest.testmod(importlib.import_module(module_name(path)), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted, f"{path.name} has no example that doctest finds"
    assert not found.failed


def test_there_are_examples() -> None:
    assert len(FILES) >= 20
