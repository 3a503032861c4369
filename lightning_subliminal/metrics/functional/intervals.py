"""Intervals of confidence. Each names its unit: what was drawn afresh, so what the interval speaks about."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_subliminal.errors import InputError

__all__ = ["Interval", "log_odds", "mean_interval", "moments_interval", "wilson_interval"]


@dataclass(frozen=True)
class Interval:
    """An interval of confidence.

    Attributes:
        low: its lower end; nan where there is too little data.
        high: its upper end; nan where there is too little data.
        unit: what it was taken over, such as answers, questions, seeds or cells.
        confidence: the share of such intervals that hold the true value.
    """

    low: float
    high: float
    unit: str
    confidence: float = 0.95

    def __contains__(self, value: float) -> bool:
        """Tell whether ``value`` lies in the interval, its ends included."""
        return self.low <= value <= self.high

    def __str__(self) -> str:
        """Give the interval as a table shows it."""
        return f"[{self.low:.4g}, {self.high:.4g}] ({self.confidence:.0%}, over {self.unit})"


def wilson_interval(matches: int, answers: int, unit: str = "answers", confidence: float = 0.95) -> Interval:
    """Give Wilson's interval of a rate; it stays within 0 and 1 and is honest for 0 of n.

    It takes the answers as independent. Answers to the same question are not quite, so an interval over questions
    (``mean_interval`` of the rate of each) is the one to report beside few questions.
    """
    _check(confidence)
    if answers == 0:
        return Interval(math.nan, math.nan, unit, confidence)
    from scipy.stats import binomtest

    found = binomtest(int(matches), int(answers)).proportion_ci(confidence_level=confidence, method="wilson")
    return Interval(float(found.low), float(found.high), unit, confidence)


def mean_interval(values: Tensor, unit: str, confidence: float = 0.95) -> Interval:
    """Give Student's t interval of a mean.

    Args:
        values: one value a unit, of any shape.
        unit: what a value stands for, such as seeds.
        confidence: the share of such intervals that hold the true mean.
    """
    values = values.detach().cpu().double().flatten()
    total = values.sum().item()
    centred = values - total / max(len(values), 1)
    return moments_interval(len(values), total, centred.square().sum().item(), unit, confidence, centred=True)


def moments_interval(
    count: int, total: float, squares: float, unit: str, confidence: float = 0.95, *, centred: bool = False
) -> Interval:
    """Give Student's t interval of a mean from sums, which processes can add up.

    Args:
        count: how many values there are.
        total: their sum.
        squares: the sum of their squares, or of the squares of their distances from the mean.
        unit: what a value stands for.
        confidence: the share of such intervals that hold the true mean.
        centred: whether ``squares`` is of the distances from the mean.
    """
    _check(confidence)
    if count < 2:  # one value tells nothing about the spread
        return Interval(math.nan, math.nan, unit, confidence)
    from scipy.stats import t as student

    mean = total / count
    spread = max(squares if centred else squares - count * mean**2, 0.0)
    half = float(student.ppf((1 + confidence) / 2, count - 1)) * math.sqrt(spread / (count - 1) / count)
    return Interval(mean - half, mean + half, unit, confidence)


def log_odds(rate: Tensor, answers: int | None = None) -> Tensor:
    """Give the logarithm of the odds of a rate.

    Args:
        rate: rates or probabilities.
        answers: where the rates are shares of so many sampled answers: half an answer is then added to each side, so
            that 0 of 100 stays finite. Without it, 0 gives -inf and 1 gives inf.
    """
    if answers is not None:
        rate = (rate * answers + 0.5) / (answers + 1)
    return torch.log(rate) - torch.log1p(-rate)


def _check(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise InputError(f"`confidence` is {confidence}: give a share between 0 and 1, such as 0.95.")
