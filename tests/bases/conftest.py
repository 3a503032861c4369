"""A tiny base in a folder."""

from pathlib import Path

import pytest

from bases.word_bases import make_base


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_base(tmp_path / "model")
