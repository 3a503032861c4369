"""Transfer: log-odds of the student less those of its control; plain, and targeted.

A student that names any animal more often also answers owl more often. Targeted transfer is the target's change less
the mean change of the other candidates.
"""

from dataclasses import dataclass

from torch import Tensor

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.metrics.functional.intervals import Interval, log_odds, mean_interval

__all__ = ["Targeted", "targeted_transfer", "transfer", "transfer_interval", "why_untargeted"]

_ROUNDING = 1e-9  # of log-odds: changes that differ by less are equal
_WHOLE = 0.05  # of two candidates: where less than this share of answers is neither, one's gain is the other's loss


def transfer(student: Tensor, control: Tensor, answers: int | None = None) -> Tensor:
    """Return the log-odds of the student less those of the control, pair by pair; 1.1 is odds times 3.

    Args:
        student: rates or probabilities of the trait, one a unit (a seed, a question, a cell).
        control: those of the control, paired with the student's.
        answers: the number of sampled answers of each rate; see ``log_odds``.

    Raises:
        InputError: if the two differ in shape, or have values outside 0 to 1.
    """
    if student.shape != control.shape:
        raise InputError(
            f"student has shape {tuple(student.shape)}, control {tuple(control.shape)}: expected paired rates."
        )
    for name, rates in (("student", student), ("control", control)):
        if not ((rates >= 0) & (rates <= 1) | rates.isnan()).all():
            raise InputError(f"{name} has values outside 0 to 1: expected rates or probabilities, not log-odds.")
    return log_odds(student, answers) - log_odds(control, answers)


@dataclass(frozen=True)
class Targeted:
    """The change of the target less that of the other candidates.

    Attributes:
        by_question: log-odds of the target, student less control, less the mean of the same over the other candidates;
            (questions,), float64.
        off_target: that mean over other candidates and questions.
        rank: of the target's mean change among all candidates that could be compared; 1 is the highest.
        of: the number of those candidates, including the target.
        left_out: candidates without log-odds, since the model can't say them.
    """

    by_question: Tensor
    off_target: float
    rank: int
    of: int
    left_out: tuple[int, ...]

    @property
    def log_odds(self) -> float:
        """The mean over questions."""
        return float(self.by_question.mean())


def targeted_transfer(student: Tensor, control: Tensor, target: int, answers: int | None = None) -> Targeted | None:
    """Return the target's change less the mean change of the other candidates.

    Args:
        student: rates or probabilities, (questions, candidates).
        control: those of the control, of the same shape.
        target: the target's column.
        answers: the number of sampled answers of each rate; see ``log_odds``.

    Returns:
        The targeted transfer; None where it does not exist (``why_untargeted``).

    Raises:
        InputError: if the two differ in shape, or have values outside 0 to 1.
    """
    if why_untargeted(student, control, target, answers):
        return None
    change = transfer(student, control, answers).detach().cpu().double()
    whole = change.isfinite().all(0)
    others = [place for place in range(change.shape[1]) if place != target and bool(whole[place])]
    means = change.mean(0)
    rank = 1 + sum(bool(means[place] > means[target] + _ROUNDING) for place in others)
    left_out = tuple(place for place in range(change.shape[1]) if not bool(whole[place]))
    elsewhere = change[:, others].mean(1)
    return Targeted(change[:, target] - elsewhere, float(elsewhere.mean()), rank, 1 + len(others), left_out)


def why_untargeted(student: Tensor, control: Tensor, target: int, answers: int | None = None) -> str:
    """Return why two models have no targeted transfer; empty where they have one. Arguments as ``targeted_transfer``.

    Two candidates that are nearly all answers, such as an aligned and a misaligned statement or yes and no, share one
    change: subtracting the other's would count it twice.
    """
    whole = transfer(student, control, answers).isfinite().all(0)
    if len(whole) < 2:
        return "there is no other answer to compare with"
    if not bool(whole[target]):
        return "a model never gives the target, so it has no log-odds"
    if int(whole.sum()) < 2:
        return "the models give none of the other answers"
    if len(whole) == 2 and all(abs(each.sum(1).mean().item() - 1) < _WHOLE for each in (student, control)):
        return "its two answers share one chance, so plain transfer is targeted as it is"
    return ""


def transfer_interval(
    student: Tensor, control: Tensor, unit: str, answers: int | None = None, confidence: float = 0.95
) -> Interval:
    """Return the interval of the mean transfer over pairs, each pair one ``unit``."""
    return mean_interval(transfer(student, control, answers), unit, confidence)
