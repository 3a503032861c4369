"""What evaluates finished models besides the probes: inspect_ai's tasks, replies side by side, a suite's trait.

The names that stood here are those of `lightning_subliminal.evaluation`; they are read here for one release.
"""

from typing import Any

from lightning_subliminal import evaluation
from lightning_subliminal.console import say

_RENAMED = {"Measure": "Probe", "Outcome": "Scores", "Results": "ScoreTable", "Subject": "ModelRef"}
_RENAMED["find_subject"] = "find_model"


def run_suite(measures: Any, subjects: Any, *options: Any, **named: Any) -> Any:
    """Call ``evaluation.evaluate(models, probes)``, as it was called."""
    return evaluation.evaluate(subjects, measures, *options, **named)


def __getattr__(name: str) -> Any:
    """Return what had a name here, and say once what it is called now."""
    now = _RENAMED.get(name, name)
    if now not in evaluation.__all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    say(f"deprecated lightning_subliminal.suites.{name}: it is lightning_subliminal.evaluation.{now}")
    globals()[name] = getattr(evaluation, now)  # the next use does not come here
    return globals()[name]
