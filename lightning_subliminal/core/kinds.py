"""Names of classes in digests, caches and lineage, which stay the same when a module is moved or renamed."""

import importlib
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from lightning_subliminal.core.moved import first_module, module_now

__all__ = ["ROOMS", "current_path", "is_ours", "kind_of"]

_PACKAGE = "lightning_subliminal"
# Where a class of this package is found by its name alone.
ROOMS = (
    *("", ".callbacks", ".data", ".evaluation", ".workflow", ".filters", ".generation", ".judges", ".metrics"),
    *(".formats.layouts.choices", ".models", ".screening", ".traits", ".transforms"),
)


def kind_of(symbol: Any) -> str:
    """Return the name of a class or function in digests.

    Outside this package that is its module and name. A class of this package has a name that moves never change: the
    path in ``kinds.yaml``, or for later classes their own name; methods follow their class. A function of this package
    is named by its first module (``moved.txt``).
    """
    path = f"{first_module(symbol.__module__)}.{symbol.__qualname__}"
    if not is_ours(symbol):
        return path
    name, dot, inner = symbol.__qualname__.partition(".")
    kind = _kinds().get(name)
    if kind is None:
        return symbol.__qualname__ if isinstance(symbol, type) or dot else path
    return f"{kind}{dot}{inner}"


def is_ours(symbol: Any) -> bool:
    """Return whether a class or function belongs to this package."""
    return str(symbol.__module__).startswith(f"{_PACKAGE}.")


def current_path(recorded: str) -> str:
    """Return the current path of a class that a digest, lineage or an old config names; other paths as they are."""
    name = _names().get(recorded, recorded)
    if name == recorded and not recorded.isidentifier():
        return recorded
    module = module_now(recorded.rpartition(".")[0])
    for room in (*([module] if module else []), *(f"{_PACKAGE}{each}" for each in ROOMS)):
        with suppress(ModuleNotFoundError):
            if hasattr(importlib.import_module(room), name):
                return f"{room}.{name}"
    return recorded


@cache
def _kinds() -> dict[str, str]:
    names = yaml.safe_load(Path(__file__).with_name("kinds.yaml").read_text(encoding="utf-8"))
    renamed = {new: f"{_PACKAGE}.{path}" for new, path in names["renamed"].items()}
    first = {name: f"{_PACKAGE}.{home}.{name}" for home, classes in names["first"].items() for name in classes}
    return {name: path for name, path in first.items() if path not in renamed.values()} | renamed


@cache
def _names() -> dict[str, str]:
    return {kind: name for name, kind in _kinds().items()}
