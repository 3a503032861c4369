"""Confidence intervals. Each names its unit: what is sampled, and so what the interval is about."""

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
    """A confidence interval.

    Attributes:
        low: lower end; nan where there is too little data.
        high: upper end; nan where there is too little data.
        unit: what it is over, such as answers, questions, seeds or cells.
        confidence: the share of such intervals that hold the true value.
    """

    low: float
    high: float
    unit: str
    confidence: float = 0.95

    def __contains__(self, value: float) -> bool:
        """Return whether ``value`` is in the interval, its ends included."""
        return self.low <= value <= self.high

    def within(self, low: float, high: float) -> "Interval":
        """Return the interval clipped to the possible values, such as 0 to 1 for a chance."""
        return Interval(max(self.low, low), min(self.high, high), self.unit, self.confidence)  # nan stays nan

    def __str__(self) -> str:
        """Return the interval as text."""
        return f"[{self.low:.4g}, {self.high:.4g}] ({self.confidence:.0%}, over {self.unit})"


def wilson_interval(matches: int, answers: int, unit: str = "answers", confidence: float = 0.95) -> Interval:
    """Return Wilson's interval of a rate; it stays within 0 and 1, and has its nominal coverage for 0 of n.

    It assumes independent answers. Answers to the same question are not, so with few questions report an interval over
    questions (``clustered_interval``, or ``mean_interval`` of each question's rate).
    """
    _check(confidence)
    if answers == 0:
        return Interval(math.nan, math.nan, unit, confidence)
    from scipy.stats import binomtest

    found = binomtest(int(matches), int(answers)).proportion_ci(confidence_level=confidence, method="wilson")
    return Interval(float(found.low), float(found.high), unit, confidence)


def clustered_interval(matches: Tensor, answers: Tensor, unit: str, confidence: float = 0.95) -> Interval:
    """Return the interval of a pooled rate whose answers come in clusters, such as many answers to each question.

    Answers to one question are correlated, so they carry less information than as many independent ones. The variance
    between clusters (of the ratio, linearised) over that of independent answers gives the effective number of answers,
    for which Wilson's interval is computed with Student's t of the clusters (Korn & Graubard 1998; Dean & Pagano 2015).
    It is too narrow where one or two clusters of few hold nearly all matches.

    Where there is no spread between clusters (fewer than two, or all answers match, or none does), it is
    ``wilson_interval`` over answers, as its unit shows.

    Args:
        matches: how many answers of each cluster match; (clusters,).
        answers: how many answers each cluster has; (clusters,). Clusters without answers are left out.
        unit: what a cluster is, such as questions.
        confidence: the share of such intervals that hold the true rate.

    Returns:
        The interval; nan where there are no answers.

    Raises:
        InputError: if the two differ in shape, or a cluster has more matches than answers.
    """
    _check(confidence)
    if matches.shape != answers.shape or matches.ndim != 1:
        raise InputError(
            f"matches has shape {tuple(matches.shape)}, answers {tuple(answers.shape)}: expected (clusters,) for both."
        )
    if not ((matches >= 0) & (matches <= answers)).all():
        raise InputError("A cluster has more matches than answers, or fewer than 0: expected counts, 0 to its answers.")
    matched, sizes = (counts.detach().cpu().double()[answers.cpu() > 0] for counts in (matches, answers))
    clusters, total = len(sizes), sizes.sum().item()
    rate = matched.sum().item() / total if total else math.nan
    if clusters < 2 or rate in (0.0, 1.0):
        return wilson_interval(int(matched.sum()), int(total), "answers", confidence)
    from scipy.special import stdtrit  # the quantile that `scipy.stats.t` returns, without its second of imports

    between = clusters / (clusters - 1) * (matched - rate * sizes).square().sum().item() / total**2
    effective = max(total / max(between / (rate * (1 - rate) / total), 1.0), clusters)
    # Wilson's interval for a number of answers that need not be an integer
    shrink = float(stdtrit(clusters - 1, (1 + confidence) / 2)) ** 2 / effective
    middle = (rate + shrink / 2) / (1 + shrink)
    half = math.sqrt(shrink * (rate * (1 - rate) + shrink / 4)) / (1 + shrink)
    return Interval(middle - half, middle + half, unit, confidence)


def mean_interval(values: Tensor, unit: str, confidence: float = 0.95) -> Interval:
    """Return Student's t interval of a mean.

    Args:
        values: one value a unit, of any shape.
        unit: what a value is of, such as seeds.
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

    Answers to wordings of one question are correlated. The variance is that of the clusters' sums of distances from the
    mean (linearised, as of a ratio; Cochran 1977, section 9A), with Student's t of as many degrees of freedom as there
    are clusters, less one. With one value a cluster it is ``mean_interval``.

    Args:
        values: one value a question, (questions,).
        clusters: the cluster of each value, such as a question's stem; as many as values.
        unit: what a cluster is, such as question stems.
        confidence: the share of such intervals that hold the true mean.

    Returns:
        The interval; nan where there are fewer than two clusters.

    Raises:
        InputError: if there are not as many clusters as values.
    """
    values = values.detach().cpu().double().flatten()
    if len(clusters) != len(values):
        raise InputError(f"There are {len(values)} values and {len(clusters)} clusters: expected one for each value.")
    order = {each: place for place, each in enumerate(dict.fromkeys(clusters))}
    places = torch.tensor([order[each] for each in clusters], dtype=torch.int64)
    centred = values - values.mean()
    sums = torch.zeros(len(order), dtype=torch.float64).index_add(0, places, centred)
    count, share = len(order), len(order) / max(len(values), 1)  # sums to means, for clusters of any size
    total = values.sum().item() * share
    return moments_interval(count, total, (sums * share).square().sum().item(), unit, confidence, centred=True)


def question_interval(values: Tensor, stems: Sequence[Hashable], confidence: float = 0.95) -> Interval:
    """Return the interval of a mean over questions, or over stems, which its unit then names.

    Args:
        values: one value a question, (questions,).
        stems: what each question asks, without its wording; empty where all differ.
        confidence: the share of such intervals that hold the true mean.

    Raises:
        InputError: if there are stems, and not as many as values.
    """
    if stems and len(stems) != len(values):
        raise InputError(f"There are {len(values)} questions and {len(stems)} stems: expected one for each question.")
    if len(set(stems)) < len(stems):
        return clustered_mean_interval(values, stems, "question stems", confidence)
    return mean_interval(values, "questions", confidence)


def moments_interval(
    count: int, total: float, squares: float, unit: str, confidence: float = 0.95, *, centred: bool = False
) -> Interval:
    """Return Student's t interval of a mean from sums, which processes can add up.

    Args:
        count: the number of values.
        total: their sum.
        squares: the sum of their squares, or of the squares of their distances from the mean.
        unit: what a value is of.
        confidence: the share of such intervals that hold the true mean.
        centred: whether ``squares`` is of the distances from the mean.
    """
    _check(confidence)
    if count < 2:  # one value has no spread
        return Interval(math.nan, math.nan, unit, confidence)
    from scipy.special import stdtrit

    mean = total / count
    spread = max(squares if centred else squares - count * mean**2, 0.0)
    half = float(stdtrit(count - 1, (1 + confidence) / 2)) * math.sqrt(spread / (count - 1) / count)
    return Interval(mean - half, mean + half, unit, confidence)


def log_odds(rate: Tensor, answers: int | None = None) -> Tensor:
    """Return the logarithm of the odds of a rate.

    Args:
        rate: rates or probabilities.
        answers: the number of sampled answers of each rate: half an answer is then added to each side, so that 0 of 100
            stays finite. Where it is None, 0 gives -inf and 1 gives inf.
    """
    if answers is not None:
        rate = (rate * answers + 0.5) / (answers + 1)
    return torch.log(rate) - torch.log1p(-rate)


def _check(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise InputError(f"`confidence` is {confidence}: expected a share between 0 and 1, such as 0.95.")
