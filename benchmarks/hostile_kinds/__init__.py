"""Hostile inputs by family: each module's ``KINDS`` maps a name to a function that writes one into an empty folder.

A module's ``MOST`` limits the number of tries of its slow kinds.
"""

import importlib
import inspect
import pkgutil
import random
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

MARK = "HOSTILE_MARK"  # the variable that holds the path of the file which payloads write


@dataclass(frozen=True)
class Try:
    """One command line on one hostile input.

    Attributes:
        words: the command line, without the program's name; it runs in the folder of the input.
        codes: the expected exit codes: 2 for bad input, 3 for findings, 0 where the input is accepted.
        names: what the error must contain when it exits with 2: the file, the field.
        environment: further variables.
        around: a context to run it in, such as a server.
        cold: whether a fresh interpreter runs it, since it attacks imports; only in the family ``cold``.
        after: returns what is wrong in the folder afterwards.
    """

    words: list[str]
    codes: frozenset[int] = frozenset({2})
    names: tuple[str, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)
    around: AbstractContextManager[object] = field(default_factory=nullcontext)
    cold: bool = False
    after: Callable[[Path], list[str]] | None = None


Kind = Callable[[random.Random, Path], Try]


def payload(text: str = "ran") -> str:
    """Return Python code that writes the mark, for files that must never be imported or unpickled."""
    return f"import os, pathlib\npathlib.Path(os.environ[{MARK!r}]).write_text({text!r})\n"


def write(folder: Path, config: Any) -> None:
    """Write ``f.yaml``."""
    (folder / "f.yaml").write_text(yaml.safe_dump(config, sort_keys=False))


def kinds(module: dict[str, Any]) -> dict[str, Kind]:
    """Return the public functions of a module that take a generator and a folder, by their names with spaces."""
    return {
        name.replace("_", " "): each
        for name, each in module.items()
        if inspect.isfunction(each)
        and each.__module__ == module["__name__"]
        and [*inspect.signature(each).parameters] == ["rng", "folder"]
        and not name.startswith("_")
    }


@cache
def all_kinds() -> dict[str, Kind]:
    """Return every kind of every family, as ``family.kind``."""
    return {f"{family}.{name}": kind for family in _families() for name, kind in _module(family).KINDS.items()}


def shares(kinds: list[str], tries: int) -> dict[str, int]:
    """Return how many tries each kind gets: the same number, but slow kinds at most their ``MOST``."""
    most = {
        f"{family}.{name}": count
        for family in _families()
        for name, count in getattr(_module(family), "MOST", {}).items()
    }
    given: dict[str, int] = {}
    for kind in sorted(kinds, key=lambda kind: most.get(kind, tries)):
        fair = -(-(tries - sum(given.values())) // (len(kinds) - len(given)))
        given[kind] = min(fair, most.get(kind, tries))
    return {kind: given[kind] for kind in kinds}


def _families() -> list[str]:
    return sorted(each.name for each in pkgutil.iter_modules(__path__))


def _module(family: str) -> Any:
    return importlib.import_module(f"{__name__}.{family}")
