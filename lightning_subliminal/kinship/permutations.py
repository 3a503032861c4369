"""What a matching of hidden units is worth: p-values of permutations, in logarithms so that none becomes 0.

The order of hidden units means nothing: before training any order is as likely as another, and training treats all
alike. So if two models were drawn independently, the permutation that matches the units of one to those of the other
is a uniform draw, whatever the data. That makes the tails here exact, not approximate, in the number of matched units.
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
    """Match rows to columns, each at most once, so that the similarities sum to the most.

    Args:
        similarity: (rows, columns), no more rows than columns.
        lot: seeds how equals are drawn; matchings that are compared or combined need different ones.

    Returns:
        The column of each row, (rows,).
    """
    # The solver prefers the diagonal among equals. Units that were cut to zero are all alike, so that two models with
    # nothing in common would be called kin: equals are drawn by lot.
    lots = np.random.default_rng(list(lot))
    rows, columns = (lots.permutation(length) for length in similarity.shape)
    found = np.empty(len(rows), dtype=np.int64)
    found[rows] = columns[linear_sum_assignment(similarity[rows][:, columns], maximize=True)[1]]
    return found


def tail_of_matches(matched: int, units: int, places: int) -> float:
    """Return the natural logarithm of the chance that at least ``matched`` units come to their own place.

    Exact for ``units`` that go to different ones out of ``places``, each way as likely: inclusion and exclusion
    (the problem of coincidences). All of n in their places has the chance 1/n!, the floor of any such test.

    Args:
        matched: how many.
        units: how many could be.
        places: at least as many as units.
    """
    if matched <= 0:
        return 0.0
    if matched > units:
        return -math.inf
    # The sum alternates, and falls by a factorial: thirty terms are more than a float holds, and all are at most 1.
    terms, term = [1.0], 1.0
    for more in range(matched, min(units, matched + 40)):
        rate = (units - more) / ((more + 1) * (places - more))  # of the chances that given units are in place
        term *= -rate * more / (more - matched + 1)
        terms.append(term)
    lead = _log_choose(units, matched) + math.lgamma(places - matched + 1) - math.lgamma(places + 1)
    return min(0.0, lead + math.log(math.fsum(terms)))


def rank_correlation_log_p(
    found: Sequence[int] | np.ndarray, wanted: Sequence[int] | np.ndarray, expected: float = 0.0
) -> tuple[float, float]:
    """Return the rank correlation of two orders, and the logarithm of its one-sided p-value, never below 1/n!.

    The p-value is that of Student's t, as published for this test; far out it is an approximation.

    Args:
        found: where each unit came to, (units,).
        wanted: where it belongs, (units,).
        expected: the mean of the correlation among orders that mean nothing.
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
    """Count the units that came to where they belong, and give the logarithm of the p-value.

    The count is what tells: units that are matched wrongly are wrong whether by one place or by a hundred. A count
    takes few values, so among permutations with the same count those come first whose other units, the wrong ones, are
    in the more similar order; that alone makes the p-value uniform where models are independent.

    Args:
        found: where each unit came to, (units,).
        wanted: where it belongs, (units,).
        places: how many there are.
    """
    units = len(found)
    right = found == wanted
    matched = int(right.sum())
    more, same = tail_of_matches(matched + 1, units, places), tail_of_matches(matched, units, places)
    wrong = units - matched
    # All of these are wrong, so that their correlation is a little below 0 on average.
    rest = rank_correlation_log_p(found[~right], wanted[~right], -1 / (wrong - 1) if wrong > 2 else 0.0)[1]
    inside = same + math.log1p(-math.exp(more - same)) + rest
    return matched, min(0.0, float(np.logaddexp(more, inside)))


def fisher_log_p(logs: Sequence[float]) -> float:
    """Combine independent p-values by Fisher's method, logarithms in and out; exact, however small they are.

    Args:
        logs: the natural logarithm of each.
    """
    total = -math.fsum(logs)
    if total <= 0:
        return 0.0
    order = np.arange(len(logs))  # chi-square with an even number of degrees of freedom is a sum of Poisson chances
    terms = order * math.log(total) - np.array([math.lgamma(each + 1) for each in order])
    return min(0.0, float(logsumexp(terms)) - total)


def _log_choose(many: int, few: int) -> float:
    return math.lgamma(many + 1) - math.lgamma(few + 1) - math.lgamma(many - few + 1)
