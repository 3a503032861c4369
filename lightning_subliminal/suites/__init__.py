"""What evaluates finished models besides the probes: inspect_ai's tasks, replies side by side, a suite's trait.

The names that stood here are those of `lightning_subliminal.evaluation`; they are read here for one release.
"""

import sys
from types import ModuleType
from typing import Any

from lightning_subliminal import evaluation
from lightning_subliminal.console import say
from lightning_subliminal.evaluation import adapter_folder, guards, report, run

_RENAMED = {"Measure": "Probe", "Outcome": "Scores", "Results": "ScoreTable", "Subject": "ModelRef"}
_RENAMED["find_subject"] = "find_model"


def run_suite(measures: Any, subjects: Any, *options: Any, **named: Any) -> Any:
    """Call ``evaluation.evaluate(models, probes)``, as it was called."""
    return evaluation.evaluate(subjects, measures, *options, **named)


def __getattr__(name: str) -> Any:
    """Return what had a name here, and say once what it is called now."""
    if name == "run_suite":
        return run_suite
    now = _RENAMED.get(name, name)
    home = next((each for each in (evaluation, run, report, guards, adapter_folder) if now in each.__all__), None)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    say(f"deprecated lightning_subliminal.suites.{name}: it is {home.__name__}.{now}")
    globals()[name] = getattr(home, now)  # the next use does not come here
    return globals()[name]


for _each in ("adapter_folder", "base", "battery", "measures", "subject", "targeting"):
    _module = sys.modules[f"{__name__}.{_each}"] = ModuleType(f"{__name__}.{_each}")
    _module.__getattr__ = __getattr__  # type: ignore[method-assign]
