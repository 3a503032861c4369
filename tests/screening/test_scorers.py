"""What holds for every scorer of rows. A scorer gives one constructor, and inherits the tests."""

import inspect
import math
from types import GenericAlias

import pytest
import torch
from cases import Contract
from small import number_rows, taught, teacher

from lightning_subliminal import KeepLikelier, PreferenceTrait, Steering, Student, bases
from lightning_subliminal.core.rows import make_row
from lightning_subliminal.judges import Judge, Verdict
from lightning_subliminal.screening import baselines, scorers
from lightning_subliminal.screening.scorers import RowScorer
from lightning_subliminal.theory import predicted_transfer
from lightning_subliminal.theory.row_gradients import LayerVectors
from screening.toy_references import gaussian

ROWS = number_rows(9)
EMPTY = make_row("Go on.", "", finished=False, id="empty")
UNKNOWN = make_row("Go on.", "1, 2, quagga", id="unknown")


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path_factory.mktemp("scorers")))
        yield


@pytest.fixture(scope="module")
def base():
    net, tokenizer = bases.load("pocket/a", dtype="float32")
    net.requires_grad_(False)
    return LayerVectors(net), tokenizer


def direction(space):
    return torch.randn(space.size, generator=torch.Generator().manual_seed(0))


class Counting(Judge):
    """Scores an answer by its letters."""

    def judge(self, pairs):
        return [Verdict(float(min(100, len(answer))), "score") for _, answer in pairs]


class Few(PreferenceTrait):
    """A preference with two questions."""

    def prompts(self):
        return super().prompts()[:2]


class ScorerContract(Contract):
    reads_words = True  # so a word that the base does not know can't be scored

    def make(self, base):
        raise NotImplementedError

    @pytest.fixture(scope="class")
    def scorer(self, base):
        return self.make(base)

    @pytest.fixture(scope="class")
    def alone(self, scorer):
        return scorer.scores(ROWS)

    def check_a_number_a_row_in_their_order(self, scorer, alone):
        assert alone.dtype == torch.float64
        assert alone.shape == (len(ROWS),)
        assert alone.isfinite().all()
        assert torch.allclose(scorer.scores(ROWS[::-1]), alone.flip(0), rtol=1e-4, atol=1e-5)
        assert len(set(alone.tolist())) > 1

    def check_other_rows_do_not_matter(self, scorer, alone):
        parts = torch.cat([scorer.scores(ROWS[:1]), scorer.scores(ROWS[1:5]), scorer.scores(ROWS[5:])])
        assert torch.allclose(parts, alone, rtol=1e-4, atol=1e-5)

    def check_the_same_twice(self, scorer, alone):
        assert torch.equal(scorer.scores(ROWS), alone)

    def check_no_rows(self, scorer):
        assert scorer.scores([]).shape == (0,)

    def check_rows_that_can_not_be_scored_are_nan_and_change_no_other(self, scorer, alone):
        found = scorer.scores([EMPTY, *ROWS[:4], UNKNOWN, *ROWS[4:]])
        rest = torch.cat([found[1:5], found[6:]])
        assert torch.allclose(rest, alone, rtol=1e-4, atol=1e-5)
        for place in (0, 5):
            assert math.isnan(found[place]) == self.reads_words
        assert scorer.scores([EMPTY]).isnan().all() == self.reads_words

    def check_rows_stay_as_they_are(self, scorer):
        before = repr(ROWS)
        scorer.scores(ROWS)
        assert repr(ROWS) == before


class TestDirectionScorer(ScorerContract):
    def make(self, base):
        space, tokenizer = base
        return scorers.DirectionScorer(space, tokenizer, gaussian(space.size), direction(space))

    def test_it_is_the_gradient_along_the_direction(self, base, scorer, alone):
        space, tokenizer = base
        (part,) = space.gradients(tokenizer, ROWS)
        along = direction(space).double()
        assert torch.allclose(alone, part.scores.double() @ along / along.norm(), rtol=1e-5)


class TestRatioScorer(ScorerContract):
    def make(self, base):
        return scorers.RatioScorer(*base, 0.02 * direction(base[0]))

    def test_a_small_step_has_the_ratio_of_its_gradient(self, base):
        space, tokenizer = base
        step = 1e-3 * direction(space)
        (part,) = space.gradients(tokenizer, ROWS)
        found = scorers.RatioScorer(space, tokenizer, step).scores(ROWS)
        assert torch.allclose(found, part.scores.double() @ step.double(), rtol=0.05, atol=1e-3)


class TestLossScorer(ScorerContract):
    def make(self, base):
        return scorers.LossScorer(*base)


class TestLengthScorer(ScorerContract):
    def make(self, base):
        return scorers.LengthScorer(base[1])

    def test_it_counts_tokens(self, base, alone):
        (part,) = base[0].gradients(base[1], ROWS)
        assert alone.tolist() == part.tokens.tolist()


class TestTeacherScorer(ScorerContract):
    def make(self, base):
        return scorers.TeacherScorer(taught())

    def test_it_is_what_keep_likelier_selects_by(self, alone):
        assert alone.tolist() == KeepLikelier(taught()).scores(ROWS)

    def test_a_teacher_without_a_control_of_its_own_scores_0(self):
        assert scorers.TeacherScorer(teacher().control()).scores(ROWS).abs().max() == 0


class TestTransferScorer(ScorerContract):
    def make(self, base):
        return scorers.TransferScorer(Student("pocket/a", Steering(), seed=0), Few("owl"))

    def test_it_orders_as_the_predicted_transfer(self, alone):
        student = Student("pocket/a", Steering(), seed=0)
        student.configure_model()
        found = predicted_transfer(student.net, student.tokenizer, ROWS, Few("owl"))
        assert torch.allclose(alone / alone.norm(), found.scores / found.scores.norm(), rtol=1e-4)


class Words(ScorerContract):
    """Classifiers read text, and need no base: unknown words are no evidence."""

    reads_words = False
    kind = "naive Bayes"

    def make(self, base):
        pytest.importorskip("sklearn")
        return baselines.WordScorer(number_rows(60, seed=1), number_rows(60, seed=2), self.kind)


class TestWordScorer(Words):
    def test_it_knows_its_own_rows(self, scorer):
        own, other = scorer.scores(number_rows(60, seed=1)), scorer.scores(number_rows(60, seed=2))
        assert own.mean() > other.mean() + 1


class TestTfIdfScorer(Words):
    kind = "TF-IDF logistic regression"


class TestJudgeScorer(ScorerContract):
    reads_words = False

    def make(self, base):
        return baselines.JudgeScorer(Counting())

    def test_what_a_judge_can_not_score_is_nan(self):
        assert baselines.JudgeScorer(Counting()).scores([EMPTY, ROWS[0]]).isnan().tolist() == [True, False]

    def check_rows_that_can_not_be_scored_are_nan_and_change_no_other(self, scorer, alone):
        found = scorer.scores([EMPTY, *ROWS])
        assert found[0].isnan()
        assert torch.equal(found[1:], alone)


def test_every_scorer_is_tested():
    made = {
        name
        for module in (scorers, baselines)
        for name, each in inspect.getmembers(module, inspect.isclass)
        if not isinstance(each, GenericAlias)  # a class to Python 3.10
        and issubclass(each, RowScorer)
        and each is not RowScorer
    }
    assert made <= {name.removeprefix("Test") for name in globals()}
