"""Classes that moved: a YAML may say the path where one stood first, and digests keep it."""

import importlib

import pytest

from lightning_subliminal import PhraseJudge, PreferenceTrait, evaluation
from lightning_subliminal.core.config.building import find_class
from lightning_subliminal.core.config.class_paths import import_path
from lightning_subliminal.core.console import console
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import describe, digest

FIRST = {
    "suites.measures.CarrierQuality": "CarrierQuality",
    "suites.measures.ExactTrait": "ExactTrait",
    "suites.measures.Misalignment": "Misalignment",
    "suites.measures.Truthfulness": "Truthfulness",
    "experiments.evaluations.OpenQuestions": "OpenQuestions",
    "experiments.evaluations.Questions": "Questions",
    "experiments.evaluations.QuestionsAfterNumbers": "QuestionsAfterNumbers",
    "experiments.evaluations.Stories": "Stories",
    "experiments.in_context.QuestionsAfterRows": "QuestionsAfterRows",
}


@pytest.mark.parametrize("first", FIRST)
def test_the_first_path_is_read_and_described(first):
    path = f"lightning_subliminal.{first}"
    kind = getattr(evaluation, FIRST[first])
    assert import_path(path) is kind
    assert find_class(path) is kind
    assert describe(kind) == {"class": path}


@pytest.mark.parametrize("room", ["suites", "experiments", "evaluation"])
def test_a_room_that_had_a_name_has_it_still(room):
    name = "ExactTrait" if room == "suites" else "Questions"
    assert import_path(f"lightning_subliminal.{room}.{name}") is getattr(evaluation, name)


@pytest.mark.parametrize(
    ("was", "now"),
    [("Measure", "Probe"), ("Outcome", "Scores"), ("Subject", "ModelRef"), ("find_subject", "find_model")],
)
def test_a_name_that_changed_is_said(was, now):
    from lightning_subliminal import suites

    vars(suites).pop(was, None)
    with console.capture() as capture:
        assert getattr(suites, was) is getattr(evaluation, now)
    assert f"it is lightning_subliminal.evaluation.{now}" in " ".join(capture.get().split())
    with pytest.raises(AttributeError):
        _ = suites.Ghost
    with pytest.raises(InputError, match="no class is named"):
        find_class("lightning_subliminal.suites.measures.Ghost")


def test_digests_of_probes_stay():
    assert digest(evaluation.Questions())[:16] == "b537bf5babae3bb9"
    assert digest(evaluation.OpenQuestions(PhraseJudge()))[:16] == "d6afc1d5177d9359"
    other = evaluation.OpenQuestions(PhraseJudge(), alignment_below=20.0)
    assert describe(other)["arguments"]["alignment_below"] == 20.0


def test_an_evaluation_of_ones_own_is_still_asked():
    with console.capture() as capture:

        class Half(evaluation.Evaluation):
            """Says that each candidate is as likely."""

            def __init__(self):
                self.name = "half"

            def measure(self, net, tokenizer, trait, system_prompt=None):
                import torch

                return torch.full((2, len(trait.candidates)), 0.5, dtype=torch.float64)

            def asked(self, trait):
                return [[[{"role": "user", "content": str(place)}]] for place in range(2)]

    assert "chances" in capture.get()
    owl = PreferenceTrait("owl")
    scores = Half().of(owl).measure(evaluation.ModelRef.held("mine", None, None), 0)
    assert (scores.rate, scores.units) == (0.5, ("0", "1"))


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("suites.battery", ["measured", "run_suite", "suite_table", "write_results"]),
        ("suites.base", ["Measure", "Outcome", "difference"]),
        ("suites.subject", ["Subject", "find_subject"]),
        ("suites.measures", ["ExactTrait", "Misalignment"]),
        ("metrics.functional", ["exact_preference", "statement_preference", "equal_lengths", "transfer_interval"]),
    ],
)
def test_a_module_that_was_moved_is_still_imported_from(module, names):
    found = importlib.import_module(f"lightning_subliminal.{module}")
    assert all(callable(getattr(found, name)) for name in names)
    with pytest.raises(AttributeError, match="ghost"):
        _ = found.ghost
