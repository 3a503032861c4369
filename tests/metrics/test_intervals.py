import math

import numpy as np
import pytest
import torch
from cases import cases

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.metrics.functional import (
    Interval,
    clustered_interval,
    log_odds,
    mean_interval,
    moments_interval,
    wilson_interval,
)


@cases(("matches", "answers"), [(0, 100), (1, 3), (12, 100), (100, 100), (4_000, 10_000)])
def test_wilson_solves_its_equation(matches, answers):
    found = wilson_interval(matches, answers)
    z, rate = 1.959963984540054, matches / answers
    for end in (found.low, found.high):  # the ends are the rates from which the observed one is z deviations away
        assert (rate - end) ** 2 == pytest.approx(z**2 * end * (1 - end) / answers, abs=1e-9)
    assert 0 <= found.low <= rate <= found.high <= 1
    assert found.unit == "answers"


def test_wilson_of_nothing_is_nan():
    assert math.isnan(wilson_interval(0, 0).low)


@cases("alike", [0.02, 0.05])  # correlation of two answers to one question
def test_the_clustered_interval_holds_the_truth_as_often_as_it_says(alike):
    rng, rate = np.random.default_rng(0), 0.1
    weight = 1 / alike - 1
    matches = torch.from_numpy(rng.binomial(100, rng.beta(rate * weight, (1 - rate) * weight, (1_000, 10))))
    answers = torch.full((10,), 100)
    held = sum(rate in clustered_interval(draw, answers, "questions") for draw in matches) / 1_000
    naive = sum(rate in wilson_interval(int(draw.sum()), 1_000) for draw in matches) / 1_000
    assert 0.92 <= held <= 0.99
    assert naive < held - 0.1  # as if all answers were independent


def test_the_clustered_interval_by_hand():
    found = clustered_interval(torch.tensor([1, 3, 8]), torch.tensor([10, 10, 20]), "questions")
    rate = 12 / 40
    between = 3 / 2 * ((1 - 10 * rate) ** 2 + (3 - 10 * rate) ** 2 + (8 - 20 * rate) ** 2) / 40**2
    effective = rate * (1 - rate) / between  # 28 of the 40
    t = 4.302652729911275  # 2 degrees of freedom
    for end in (found.low, found.high):
        assert (rate - end) ** 2 == pytest.approx(t**2 * end * (1 - end) / effective, abs=1e-9)
    assert 27 < effective < 29
    assert found.low < rate < found.high
    assert found.unit == "questions"
    assert found == clustered_interval(torch.tensor([1, 0, 3, 8]), torch.tensor([10, 0, 10, 20]), "questions")


@cases(
    ("matches", "answers", "effective"),
    [([5, 5, 5], [10, 10, 10], 30), ([10, 0, 10, 0], [10] * 4, 4)],  # as if independent, and one answer a cluster
)
def test_the_effective_answers_lie_between_the_clusters_and_all_answers(matches, answers, effective):
    found = clustered_interval(torch.tensor(matches), torch.tensor(answers), "questions")
    t = {3: 4.302652729911275, 4: 3.182446305284263}[len(matches)]
    assert (0.5 - found.low) ** 2 == pytest.approx(t**2 * found.low * (1 - found.low) / effective)


@cases(("matches", "answers"), [([0, 0], [10, 20]), ([10, 20], [10, 20]), ([3, 0], [10, 0])])
def test_where_no_spread_is_seen_the_interval_is_over_answers(matches, answers):
    found = clustered_interval(torch.tensor(matches), torch.tensor(answers), "questions", 0.9)
    assert found == wilson_interval(sum(matches), sum(answers), "answers", 0.9)


@cases("counts", [[], [0, 0]])
def test_clusters_without_answers_give_nan(counts):
    empty = torch.tensor(counts, dtype=torch.int64)
    assert math.isnan(clustered_interval(empty, empty, "questions").low)


def test_wrong_clusters_are_reported_in_a_line():
    with pytest.raises(InputError, match=r"expected \(clusters,\) for both"):
        clustered_interval(torch.tensor([1]), torch.tensor([1, 2]), "questions")
    for matches in (3, -1):
        with pytest.raises(InputError, match="more matches than answers"):
            clustered_interval(torch.tensor([1, matches]), torch.tensor([2, 2]), "questions")
    with pytest.raises(InputError, match="a share between 0 and 1"):
        clustered_interval(torch.tensor([1]), torch.tensor([2]), "questions", confidence=95)


def test_mean_interval():
    found = mean_interval(torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]), unit="seeds")
    assert (found.low, found.high) == pytest.approx((3 - 1.9632, 3 + 1.9632), abs=1e-4)  # t(4) = 2.7764, sd/sqrt(5)
    assert found.unit == "seeds"
    assert 3 in found
    assert 5 not in found
    assert str(found) == "[1.037, 4.963] (95%, over seeds)"


def test_moments_equal_the_values():
    values = torch.rand(50, dtype=torch.float64)
    one, other = mean_interval(values, "cells"), moments_interval(50, values.sum(), (values**2).sum(), "cells")
    assert (one.low, one.high) == pytest.approx((float(other.low), float(other.high)))


def test_intervals_hold_the_truth_as_often_as_they_say():
    generator = torch.Generator().manual_seed(0)
    draws = torch.rand(1_000, 6, generator=generator)
    held = sum(0.5 in mean_interval(draw, "seeds", confidence=0.8) for draw in draws)
    assert 750 < held < 850


@cases("values", [[], [1.0]])
def test_too_few_values_give_nan(values):
    found = mean_interval(torch.tensor(values), "seeds")
    assert math.isnan(found.low)
    assert math.isnan(found.high)


def test_log_odds():
    assert log_odds(torch.tensor(0.75)).item() == pytest.approx(math.log(3))
    assert log_odds(torch.tensor([0.0, 1.0])).tolist() == [-math.inf, math.inf]
    assert log_odds(torch.tensor([0.0, 0.5, 1.0]), answers=100).tolist() == pytest.approx(
        [-math.log(201), 0, math.log(201)], abs=1e-4
    )
    assert log_odds(torch.tensor(1e-30, dtype=torch.float64)).item() == pytest.approx(math.log(1e-30))


def test_confidence_is_a_share():
    with pytest.raises(InputError, match="a share between 0 and 1"):
        wilson_interval(1, 2, confidence=95)


def test_an_interval_of_nan_holds_nothing():
    assert 0.5 not in Interval(math.nan, math.nan, "seeds")
