"""Which room may import which: the contracts in setup.cfg."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


def test_rooms_import_those_below_alone(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    cli = pytest.importorskip("importlinter.cli")
    monkeypatch.chdir(ROOT)
    assert cli.lint_imports(config_filename=str(ROOT / "setup.cfg"), no_cache=True) == 0, capsys.readouterr().out
