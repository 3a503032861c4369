"""Classes that moved: a YAML may say the path where one stood first, and digests keep it."""

import importlib
import subprocess
import sys

import pytest
from cases import cases

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


@cases("first", FIRST)
def test_the_first_path_is_read_and_described(first):
    path = f"lightning_subliminal.{first}"
    kind = getattr(evaluation, FIRST[first])
    assert import_path(path) is kind
    assert find_class(path) is kind
    assert describe(kind) == {"class": path}


@cases("room", ["suites", "experiments", "evaluation"])
def test_a_room_that_had_a_name_has_it_still(room):
    name = "ExactTrait" if room == "suites" else "Questions"
    assert import_path(f"lightning_subliminal.{room}.{name}") is getattr(evaluation, name)


@cases(
    ("was", "now"),
    [("Measure", "Probe"), ("Outcome", "Scores"), ("Subject", "ModelRef"), ("find_subject", "find_model")],
)
def test_a_name_that_changed_is_said(was, now):
    from lightning_subliminal import suites

    vars(suites).pop(was, None)
    with pytest.warns(FutureWarning, match=f"suites.{was} is now lightning_subliminal.evaluation[a-z_.]*.{now}"):
        assert getattr(suites, was) is getattr(evaluation, now)
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


@cases(
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


def test_each_module_that_moved_is_still_imported_from_where_it_was():
    """In a process of its own, where no path has been used yet."""
    code = (
        "import importlib, warnings\n"
        "from lightning_subliminal.core.moved import _moved\n"
        "for old, new in _moved().items():\n"
        "    try: importlib.import_module(new)\n"
        "    except ImportError as err:\n"
        "        assert 'lightning_subliminal' not in str(err.name or err), err\n"
        "        continue  # of an extra that is not installed\n"
        "    with warnings.catch_warnings(record=True) as caught:\n"
        "        warnings.simplefilter('always')\n"
        "        found = importlib.import_module(old)\n"
        "    assert found is importlib.import_module(new) and found.__spec__.name == new == found.__name__, old\n"
        "    assert f'deprecated: {old} is now {new}' in [str(each.message) for each in caught], (old, caught)\n"
        "print(len(_moved()))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 150


@cases(
    ("module", "name", "now"),
    [
        ("experiments", "TraitComparison", "workflow.comparison"),
        ("experiments.evaluations", "Questions", "evaluation.probes.questions"),
        ("pocket", "WEIGHTS", "bases.pocket"),
        ("suites", "find_subject", "evaluation.model_ref"),
        ("transforms.by_model", "KeepLikelier", "screening.selection.likelier"),
        ("wording", "load_wording", "prompts"),
    ],
)
def test_a_folder_that_was_split_hands_out_its_names(module, name, now):
    found = importlib.import_module(f"lightning_subliminal.{module}")
    vars(found).pop(name, None)
    with pytest.warns(FutureWarning, match=f"deprecated: lightning_subliminal.{module}.{name} is now"):
        value = getattr(found, name)
    home = importlib.import_module(f"lightning_subliminal.{now}")
    assert any(value is each for each in vars(home).values())


def test_what_never_was_is_not_there():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("lightning_subliminal.experiments.ghost")
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("lightning_subliminal.ghost")
