"""Means, differences and adjusted p values over seeds and targets, each with its interval, unit and test.

scipy and statsmodels compute; this file states which unit an interval is over. How well the intervals cover is
measured by ``python benchmarks/coverage.py``.
"""

import math
import warnings
from bisect import bisect_left
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.metrics.functional.intervals import mean_interval

__all__ = [
    "Estimate",
    "adjust",
    "difference_estimate",
    "mean_estimate",
    "nested_estimate",
    "required_seeds",
    "within",
]

ROUNDING = 1e-12  # values that differ by less than this share of their size differ by rounding: no spread was seen
_MOST_SEEDS = 100_000


@dataclass(frozen=True)
class Estimate:
    """A number with its interval and the unit that the interval is over.

    Attributes:
        value: the estimate; nan where there is no data.
        low: the lower end of the 95 % interval; nan where there is none.
        high: the upper end of the 95 % interval; nan where there is none.
        unit: what the interval is over, such as seeds, targets or questions.
        count: how many units there are.
        p: two-sided, against ``null``; nan where nothing is tested.
        null: what the value is tested against; nan where nothing is.
        method: how the interval was computed, such as "Student's t over targets".
    """

    value: float
    low: float
    high: float
    unit: str
    count: int
    p: float = math.nan
    null: float = 0.0
    method: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the fields as JSON can hold them: None for a number that is not finite."""
        fields = asdict(self).items()
        return {name: None if isinstance(each, float) and not math.isfinite(each) else each for name, each in fields}


def mean_estimate(values: ArrayLike, unit: str, null: float = 0.0) -> Estimate:
    """Return a mean with Student's t interval, and the p of the t test against ``null``.

    One value has no interval, and neither do equal values: no spread was seen, which does not prove that there is none
    (3 of 3 seeds at rate 1.0 do not prove a rate of 1.0).

    Args:
        values: one value a unit; (units,).
        unit: what a value stands for, such as seeds.
        null: the mean to test against.

    Raises:
        InputError: if a value is nan or infinite.
    """
    data = vector(values, unit)
    method = f"Student's t over {unit}"
    if len(data) == 0:
        return Estimate(math.nan, math.nan, math.nan, unit, 0, null=null, method=method)
    mean = float(data.mean())
    if why := no_spread(data):
        return Estimate(mean, math.nan, math.nan, unit, len(data), null=null, method=f"{method}: none, {why}")
    from scipy.stats import ttest_1samp

    found = mean_interval(torch.from_numpy(data), unit)
    return Estimate(mean, found.low, found.high, unit, len(data), float(ttest_1samp(data, null).pvalue), null, method)


def within(estimate: Estimate, limits: tuple[float, float] | None) -> Estimate:
    """Return an estimate with its interval cut to the possible values, such as 0 to 1 for a probability.

    What is cut off holds no possible value, so the interval covers the true one as often as before.
    """
    if limits is None:
        return estimate
    return replace(estimate, low=max(estimate.low, limits[0]), high=min(estimate.high, limits[1]))  # nan stays nan


def nested_estimate(
    groups: Mapping[Hashable, Sequence[float]], units: tuple[str, str] = ("targets", "seeds"), null: float = 0.0
) -> Estimate:
    """Return the mean of group means, with Student's t interval over groups.

    The unit is the outer one. Seeds of one target share its teacher and its word, so they are not independent draws of
    targets: t over all of them together would be too narrow for a claim about targets in general. Each target's mean
    counts once, however many seeds it has; the spread of those means includes the spread of seeds.

    Args:
        groups: values by group, such as one a seed for each target.
        units: what a group stands for, and what a value within it does.
        null: the mean to test against.

    Returns:
        The estimate over groups. With only one group it is over the values of that group, as unit and method state: it
        then describes that group alone.

    Raises:
        InputError: if a group is empty, or a value is nan or infinite.
    """
    outer, inner = units
    if empty := [name for name, values in groups.items() if len(values) == 0]:
        raise InputError(f"{empty[0]!r} of the {outer} has no values: leave it out, or run its {inner}.")
    if len(groups) == 1:
        ((name, values),) = groups.items()
        alone = mean_estimate(values, inner, null)
        return replace(alone, method=f"{alone.method}, of one of {outer} alone: {name}")
    means = [float(vector(values, inner).mean()) for values in groups.values()]
    found = mean_estimate(means, outer, null)
    return replace(found, method=f"{found.method} (means over {inner})")


def difference_estimate(first: ArrayLike, second: ArrayLike, unit: str, paired: bool) -> Estimate:
    """Return the difference of two means, first - second, tested against 0.

    Args:
        first: one value a unit, such as the students'; (units,).
        second: the others, such as the controls'; (units,), as many as ``first`` where ``paired``.
        unit: what a value stands for, such as seeds.
        paired: whether values at the same place belong together (a student and a control of one seed): Student's t
            of their differences. Otherwise Welch's t, which assumes no common variance; ``count`` is then of both
            together.

    Raises:
        InputError: if pairs do not match up, or a value is nan or infinite.
    """
    one, other = vector(first, unit), vector(second, unit)
    if paired:
        if len(one) != len(other):
            raise InputError(
                f"{len(one)} and {len(other)} {unit} can't be paired: pass as many of each, or set paired=False."
            )
        found = mean_estimate(one - other, unit)
        return replace(found, method=f"paired {found.method}")
    method, count = f"Welch's t over {unit}", len(one) + len(other)
    if not len(one) or not len(other):
        return Estimate(math.nan, math.nan, math.nan, unit, count, method=method)
    value = float(one.mean() - other.mean())
    why = f"fewer than two {unit} on a side" if min(len(one), len(other)) < 2 else ""
    if not why and no_spread(one) and no_spread(other):
        why = "no spread seen"
    if why:
        return Estimate(value, math.nan, math.nan, unit, count, method=f"{method}: none, {why}")
    from scipy.stats import ttest_ind

    with warnings.catch_warnings():  # one side without spread is fine
        warnings.simplefilter("ignore", RuntimeWarning)
        found_test = ttest_ind(one, other, equal_var=False)
        ends = found_test.confidence_interval(0.95)
    return Estimate(value, float(ends.low), float(ends.high), unit, count, float(found_test.pvalue), method=method)


def adjust(p_values: ArrayLike, method: Literal["holm", "bh"]) -> NDArray[np.float64]:
    """Adjust p values for their number, by statsmodels' `multipletests`.

    Args:
        p_values: one a claim; (claims,). A nan stays nan, and is not counted as a claim.
        method: "holm" (Holm 1979) bounds the probability of any false claim; "bh" (Benjamini & Hochberg 1995) the
            share of false claims among those made.

    Returns:
        The adjusted p values; (claims,).

    Raises:
        InputError: if a p is outside 0 to 1, the method is unknown, or statsmodels is missing.
    """
    p = numbers(p_values, "p_values")
    names = {"holm": "holm", "bh": "fdr_bh"}
    if method not in names:
        raise InputError(f"`method` is {method!r}: expected one of {', '.join(names)}.")
    if p.ndim != 1 or ((p < 0) | (p > 1)).any():
        raise InputError("`p_values` must be a list of numbers from 0 to 1, or nan where nothing was tested.")
    adjusted, known = np.full(len(p), math.nan), ~np.isnan(p)
    if known.any():
        adjusted[known] = statsmodels("stats.multitest").multipletests(p[known], method=names[method])[1]
    return adjusted


def required_seeds(effect: float, spread: float, power: float = 0.8, alpha: float = 0.05) -> int:
    """Return how many seeds a two-sided paired t test needs to detect an effect, by statsmodels' `TTestPower`.

    Args:
        effect: the mean difference to detect, in the values' own unit.
        spread: the standard deviation of the difference between seeds, in that unit.
        power: the probability of detecting it.
        alpha: the probability of detecting one where there is none.

    Returns:
        The number of seeds, of student and control each; at least 2.

    Raises:
        InputError: if the effect is 0 or too small for any number of seeds, or statsmodels is missing.
    """
    if not math.isfinite(effect) or effect == 0:
        raise InputError(
            f"`effect` is {effect}: no number of seeds shows an effect of 0; pass the smallest that matters."
        )
    if not math.isfinite(spread) or spread <= 0:
        raise InputError(
            f"`spread` is {spread}: expected the standard deviation of differences between seeds, above 0."
        )
    if not 0 < alpha < power < 1:
        raise InputError(f"`power` is {power}, `alpha` {alpha}: expected 0 < alpha < power < 1.")
    test = statsmodels("stats.power").TTestPower()

    def enough(seeds: int) -> bool:
        reached = float(test.power(abs(effect) / spread, seeds, alpha))
        return math.isnan(reached) or reached >= power  # nan: the effect is so large that scipy's tail underflows

    # a search over whole numbers: `solve_power` stops without an answer for large effects
    found = bisect_left(range(2, _MOST_SEEDS + 1), True, key=enough) + 2
    if found > _MOST_SEEDS:
        raise InputError(
            f"An effect of {effect:g} with a spread of {spread:g} needs more than {_MOST_SEEDS:,} seeds: "
            "look for a larger effect, or measure with less noise."
        )
    return found


def numbers(values: ArrayLike | None, name: str) -> NDArray[np.float64]:
    """Return values as an array of numbers.

    Raises:
        InputError: if they are texts, or lists of different lengths.
    """
    try:
        return np.asarray(values, dtype=np.float64)
    except (ValueError, TypeError) as err:
        raise InputError(f"`{name}` must hold numbers, in lists of one length ({err}).") from err


def check_resamples(resamples: int) -> None:
    """Raise InputError if ``resamples`` is less than 1."""
    if resamples < 1:
        raise InputError(f"`resamples` is {resamples}: expected 1 or more.")


def vector(values: ArrayLike, unit: str) -> NDArray[np.float64]:
    """Return finite values, one a unit, as an array, (units,); else raise InputError."""
    data = numbers(values, f"values over {unit}")
    if data.ndim != 1:
        raise InputError(f"Values over {unit} have shape {data.shape}: expected a list with one value per unit.")
    if not np.isfinite(data).all():
        place = int(np.flatnonzero(~np.isfinite(data))[0])
        raise InputError(f"Value {place} over {unit} is {data[place]}: run it again, or leave it out and report that.")
    return data


def no_spread(data: NDArray[np.float64]) -> str:
    """Return why values, (units,), do not show their spread; empty where they do."""
    if len(data) < 2:
        return "one value"
    return "no spread seen" if np.ptp(data) <= ROUNDING * np.abs(data).max() else ""


def statsmodels(module: str) -> Any:
    """Import a part of statsmodels, an optional package: on first use, as it is slow and imports pandas.

    Raises:
        InputError: if it is missing.
    """
    try:
        return import_module(f"statsmodels.{module}")
    except ModuleNotFoundError as err:
        raise InputError("This needs the package statsmodels: pip install 'lightning-subliminal[report]'.") from err
