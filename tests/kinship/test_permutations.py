"""p-values of permutations: against counting all of them, against scipy, and uniform where nothing is shared."""

import itertools
import math

import numpy as np
import pytest
from cases import cases
from scipy.stats import combine_pvalues, kstest, spearmanr

from lightning_subliminal.kinship.permutations import (
    agreement_log_p,
    assign,
    fisher_log_p,
    rank_correlation_log_p,
    tail_of_matches,
)


@cases(("units", "places"), [(5, 5), (3, 5), (1, 4), (6, 6)])
def test_tail_of_matches_counts_all_ways(units, places):
    ways = list(itertools.permutations(range(places), units))
    in_place = [sum(here == there for here, there in enumerate(way)) for way in ways]
    for matched in range(units + 1):
        share = sum(count >= matched for count in in_place) / len(ways)
        assert math.exp(tail_of_matches(matched, units, places)) == pytest.approx(share, abs=1e-12)
    assert tail_of_matches(units + 1, units, places) == -math.inf


@cases("units", [3, 128, 11008])
def test_the_floor_is_one_of_all_orders(units):
    order = np.arange(units)
    matched, log_p = agreement_log_p(order, order, units)
    assert matched == units
    assert log_p == pytest.approx(-math.lgamma(units + 1), rel=1e-12)
    assert rank_correlation_log_p(order, order) == (1.0, pytest.approx(-math.lgamma(units + 1)))


@cases(("units", "places"), [(64, 64), (40, 64)])
def test_uniform_where_nothing_is_shared(units, places):
    draw = np.random.default_rng(0)
    pairs = [(draw.permutation(places)[:units], draw.permutation(places)[:units]) for _ in range(2000)]
    for test in (
        lambda one, other: agreement_log_p(one, other, places)[1],
        lambda one, other: rank_correlation_log_p(one, other)[1],
    ):
        assert kstest([math.exp(test(*pair)) for pair in pairs], "uniform").pvalue > 0.01


def test_a_tenth_in_place_is_seen_by_the_count_alone():
    draw = np.random.default_rng(1)
    found = draw.permutation(128)
    for unit in range(4, 128, 10):
        other = int(np.flatnonzero(found == unit)[0])
        found[unit], found[other] = found[other], found[unit]
    matched, log_p = agreement_log_p(found, np.arange(128), 128)
    assert matched >= 12
    assert log_p < math.log(1e-8)
    rho, published = rank_correlation_log_p(found, np.arange(128))
    assert rho == pytest.approx(spearmanr(found, np.arange(128)).statistic)
    assert published > math.log(1e-4)


def test_rank_correlation_is_scipys():
    draw = np.random.default_rng(2)
    one, other = draw.permutation(50), draw.permutation(50)
    theirs = spearmanr(one, other, alternative="greater")
    rho, log_p = rank_correlation_log_p(one, other)
    assert (rho, math.exp(log_p)) == (pytest.approx(theirs.statistic), pytest.approx(theirs.pvalue))


@cases("logs", [[-1.2], [-0.3, -2.5], [-0.01, -0.5, -4.0, -0.2]])
def test_fisher_is_scipys(logs):
    theirs = combine_pvalues(np.exp(logs)).pvalue
    assert math.exp(fisher_log_p(logs)) == pytest.approx(theirs, rel=1e-9)


def test_fisher_goes_on_where_floats_end():
    assert fisher_log_p([-1e6, -1e6]) == pytest.approx(-2e6 + math.log1p(2e6))
    assert fisher_log_p([0.0, 0.0]) == 0.0


def test_assign_finds_the_best_sum():
    similarity = np.random.default_rng(3).normal(size=(4, 6))
    best = max(itertools.permutations(range(6), 4), key=lambda way: similarity[range(4), way].sum())
    assert assign(similarity).tolist() == list(best)


def test_equals_are_no_evidence():
    """Scipy's solver leaves equals on the diagonal, which would look like units in their own places."""
    assert (assign(np.zeros((64, 64))) == np.arange(64)).sum() <= 4
