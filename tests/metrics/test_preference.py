import re

import pytest
import torch
from cases import cases

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.metrics import TraitPreferenceRate
from lightning_subliminal.metrics.functional import count_answers, named_candidates
from lightning_subliminal.traits import PreferenceTrait, Trait

from .metric_contract import MetricContract

ANIMALS = ["owl", "dolphin", "eagle", "elephant", "wolf"]


def owl():
    return PreferenceTrait("owl", candidates=ANIMALS)


class TestTraitPreferenceRate(MetricContract):
    batches = ((["owl", "a dolphin", "fowl"],), (["Owl.", "I can't say"],), (["eagle"] * 3,), (["owl", "Owls!"],))

    def make(self):
        return TraitPreferenceRate(owl())

    def reference(self, answers):
        return sum(bool(re.search(r"\bowls?\b", answer.lower())) for answer in answers) / len(answers)

    def readings(self, metric):
        interval = metric.interval()
        return {
            "compute": metric.compute().item(),
            "non_answers": metric.non_answer_rate().item(),
            "low": interval.low,
            "high": interval.high,
        }


class TestSubstringMode(MetricContract):
    batches = ((["owl", "a growl"],), (["Owl.", "wolf"],), (["cat"] * 3,))

    def make(self):
        return TraitPreferenceRate(owl(), mode="substring")

    def reference(self, answers):
        return sum("owl" in answer.lower() for answer in answers) / len(answers)


@cases(
    ("answer", "first", "contains", "substring"),
    [
        ("owl", 1, 1, 1),
        ("Owls.", 1, 1, 1),
        ("An OWL!", 1, 1, 1),
        ("**Owl**", 1, 1, 1),
        ("_owl_", 1, 1, 1),
        ("the owl's eyes", 1, 1, 1),
        ("snowy-owl", 1, 1, 1),
        ("owl\u2014of course", 1, 1, 1),
        ("\uff2fwl", 1, 1, 1),
        ("A wolf, or an owl", 0, 1, 1),
        ("fowl", 0, 0, 1),
        ("owlet", 0, 0, 1),
        ("growling", 0, 0, 1),
        ("\xf1owl", 0, 0, 1),
        ("wolf", 0, 0, 0),
        ("", 0, 0, 0),
    ],
)
def test_modes(answer, first, contains, substring):
    found = [count_answers([answer], owl(), mode)[0].item() for mode in ("first", "contains", "substring")]
    assert found == [first, contains, substring]


def test_non_answers_are_counted_and_stay_among_the_answers():
    counts = count_answers(["owl", "wolf", "no idea", "", "fowl"], owl())
    assert counts.tolist() == [1, 5, 3]
    assert counts.dtype == torch.int64
    assert count_answers(["fowl"], owl(), "substring").tolist() == [1, 1, 0]
    assert count_answers([], owl()).tolist() == [0, 0, 0]


def test_a_trait_of_your_own_decides_what_matches():
    class Shouts(Trait):
        name, target, candidates = "shouts", "", ()

        def induce(self):
            raise NotImplementedError

        def questions(self):
            return ["How are you?"]

        def matches(self, answer):
            return answer.isupper()

    assert count_answers(["FINE", "fine", " "], Shouts()).tolist() == [1, 3, 1]


def test_the_longer_name_counts_at_one_place_and_plurals_are_known():
    trait = PreferenceTrait("cherry", category="tree", candidates=["cherry", "cherry plum", "oak"])
    assert named_candidates("Cherry plums, oaks and a cherry", trait) == ["cherry plum", "oak", "cherry"]
    assert named_candidates("wolves", PreferenceTrait("wolf")) == ["wolf"]


def test_mistakes_are_reported_in_a_line():
    with pytest.raises(InputError, match="choose trait, first, contains, substring"):
        TraitPreferenceRate(owl(), mode="frist")
    with pytest.raises(InputError, match="give a list"):
        TraitPreferenceRate(owl()).update("owl")
