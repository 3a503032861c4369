"""The toy of the tests of runs and of errors."""

from pathlib import Path

import pytest
import yaml

from .toys import TOY


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a config in a folder of its own, which is also where the test stands."""
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "toy.yaml"
    path.write_text(yaml.safe_dump(TOY))
    return path
