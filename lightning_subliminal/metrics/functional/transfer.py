"""Transfer: how far the student is above its control, on the scale of log-odds; plain, and beyond other answers.

A student that names any animal more often says owl more often, too. So beside the plain transfer of the target stands
the targeted one: the target's change less the mean change of the other candidates.
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


@dataclass(frozen=True)
class Targeted:
    """How far the target moved beyond the other candidates.

    Attributes:
        by_question: log-odds of the target, student less control, less the mean of the same over the other candidates;
            (questions,), float64.
        off_target: that mean over other candidates and questions.
        rank: of the target's mean change among all candidates that could be compared; 1 is the highest.
        of: how many they are, the target among them.
        left_out: candidates that the model can't say, so that they have no log-odds.
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
    """Return how far the target moved beyond the other candidates: its change less the mean of theirs.

    Args:
        student: rates or probabilities, (questions, candidates).
        control: those of the control, of the same shape.
        target: the target's column.
        answers: how many sampled answers each rate comes from; see ``log_odds``.

    Returns:
        The targeted transfer; None where there is none, for what ``why_untargeted`` says.

    Raises:
        InputError: if the two differ in shape, or hold what is no rate.
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
    """Return why two models have no targeted transfer; empty where they have one.

    Two candidates that are nearly all answers, such as an aligned and a misaligned statement or yes and no, have one
    change between them: taking off the other's would count it twice.

    Args:
        student: rates or probabilities, (questions, candidates).
        control: those of the control, of the same shape.
        target: the target's column.
        answers: how many sampled answers each rate comes from; see ``log_odds``.

    Raises:
        InputError: if the two differ in shape, or hold what is no rate.
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
