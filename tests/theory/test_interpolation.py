import math

import pytest
import torch
from cases import cases
from torch import nn

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.theory.alignment import alignment
from lightning_subliminal.theory.interpolation import between, displacement, mean_of


def state(seed, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    drawn = {"weight": torch.randn(3, 4, generator=generator), "bias": 100 * torch.randn(3, generator=generator)}
    return {name: value.to(dtype) for name, value in drawn.items()}


def flat(ways):
    return [float(value) for name in sorted(ways) for value in ways[name].flatten()]


class TestBetween:
    @cases("dtype", [torch.float32, torch.float64, torch.bfloat16])
    def test_the_ends_are_the_models_to_the_last_bit(self, dtype):
        start, end = state(0, dtype), state(1, dtype)
        for t, expected in ((0.0, start), (1.0, end)):
            for name, value in between(start, end, t).items():
                assert value.dtype == dtype
                assert torch.equal(value, expected[name])

    @cases("t", [-1.0, 0.25, 1.5, 3.0])
    def test_other_places_are_on_the_line(self, t):
        start, end = state(0), state(1)
        made = between(start, end, t)
        for name in start:
            for got, one, other in zip(*(x[name].flatten().tolist() for x in (made, start, end)), strict=True):
                assert got == pytest.approx((1 - t) * one + t * other, rel=1e-5, abs=1e-5)

    def test_a_missing_name_counts_as_zero(self):
        one = {"bias": torch.tensor([2.0, 4.0])}
        assert between({}, one, 0.5)["bias"].tolist() == [1.0, 2.0]
        assert between(one, {}, 2.0)["bias"].tolist() == [-2.0, -4.0]

    def test_neither_model_is_changed_or_shared(self):
        start, end = state(0), state(1)
        made = between(start, end, 1.0)
        made["weight"].zero_()
        assert torch.equal(end["weight"], state(1)["weight"])
        assert torch.equal(start["weight"], state(0)["weight"])

    def test_another_shape_is_refused(self):
        with pytest.raises(InputError, match=r"`bias` has the shape \(3,\) in one model and \(2,\)"):
            between({"bias": torch.zeros(3)}, {"bias": torch.zeros(2)}, 0.5)

    def test_whole_numbers_must_agree(self):
        one, same, other = ({"ids": torch.tensor([value])} for value in (1, 1, 2))
        assert between(one, same, 0.5)["ids"].tolist() == [1]
        with pytest.raises(InputError, match="integers that differ"):
            between(one, other, 0.5)

    def test_a_place_must_be_finite(self):
        with pytest.raises(InputError, match="`t` is nan"):
            between(state(0), state(1), math.nan)

    def test_a_linear_model_answers_on_the_line_too(self):
        nets = [nn.Linear(4, 3), nn.Linear(4, 3), nn.Linear(4, 3)]
        nets[2].load_state_dict(between(nets[0].state_dict(), nets[1].state_dict(), 2.5))
        inputs = torch.randn(7, 4)
        one, other, made = (net(inputs) for net in nets)
        torch.testing.assert_close(made, one + 2.5 * (other - one), rtol=1e-4, atol=1e-5)


class TestMean:
    def test_it_is_the_mean_of_each_value(self):
        states = [state(seed) for seed in range(5)]
        for name, value in mean_of(states).items():
            torch.testing.assert_close(value, torch.stack([each[name] for each in states]).mean(0))

    def test_equal_models_have_themselves_as_their_mean(self):
        assert all(torch.equal(value, state(0)[name]) for name, value in mean_of([state(0)] * 3).items())

    def test_weights_are_shares(self):
        one, other = {"bias": torch.tensor([1.0])}, {"bias": torch.tensor([5.0])}
        assert mean_of([one, other], [3, 1])["bias"].item() == pytest.approx(2.0)
        assert mean_of([one, other], [0.75, 0.25])["bias"].item() == pytest.approx(2.0)

    def test_two_models_meet_halfway(self):
        halfway = between(state(0), state(1), 0.5)
        for name, value in mean_of([state(0), state(1)]).items():
            torch.testing.assert_close(value, halfway[name])

    def test_a_missing_name_counts_as_zero(self):
        assert mean_of([{}, {"bias": torch.tensor([4.0])}])["bias"].item() == 2.0

    @cases("weights", [[1.0], [1.0, -1.0], [1.0, math.nan]])
    def test_weights_that_fit_nothing_are_refused(self, weights):
        with pytest.raises(InputError, match="for 2 models: expected one each"):
            mean_of([state(0), state(1)], weights)

    def test_nothing_has_no_mean(self):
        with pytest.raises(InputError, match="no models"):
            mean_of([])


class TestWays:
    def test_length_and_cosine_are_those_of_one_long_vector(self):
        start, ways = state(0), [displacement(state(0), state(seed)) for seed in (1, 2)]
        one, other = (flat(way) for way in ways)
        assert one == pytest.approx([b - a for a, b in zip(flat(start), flat(state(1)), strict=True)], rel=1e-6)
        assert alignment(*ways).student_norm.item() == pytest.approx(math.dist(one, [0.0] * len(one)), rel=1e-9)
        expected = sum(a * b for a, b in zip(one, other, strict=True)) / math.hypot(*one) / math.hypot(*other)
        assert alignment(*ways).cosine.item() == pytest.approx(expected, rel=1e-9)

    def test_a_way_of_no_length_has_no_direction(self):
        still = displacement(state(0), state(0))
        found = alignment(still, displacement(state(0), state(1)))
        assert found.student_norm == 0
        assert math.isnan(found.cosine)
