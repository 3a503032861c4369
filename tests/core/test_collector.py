"""What is imported is left out of collections, on the command line alone."""

import gc
import subprocess
import sys
from types import ModuleType

import pytest

from lightning_subliminal.core.collector import importing, sparing


@pytest.fixture(autouse=True)
def _collecting():
    gc.unfreeze()
    yield
    gc.unfreeze()
    gc.enable()


def test_imports_are_spared_on_the_command_line_alone(monkeypatch):
    with importing():
        monkeypatch.setitem(sys.modules, "one_more", ModuleType("one_more"))
        assert gc.isenabled()
    assert gc.get_freeze_count() == 0
    with sparing():
        with importing():
            assert not gc.isenabled()
        assert gc.isenabled()
        assert gc.get_freeze_count() == 0, "nothing was imported"
        with importing(), importing():
            monkeypatch.setitem(sys.modules, "another", ModuleType("another"))
        assert gc.isenabled()
        assert gc.get_freeze_count() > 0
        with sparing():  # a command within a command
            pass
        assert gc.get_freeze_count() > 0
    assert gc.get_freeze_count() == 0


def test_a_collector_that_is_off_stays_off():
    gc.disable()
    with sparing(), importing():
        pass
    assert not gc.isenabled()


def test_a_failed_import_leaves_it_on():
    with pytest.raises(ImportError), sparing(), importing():
        import no_such_module  # noqa: F401
    assert gc.isenabled()


def test_nothing_is_collected_at_the_exit():
    code = (
        "import atexit, gc\n"
        "atexit.register(lambda: print(gc.get_freeze_count() > 0))  # runs last\n"
        "from lightning_subliminal.core.collector import sparing\n"
        "with sparing(): pass\n"
        "print(gc.get_freeze_count())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "True"]
