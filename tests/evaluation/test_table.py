"""One evaluation: probes put to models give one table, and transfer is a contrast of two of its rows."""

import pytest
import torch
from cases import cases
from small import CPU

from lightning_subliminal import PreferenceTrait, bases
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.evaluation import (
    ModelRef,
    Questions,
    SampledAnswers,
    Scores,
    ScoreTable,
    TraitProbe,
    evaluate,
    find_model,
)
from lightning_subliminal.metrics.functional import (
    named_candidates,
    question_probabilities,
    targeted_transfer,
    transfer,
)

OWL = PreferenceTrait("owl")


@pytest.fixture(scope="module")
def pocket():
    return bases.load("pocket/a")


def scores(chances, **settings):
    return Scores.of_chances(chances, PreferenceTrait("owl", candidates=["owl", "cat", "dog"]), **settings)


def test_a_table_of_two_models_and_their_contrast(tmp_path):
    owl = Questions().of(OWL, "owl")
    table = evaluate([find_model("one=pocket/a"), find_model("two=pocket/b")], [owl], 0, CPU, str(tmp_path))
    one, two = (question_probabilities(*bases.load(f"pocket/{name}"), OWL) for name in "ab")
    assert table["one"]["owl"].rate == one[:, 0].mean().item()
    moved = table.contrast("one", "two")
    assert moved.log_odds == transfer(one, two)[:, 0].mean().item()
    assert moved.targeted.log_odds == pytest.approx(targeted_transfer(one, two, 0).log_odds)
    assert moved.targeted.rank == targeted_transfer(one, two, 0).rank
    again = evaluate([find_model("one=pocket/a")], [owl], 0, CPU, str(tmp_path))
    assert again["one"] == table["one"], "it is read, not asked again"


def test_rows_and_columns_that_are_not_there_are_named():
    even = torch.full((4, 3), 0.2, dtype=torch.float64)
    table = ScoreTable(one={"owl": scores(even)}, two={"cat": scores(even)})
    with pytest.raises(InputError, match="no 'ghost' at 'owl': expected one of one, two"):
        table.contrast("ghost", "one")
    with pytest.raises(InputError, match="no 'two' at 'owl': expected one of cat"):
        table.contrast("one", "two")
    assert list(table.column("owl")) == ["one"]
    assert ScoreTable().contrasts("one") == []


def test_each_row_of_chances_needs_its_question():
    with pytest.raises(InputError, match="There are 3 questions and chances at 4"):
        scores(torch.full((4, 3), 0.2), units=("a", "b", "c"))


@cases("dtype", ["bfloat16", "float16"])
def test_figures_of_each_dtype_are_kept_apart(dtype):
    plain, half = find_model("pocket/a"), find_model("pocket/a", dtype=dtype)
    assert "dtype" not in plain.digest, "what was kept before is still found"
    assert half.digest == plain.digest | {"dtype": dtype}
    assert next(half.load(CPU).net.parameters()).dtype == getattr(torch, dtype)
    half.check_same()


@cases("dtype", ["int8", "float64", "Float32", ""])
def test_other_dtypes_are_refused(dtype):
    with pytest.raises(InputError, match=r"`dtype` is .*: expected one of float32, bfloat16, float16"):
        find_model("pocket/a", dtype=dtype)


class TestSampledAnswers:
    def test_shares_are_those_of_its_answers(self, pocket):
        few = [OWL.prompts()[:1], OWL.prompts()[1:2]]
        found = (
            SampledAnswers(samples=8, max_new_tokens=6).of(OWL, questions=few).measure(ModelRef.held("", *pocket), 3)
        )
        assert len(found.samples) == 16
        named = [named_candidates(each["answer"], OWL) for each in found.samples]
        for candidate in OWL.candidates:
            shares = [sum(candidate in each for each in named[start : start + 8]) / 8 for start in (0, 8)]
            assert found.chances[candidate] == tuple(shares)
        assert (found.exact, found.answers, found.counts) == (False, 8, {"answers": 16})

    def test_the_seed_is_the_evaluations(self, pocket):
        asked = SampledAnswers(samples=4, max_new_tokens=6).of(OWL, questions=[OWL.prompts()[:1]])
        first, again, other = (asked.measure(ModelRef.held("", *pocket), seed).samples for seed in (0, 0, 1))
        assert first == again != other

    def test_no_answers_are_refused(self):
        with pytest.raises(InputError, match="`samples` is 0"):
            SampledAnswers(samples=0)


def test_a_probe_of_no_trait_says_how_it_gets_one(pocket):
    for probe in (Questions(), SampledAnswers()):
        assert isinstance(probe, TraitProbe)
        with pytest.raises(InputError, match=r"has no trait: use `probe.of\(trait\)`"):
            probe.measure(ModelRef.held("", *pocket), 0)
    assert Questions().of(OWL, "mine").name == "mine"
