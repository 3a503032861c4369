from pathlib import Path

import pytest

from lightning_subliminal.cache import cache_root, writable_folder
from lightning_subliminal.errors import InputError


def test_the_folder_given_then_the_variable_then_the_home(monkeypatch, tmp_path):
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path / "named"))
    assert cache_root("given") == Path("given")
    assert cache_root() == tmp_path / "named"
    monkeypatch.setenv("LIGHTNING_SUBLIMINAL_CACHE", "")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_root() == tmp_path / ".cache" / "lightning-subliminal"


def test_a_folder_is_made_and_left_empty(tmp_path):
    folder = writable_folder(tmp_path / "a" / "b")
    assert list(folder.iterdir()) == []
    assert writable_folder(folder) == folder


def test_a_folder_that_cannot_be_made_is_told(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "cache"):
        with pytest.raises(InputError, match=r"can't be written .*: set LIGHTNING_SUBLIMINAL_CACHE") as caught:
            writable_folder(path)
        assert "\n" not in str(caught.value)
