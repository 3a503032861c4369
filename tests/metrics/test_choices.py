import math

import pytest
import torch
from cases import cases

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.metrics import ChoiceAccuracy
from lightning_subliminal.metrics.functional import choice_scores, mean_interval, wilson_interval

from .metric_contract import MetricContract


def drawn(seed, count):
    mass = torch.rand(count, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return (torch.stack([(mass > 0.4).double(), mass], 1),)


class TestChoiceAccuracy(MetricContract):
    batches = (drawn(0, 5), drawn(1, 1), drawn(2, 3), drawn(3, 4))

    def make(self):
        return ChoiceAccuracy()

    def reference(self, scores):
        return [right for right, _ in scores.tolist()].count(1.0) / len(scores)

    def readings(self, metric):
        one, other = metric.interval(), metric.truth_mass_interval()
        return {
            "compute": metric.compute().item(),
            "mass": metric.truth_mass().item(),
            "low": one.low,
            "high": one.high,
            "mass low": other.low,
            "mass high": other.high,
        }


@cases(
    ("probabilities", "true", "right", "mass"),
    [
        ([0.5, 0.3, 0.2], [0], 1, 0.5),
        ([0.5, 0.3, 0.2], [1, 2], 0, 0.5),
        ([0.3, 0.2, 0.5], [0, 2], 1, 0.8),
        ([0.2, 0.4], [1], 1, 2 / 3),  # normalised among the choices
        ([0.5, 0.5], [0], 0, 0.5),  # a tie is no win
        ([0.5, 0.5], [0, 1], 1, 1.0),
    ],
)
def test_a_question_by_hand(probabilities, true, right, mass):
    scores = choice_scores([torch.tensor(probabilities, dtype=torch.float64)], [true])
    assert scores.dtype == torch.float64
    assert scores.tolist() == [[right, pytest.approx(mass)]]


def test_questions_may_differ_in_their_number_of_choices():
    scores = choice_scores([torch.tensor([0.5, 0.25, 0.25]), torch.tensor([0.25, 0.75])], [[0, 2], [0]])
    assert scores.tolist() == [[1, 0.75], [0, 0.25]]
    assert choice_scores([], []).shape == (0, 2)


def test_the_intervals_are_over_questions():
    metric, (scores,) = ChoiceAccuracy(), drawn(0, 40)
    metric.update(scores)
    assert metric.interval() == wilson_interval(int(scores[:, 0].sum()), 40, "questions")
    one, other = metric.truth_mass_interval(), mean_interval(scores[:, 1], "questions")
    assert (one.low, one.high, one.unit) == (pytest.approx(other.low), pytest.approx(other.high), "questions")


def test_mistakes_are_reported_in_a_line():
    half = torch.tensor([0.5, 0.5])
    with pytest.raises(InputError, match="2 questions, but 1 lists of true choices"):
        choice_scores([half, half], [[0]])
    for true in ([], [2], [-1]):
        with pytest.raises(InputError, match=r"true choices of question 1 are .*: give at least one of 0 to 1"):
            choice_scores([half, half], [[0], true])
    for wrong in ([math.nan, 0.5], [-0.1, 0.5], [0.0, 0.0], []):
        with pytest.raises(InputError, match=r"choices of question 0 have .*: expected probabilities"):
            choice_scores([torch.tensor(wrong)], [[0]])
    with pytest.raises(InputError, match=r"expected \(questions, 2\)"):
        ChoiceAccuracy().update(torch.rand(3))
    for wrong in ([0.5, 0.5], [1.0, 1.5], [1.0, math.nan]):
        with pytest.raises(InputError, match="an MC1 not 0 or 1, or an MC2 not within 0 to 1"):
            ChoiceAccuracy().update(torch.tensor([wrong]))
