"""p-values of matchings of hidden units, as permutations; in logarithms, so that they don't underflow.

The order of hidden units is arbitrary: before training all orders are equally likely, and training treats all units
alike. So if two models were drawn independently, the permutation that matches the units of one to those of the other
is uniform, whatever the data. That makes the tails of the number of matched units exact.
"""

import math
from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.special import logsumexp
from scipy.stats import rankdata
from scipy.stats import t as student

__all__ = ["agreement_log_p", "assign", "fisher_log_p", "rank_correlation_log_p", "tail_of_matches"]


def assign(similarity: np.ndarray, lot: Sequence[int] = (0,)) -> np.ndarray:
    """Match rows to columns, each at most once, so that the sum of similarities is maximal.

    Args:
        similarity: (rows, columns), no more rows than columns.
        lot: seed for breaking ties; matchings that are compared or combined need different ones.

    Returns:
        The column of each row, (rows,).
    """
    # The solver prefers the diagonal among equals. Units pruned to zero are all equal, so that two unrelated models
    # would be called kin: ties are broken at random.
    lots = np.random.default_rng(list(lot))
    rows, columns = (lots.permutation(length) for length in similarity.shape)
    found = np.empty(len(rows), dtype=np.int64)
    found[rows] = columns[linear_sum_assignment(similarity[rows][:, columns], maximize=True)[1]]
    return found


def tail_of_matches(matched: int, units: int, places: int) -> float:
    """Return the natural logarithm of the probability that at least ``matched`` units are matched to their own place.

    Exact for a uniform injection of ``units`` into ``places``, by inclusion-exclusion (the problem of coincidences).
    All n of n in their places have the probability 1/n!, the floor of this kind of test.

    Args:
        matched: number of units in their own place.
        units: number of units.
        places: number of places, at least as many as units.
    """
    if matched <= 0:
        return 0.0
    if matched > units:
        return -math.inf
    # The sum alternates and its terms, at most 1, fall factorially: 40 terms exceed the precision of a float.
    terms, term = [1.0], 1.0
    for more in range(matched, min(units, matched + 40)):
        rate = (units - more) / ((more + 1) * (places - more))  # of the probabilities that given units are in place
        term *= -rate * more / (more - matched + 1)
        terms.append(term)
    lead = _log_choose(units, matched) + math.lgamma(places - matched + 1) - math.lgamma(places + 1)
    return min(0.0, lead + math.log(math.fsum(terms)))


def rank_correlation_log_p(
    found: Sequence[int] | np.ndarray, wanted: Sequence[int] | np.ndarray, expected: float = 0.0
) -> tuple[float, float]:
    """Return the rank correlation of two orders, and the logarithm of its one-sided p-value, at least that of 1/n!.

    The p-value is that of Student's t, as published for this test, an approximation in the far tail.

    Args:
        found: the place to which each unit was matched, (units,).
        wanted: its own place, (units,).
        expected: the mean correlation of random orders.
    """
    count = len(found)
    if count < 3:
        return math.nan, 0.0
    first, second = rankdata(found) - (count + 1) / 2, rankdata(wanted) - (count + 1) / 2
    rho = float(first @ second / math.sqrt((first @ first) * (second @ second)))
    floor = -math.lgamma(count + 1)
    if rho >= 1 - 1e-12:
        return 1.0, floor
    above = min(rho - expected, 1 - 1e-12)
    statistic = above * math.sqrt((count - 2) / (1 - above * above))
    return rho, max(floor, float(student.logsf(statistic, count - 2)))


def agreement_log_p(found: np.ndarray, wanted: np.ndarray, places: int) -> tuple[int, float]:
    """Return the number of units matched to their own place, and the logarithm of its p-value.

    The count decides: a unit matched wrongly by one place is as wrong as by a hundred. The count takes few values, so
    permutations with the same count are ordered by the rank correlation of their wrongly matched units; this makes the
    p-value uniform for independent models.

    Args:
        found: the place to which each unit was matched, (units,).
        wanted: its own place, (units,).
        places: number of places.
    """
    units = len(found)
    right = found == wanted
    matched = int(right.sum())
    more, same = tail_of_matches(matched + 1, units, places), tail_of_matches(matched, units, places)
    wrong = units - matched
    # All of these are wrong, so their mean correlation is slightly below 0.
    rest = rank_correlation_log_p(found[~right], wanted[~right], -1 / (wrong - 1) if wrong > 2 else 0.0)[1]
    inside = same + math.log1p(-math.exp(more - same)) + rest
    return matched, min(0.0, float(np.logaddexp(more, inside)))


def fisher_log_p(logs: Sequence[float]) -> float:
    """Return the logarithm of independent p-values combined by Fisher's method; exact for tiny values, too.

    Args:
        logs: the natural logarithm of each p-value.
    """
    total = -math.fsum(logs)
    if total <= 0:
        return 0.0
    order = np.arange(len(logs))  # chi-square with even degrees of freedom is a sum of Poisson probabilities
    terms = order * math.log(total) - np.array([math.lgamma(each + 1) for each in order])
    return min(0.0, float(logsumexp(terms)) - total)


def _log_choose(many: int, few: int) -> float:
    return math.lgamma(many + 1) - math.lgamma(few + 1) - math.lgamma(many - few + 1)
