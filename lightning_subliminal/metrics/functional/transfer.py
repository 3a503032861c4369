"""Transfer: how far the student is above its control, on the scale of log-odds."""

from torch import Tensor

from lightning_subliminal.errors import InputError
from lightning_subliminal.metrics.functional.intervals import Interval, log_odds, mean_interval

__all__ = ["transfer", "transfer_interval"]


def transfer(student: Tensor, control: Tensor, answers: int | None = None) -> Tensor:
    """Give the log-odds of the student less those of the control, pair by pair; 1.1 is odds times 3.

    Args:
        student: rates or probabilities of the trait, one a unit (a seed, a question, a cell).
        control: those of the control, paired with the student's.
        answers: how many sampled answers each rate comes from; see ``log_odds``.

    Raises:
        InputError: if the two differ in shape, or hold what is no rate.
    """
    if student.shape != control.shape:
        raise InputError(
            f"student has shape {tuple(student.shape)}, control {tuple(control.shape)}: give paired rates, one a unit."
        )
    for name, rates in (("student", student), ("control", control)):
        if not ((rates >= 0) & (rates <= 1) | rates.isnan()).all():
            raise InputError(f"{name} holds values outside of 0 to 1: give rates or probabilities, not log-odds.")
    return log_odds(student, answers) - log_odds(control, answers)


def transfer_interval(
    student: Tensor, control: Tensor, unit: str, answers: int | None = None, confidence: float = 0.95
) -> Interval:
    """Give the interval of the mean transfer over pairs, each pair one ``unit``."""
    return mean_interval(transfer(student, control, answers), unit, confidence)
