"""A cache of ones own for what is measured."""

import pytest

from evaluation.known import fresh


@pytest.fixture
def fresh_cache(tmp_path, monkeypatch):
    fresh(tmp_path, monkeypatch)
