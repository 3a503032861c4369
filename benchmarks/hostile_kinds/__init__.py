"""Hostile inputs by family: each module's ``KINDS`` maps a name to a function that writes one into an empty folder.

Its ``MOST``, where it has one, says how many tries a slow kind gets at most.
"""

import importlib
import pkgutil
import random
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

MARK = "HOSTILE_MARK"  # the variable that holds the path of the file which payloads write


@dataclass(frozen=True)
class Try:
    """One command line on one hostile input.

    Attributes:
        words: the command line, without the program's name; it runs in the folder that the kind was given.
        codes: the exit codes that are right: 2 for bad input, 3 for findings, 0 where reading on is right.
        names: what the error's line must say when it exits with 2: the file, the field.
        environment: further variables.
        around: what must be open meanwhile, such as a server.
        cold: a fresh interpreter runs it, since what it attacks happens at imports; only in the family ``cold``.
        after: given the folder, name what is wrong in it afterwards.
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
    """Return Python that writes the mark, for files that must never be imported or unpickled."""
    return f"import os, pathlib\npathlib.Path(os.environ[{MARK!r}]).write_text({text!r})\n"


@cache
def all_kinds() -> dict[str, Kind]:
    """Return every kind of every family, as ``family.kind``."""
    return {f"{family}.{name}": kind for family in _families() for name, kind in _module(family).KINDS.items()}


def shares(kinds: list[str], tries: int) -> dict[str, int]:
    """Return how many tries each kind gets: the same number, but slow kinds no more than their ``MOST``."""
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
