"""The names that digests, caches and lineage know classes by: ours keep theirs when a file is moved or renamed."""

import importlib
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from lightning_subliminal.core.moved import first_module, module_now

__all__ = ["ROOMS", "current_path", "is_ours", "kind_of"]

_PACKAGE = "lightning_subliminal"
# Where a class of ours is found by its name alone.
ROOMS = (
    *("", ".callbacks", ".data", ".evaluation", ".workflow", ".filters", ".generation", ".judges", ".metrics"),
    *(".formats.layouts.choices", ".models", ".screening", ".traits", ".transforms"),
)


def kind_of(thing: Any) -> str:
    """Return the name of a class or function in digests.

    Args:
        thing: a class or function. One of somebody else's is named by its module and name. A class of this package has
            a name that moves never change: the path in ``kinds.yaml``, or for later ones the class's own name; its
            methods follow it. A function of this package is named by where it stood first (``moved.txt``).
    """
    path = f"{first_module(thing.__module__)}.{thing.__qualname__}"
    if not is_ours(thing):
        return path
    name, dot, inner = thing.__qualname__.partition(".")
    kind = _kinds().get(name)
    if kind is None:
        return thing.__qualname__ if isinstance(thing, type) or dot else path
    return f"{kind}{dot}{inner}"


def is_ours(thing: Any) -> bool:
    """Return whether a class or function is of this package."""
    return str(thing.__module__).startswith(f"{_PACKAGE}.")


def current_path(told: str) -> str:
    """Return where the class now is that a digest, lineage or an old config names; other paths as they are."""
    name = _names().get(told, told)
    if name == told and not told.isidentifier():
        return told
    module = module_now(told.rpartition(".")[0])
    for room in (*([module] if module else []), *(f"{_PACKAGE}{each}" for each in ROOMS)):
        with suppress(ModuleNotFoundError):
            if hasattr(importlib.import_module(room), name):
                return f"{room}.{name}"
    return told


@cache
def _kinds() -> dict[str, str]:
    told = yaml.safe_load(Path(__file__).with_name("kinds.yaml").read_text(encoding="utf-8"))
    renamed = {new: f"{_PACKAGE}.{path}" for new, path in told["renamed"].items()}
    first = {name: f"{_PACKAGE}.{home}.{name}" for home, names in told["first"].items() for name in names}
    return {name: path for name, path in first.items() if path not in renamed.values()} | renamed


@cache
def _names() -> dict[str, str]:
    return {kind: name for name, kind in _kinds().items()}
