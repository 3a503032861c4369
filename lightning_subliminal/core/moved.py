"""Modules that moved: imports by a path from before version 0.2 still work, with a warning that names the new one."""

import importlib
import sys
import warnings
from collections.abc import Sequence
from functools import cache
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

__all__ = ["first_module", "module_now", "read_old_paths"]

_PACKAGE = "lightning_subliminal"
_OLD_NAMES = {"Measure": "Probe", "Outcome": "Scores", "Results": "ScoreTable", "Subject": "ModelRef"} | {
    "find_subject": "find_model",
    "run_suite": "evaluate",
}
# Folders and modules that were split into several, each with its new modules, the likeliest first.
_EVALUATION = ("evaluation", "evaluation.run", "evaluation.report", "evaluation.guards", "evaluation.adapter_folder")
_SPLIT = {
    "bases.names": ("bases.registry", "bases.loading", "bases.tokenizers"),
    "bases.near": ("bases.lookup",),
    "bases.vocabulary": ("bases.tokenizers",),
    "commands": (),
    "experiments": ("workflow", "evaluation", "plans", "analysis"),
    "experiments.analysis": ("analysis.cells", "analysis.estimates"),
    "experiments.evaluations": ("evaluation",),
    "experiments.plan": ("plans.plan", "plans.reading"),
    "experiments.report": ("plans.report",),
    "experiments.statistics": ("analysis.statistics", "analysis.resampling", "analysis.question_level"),
    "pocket": ("bases.pocket",),
    "suites": _EVALUATION,
    **{f"suites.{each}": _EVALUATION for each in ("base", "battery", "measures", "subject", "targeting")},
    "transforms.by_model": ("screening", "transforms"),
    "wording": ("prompts",),
}


def read_old_paths() -> None:
    """Make modules importable by their former paths."""
    sys.meta_path.append(_Finder())


def first_module(module: str) -> str:
    """Return the path that a module of this package had in the first release; others as they are."""
    return _first().get(module, module)


def module_now(module: str) -> str | None:
    """Return the path that a module of this package has now; None if its classes went to several others."""
    return None if module.partition(".")[2] in _SPLIT else _moved().get(module, module)


class _Finder:
    """A finder of last resort: it is asked only for modules that no other finder knows."""

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: object = None) -> ModuleSpec | None:
        package, _, rest = name.partition(".")
        if package != _PACKAGE or not (rest in _SPLIT or name in _moved()):
            return None
        return ModuleSpec(name, self, is_package=rest in _SPLIT)  # type: ignore[arg-type]

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        homes = _SPLIT.get(spec.name.partition(".")[2])
        if homes is not None:
            return _Split(spec.name, homes)
        module = importlib.import_module(_moved()[spec.name])
        spec.loader_state = module.__spec__  # which the import system is about to replace
        return module

    def exec_module(self, module: ModuleType) -> None:
        old = module.__spec__
        if old is not None and not isinstance(module, _Split):
            module.__spec__ = old.loader_state
            warnings.warn(f"deprecated: {old.name} is now {module.__name__}", FutureWarning, stacklevel=2)


class _Split(ModuleType):
    """A folder or module that was split: each of its names is looked up on first use."""

    def __init__(self, name: str, homes: tuple[str, ...]) -> None:
        super().__init__(name)
        self._homes = homes

    def __getattr__(self, name: str) -> Any:
        now = _OLD_NAMES.get(name, name)
        for home in () if name.startswith("__") else self._homes:
            module = importlib.import_module(f"{_PACKAGE}.{home}")
            if hasattr(module, now):
                warnings.warn(f"deprecated: {self.__name__}.{name} is now {module.__name__}.{now}", FutureWarning, 2)
                vars(self)[name] = getattr(module, now)  # later uses do not get here
                return vars(self)[name]
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")


@cache
def _moved() -> dict[str, str]:
    """Return the current path of each module that moved, by its former path."""
    found, places = {}, [""]
    for line in Path(__file__).with_suffix(".txt").read_text(encoding="utf-8").splitlines()[1:]:
        words = line.split()
        if not line.startswith(" "):
            places = [f"{_PACKAGE}." if each == "." else f"{_PACKAGE}.{each}." for each in words[:2]]
            words = words[2:]
        for word in words:
            old, _, new = word.partition(">")
            found[places[0] + old] = places[1] + (new or old)
    return found


@cache
def _first() -> dict[str, str]:
    return {new: old for old, new in reversed(_moved().items())}
