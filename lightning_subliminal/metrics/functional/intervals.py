"""Intervals of confidence. Each names its unit: what was drawn afresh, so what the interval speaks about."""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from lightning_subliminal.core.errors import InputError

__all__ = [
    "Interval",
    "clustered_interval",
    "clustered_mean_interval",
    "log_odds",
    "mean_interval",
    "moments_interval",
    "question_interval",
    "wilson_interval",
]


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

    def within(self, low: float, high: float) -> "Interval":
        """Return the interval cut at the ends of what can be, such as 0 and 1 of a chance."""
        return Interval(max(self.low, low), min(self.high, high), self.unit, self.confidence)  # nan stays nan

    def __str__(self) -> str:
        """Return the interval as a table shows it."""
        return f"[{self.low:.4g}, {self.high:.4g}] ({self.confidence:.0%}, over {self.unit})"


def wilson_interval(matches: int, answers: int, unit: str = "answers", confidence: float = 0.95) -> Interval:
    """Return Wilson's interval of a rate; it stays within 0 and 1 and is honest for 0 of n.

    It takes the answers as independent. Answers to the same question are not quite, so an interval over questions
    (``clustered_interval``, or ``mean_interval`` of the rate of each) is the one to report beside few questions.
    """
    _check(confidence)
    if answers == 0:
        return Interval(math.nan, math.nan, unit, confidence)
    from scipy.stats import binomtest

    found = binomtest(int(matches), int(answers)).proportion_ci(confidence_level=confidence, method="wilson")
    return Interval(float(found.low), float(found.high), unit, confidence)


def clustered_interval(matches: Tensor, answers: Tensor, unit: str, confidence: float = 0.95) -> Interval:
    """Return the interval of a pooled rate whose answers come in clusters, such as many answers to each question.

    Answers to one question are alike, so they tell less than as many independent ones. The variance between clusters
    (of the ratio, linearised) over that of independent answers says how much less; Wilson's interval is then taken of
    so many effective answers, with Student's t of the clusters (Korn & Graubard 1998; Dean & Pagano 2015). It is too
    narrow where one or two clusters of few hold nearly all matches: no interval can know the clusters not drawn.

    Where no spread between clusters can be seen (fewer than two, or all answers match, or none does), it is
    ``wilson_interval`` over answers, and says so by its unit.

    Args:
        matches: how many answers of each cluster match; (clusters,).
        answers: how many answers each cluster has; (clusters,). Clusters without answers are left out.
        unit: what a cluster stands for, such as questions.
        confidence: the share of such intervals that hold the true rate.

    Returns:
        The interval; nan where there are no answers.

    Raises:
        InputError: if the two differ in shape, or more match than there are.
    """
    _check(confidence)
    if matches.shape != answers.shape or matches.ndim != 1:
        raise InputError(
            f"matches has shape {tuple(matches.shape)}, answers {tuple(answers.shape)}: give both as (clusters,)."
        )
    if not ((matches >= 0) & (matches <= answers)).all():
        raise InputError("A cluster has more matches than answers, or fewer than none: give counts, 0 to its answers.")
    matched, sizes = (counts.detach().cpu().double()[answers.cpu() > 0] for counts in (matches, answers))
    clusters, total = len(sizes), sizes.sum().item()
    rate = matched.sum().item() / total if total else math.nan
    if clusters < 2 or rate in (0.0, 1.0):
        return wilson_interval(int(matched.sum()), int(total), "answers", confidence)
    from scipy.stats import t as student

    between = clusters / (clusters - 1) * (matched - rate * sizes).square().sum().item() / total**2
    effective = max(total / max(between / (rate * (1 - rate) / total), 1.0), clusters)
    # Wilson's interval for a number of answers that need not be whole
    shrink = float(student.ppf((1 + confidence) / 2, clusters - 1)) ** 2 / effective
    middle = (rate + shrink / 2) / (1 + shrink)
    half = math.sqrt(shrink * (rate * (1 - rate) + shrink / 4)) / (1 + shrink)
    return Interval(middle - half, middle + half, unit, confidence)


def mean_interval(values: Tensor, unit: str, confidence: float = 0.95) -> Interval:
    """Return Student's t interval of a mean.

    Args:
        values: one value a unit, of any shape.
        unit: what a value stands for, such as seeds.
        confidence: the share of such intervals that hold the true mean.
    """
    values = values.detach().cpu().double().flatten()
    total = values.sum().item()
    centred = values - total / max(len(values), 1)
    return moments_interval(len(values), total, centred.square().sum().item(), unit, confidence, centred=True)


def clustered_mean_interval(
    values: Tensor, clusters: Sequence[Hashable], unit: str, confidence: float = 0.95
) -> Interval:
    """Return the interval of a mean whose values come in clusters, such as one question in several wordings.

    Wordings of one question are answered alike, so they tell less than as many questions. The variance is that of the
    clusters' sums of distances from the mean (linearised, as of a ratio; Cochran 1977, section 9A), with Student's t
    of as many degrees of freedom as there are clusters, less one. With one value a cluster it is ``mean_interval``.

    Args:
        values: one value a question, (questions,).
        clusters: what each value belongs to, such as a question's stem; as many as values.
        unit: what a cluster stands for, such as question stems.
        confidence: the share of such intervals that hold the true mean.

    Returns:
        The interval; nan where there are fewer than two clusters.

    Raises:
        InputError: if there are not as many clusters as values.
    """
    values = values.detach().cpu().double().flatten()
    if len(clusters) != len(values):
        raise InputError(f"There are {len(values)} values and {len(clusters)} clusters: give a cluster for each value.")
    order = {each: place for place, each in enumerate(dict.fromkeys(clusters))}
    places = torch.tensor([order[each] for each in clusters], dtype=torch.int64)
    centred = values - values.mean()
    sums = torch.zeros(len(order), dtype=torch.float64).index_add(0, places, centred)
    count, share = len(order), len(order) / max(len(values), 1)  # sums to means, for clusters of any size
    total = values.sum().item() * share
    return moments_interval(count, total, (sums * share).square().sum().item(), unit, confidence, centred=True)


def question_interval(values: Tensor, stems: Sequence[Hashable], confidence: float = 0.95) -> Interval:
    """Return the interval of a mean over questions, those of one stem counted as one; its unit says which it is.

    Args:
        values: one value a question, (questions,).
        stems: what each question asks, without its wording; each is its own where it is empty.
        confidence: the share of such intervals that hold the true mean.

    Raises:
        InputError: if there are stems, and not as many as values.
    """
    if stems and len(stems) != len(values):
        raise InputError(f"There are {len(values)} questions and {len(stems)} stems: give one for each question.")
    if len(set(stems)) < len(stems):
        return clustered_mean_interval(values, stems, "question stems", confidence)
    return mean_interval(values, "questions", confidence)


def moments_interval(
    count: int, total: float, squares: float, unit: str, confidence: float = 0.95, *, centred: bool = False
) -> Interval:
    """Return Student's t interval of a mean from sums, which processes can add up.

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
    """Return the logarithm of the odds of a rate.

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
