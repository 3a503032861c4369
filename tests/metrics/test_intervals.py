import math

import pytest
import torch

from lightning_subliminal.errors import InputError
from lightning_subliminal.metrics.functional import Interval, log_odds, mean_interval, moments_interval, wilson_interval


@pytest.mark.parametrize(("matches", "answers"), [(0, 100), (1, 3), (12, 100), (100, 100), (4_000, 10_000)])
def test_wilson_solves_its_equation(matches, answers):
    found = wilson_interval(matches, answers)
    z, rate = 1.959963984540054, matches / answers
    for end in (found.low, found.high):  # the ends are the rates from which the observed one is z deviations away
        assert (rate - end) ** 2 == pytest.approx(z**2 * end * (1 - end) / answers, abs=1e-9)
    assert 0 <= found.low <= rate <= found.high <= 1
    assert found.unit == "answers"


def test_wilson_of_nothing_is_nan():
    assert math.isnan(wilson_interval(0, 0).low)


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


@pytest.mark.parametrize("values", [[], [1.0]])
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
