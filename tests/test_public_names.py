"""The public names, those of the stubs `__init__.pyi`: a change there is one for users, and is in CHANGELOG.md."""

import pkgutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from cases import cases

import lightning_subliminal

ROOT = Path(__file__).parent.parent
ROOMS = [
    "lightning_subliminal",
    *(
        each.name
        for each in pkgutil.walk_packages(lightning_subliminal.__path__, "lightning_subliminal.")
        if each.ispkg
    ),
]


@cases("room", ROOMS)
def test_each_name_is_there_once(room: str) -> None:
    module = import_module(room)
    names = getattr(module, "__all__", [])
    assert len(set(names)) == len(names)
    assert set(names) <= set(dir(module))
    assert all(getattr(module, name) is not None for name in names)


def test_a_name_of_the_top_is_that_of_its_room() -> None:
    from lightning_subliminal.models.student import Student

    assert len(lightning_subliminal.__all__) > 70
    assert lightning_subliminal.Student is Student
    assert vars(lightning_subliminal)["Student"] is Student, "the next use asks nobody"


@cases("room", ["lightning_subliminal", "lightning_subliminal.judges", "lightning_subliminal.audit"])
def test_unknown_name_is_an_attribute_error(room: str) -> None:
    with pytest.raises(AttributeError, match=f"module '{room}' has no attribute 'Ghost'"):
        import_module(room).Ghost  # noqa: B018


def test_import_is_cheap() -> None:
    code = "import sys, lightning_subliminal; assert not {'torch', 'numpy', 'lightning'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)
