"""``fit --estimate``: print what a fit needs, and stop."""

from typing import Any

from lightning_subliminal.bases.by_config import by_config
from lightning_subliminal.core.console import say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.data import TrainingRows
from lightning_subliminal.models import Student
from lightning_subliminal.workflow import TraitComparison
from lightning_subliminal.workflow.estimate.hardware import Assumptions, Hardware

__all__ = ["print_estimate"]


def print_estimate(student: Any, data: Any, trainer: Any, assumed: Assumptions) -> None:
    """Print the table of an estimate, and what it assumes.

    Args:
        student: as the config makes it.
        data: likewise.
        trainer: the settings of the trainer, which is not made: its devices may not be here.
        assumed: what hours are computed from.

    Raises:
        InputError: if it is not a student with rows, or a base's config is not on this machine.
    """
    from lightning_subliminal.workflow.estimate.fit import estimate_fit
    from lightning_subliminal.workflow.estimate.table import estimate_table

    if not isinstance(student, Student) or not isinstance(data, TrainingRows):
        raise InputError("`--estimate` knows a Student and its rows alone: leave it out.")
    called = trainer.callbacks or []
    called = called if isinstance(called, (list, tuple)) else [called]
    compares = any(isinstance(each, TraitComparison) and each.control for each in called)
    with by_config():
        found = estimate_fit(student, data, Hardware.of(vars(trainer), compares), assumed)
    say(estimate_table(found))
    for note in found.notes:
        say(note)
