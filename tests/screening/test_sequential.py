"""Likelihood ratios of suspects, and the test that may be read after every row."""

import math

import pytest
import torch
from cases import cases
from small import numbers, taught

from lightning_subliminal import InputError, bases
from lightning_subliminal.core.rows import make_row
from lightning_subliminal.screening.sequential import DOSES, SequentialTest, likelihood_ratios
from lightning_subliminal.theory.row_gradients import LayerVectors


@pytest.fixture(scope="module")
def base():
    net, tokenizer = bases.load("pocket/a", dtype="float32")
    net.requires_grad_(False)
    return LayerVectors(net), tokenizer


@pytest.fixture(scope="module")
def rows():
    data = numbers(taught().control(), num_prompts=200, shard_size=200, seed=98)
    data.make()
    return data.rows()


def test_ratios_are_differences_of_log_likelihoods(base, rows):
    space, tokenizer = base
    vectors = torch.randn(2, space.size, generator=torch.Generator().manual_seed(0))
    (found,) = likelihood_ratios(space, tokenizer, rows[:7], vectors)
    (plain,) = space.gradients(tokenizer, rows[:7])
    for place, vector in enumerate(vectors):
        with space.added(vector):
            (steered,) = space.gradients(tokenizer, rows[:7])
        expected = steered.log_likelihoods - plain.log_likelihoods
        assert torch.allclose(found[:, place], expected, atol=1e-3)
    small = 1e-3 * vectors[:1]
    (found,) = likelihood_ratios(space, tokenizer, rows[:7], small)
    assert torch.allclose(found[:, 0].float(), plain.scores @ small[0], atol=1e-3)


def test_rows_that_can_not_be_scored_are_nan(base, rows):
    space, tokenizer = base
    (found,) = likelihood_ratios(
        space, tokenizer, [make_row("pick a number", "", finished=False), rows[0]], torch.zeros(1, 128)
    )
    assert found[:, 0].isnan().tolist() == [True, False]


def test_evidence_is_the_product_over_rows():
    test = SequentialTest(["owl"], 0.01)
    ratios = torch.tensor([0.5, -0.2, 1.0], dtype=torch.float64)
    for each in ratios:
        test.add(each.reshape(1, 1))
    expected = sum(math.prod(1 - d + d * math.exp(each) for each in ratios.tolist()) for d in DOSES) / len(DOSES)
    (found,) = test.evidence()
    assert found.log_e == pytest.approx(math.log(expected))
    assert test.rows == 3
    together = SequentialTest(["owl"], 0.01)
    together.add(ratios[:, None])
    assert together.evidence()[0].log_e == pytest.approx(found.log_e)


def test_clean_rows_seldom_give_an_alarm_however_often_one_looks():
    """Ratios of N(0, 1) against N(1, 1), of which E[e^l] is 1: alarms in at most alpha of 400 streams."""
    generator = torch.Generator().manual_seed(3)
    alarms = 0
    for _ in range(400):
        test = SequentialTest(["a", "b"], 0.05)
        x = torch.randn(500, 2, generator=generator)
        test.add(x - 0.5)
        alarms += test.alarmed
    assert alarms / 400 <= 0.05


def test_a_tainted_stream_is_detected_and_the_row_is_named():
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(2000, 2, generator=generator)
    tainted = torch.rand(2000, generator=generator) < 0.25
    x[tainted, 1] += 1.0
    test = SequentialTest(["a", "b"], 0.01)
    for part in x.split(37):
        test.add(part - 0.5)
    quiet, loud = test.evidence()
    assert quiet.detected is None
    assert 20 < loud.detected < 1500
    again = SequentialTest(["a", "b"], 0.01)
    again.add(x[: loud.detected] - 0.5)
    assert again.alarmed
    before = SequentialTest(["a", "b"], 0.01)
    before.add(x[: loud.detected - 1] - 0.5)
    assert not before.alarmed


@cases("alpha", [0.0, 1.0, -1.0, 2.0])
def test_the_error_rate_is_a_chance(alpha):
    with pytest.raises(InputError, match="expected a chance"):
        SequentialTest(["a"], alpha)
