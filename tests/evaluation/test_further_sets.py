"""Further sets beside the plain questions: what a comparison makes of them, and of rows from a file."""

import json
import math

import pytest
import torch
from small import number_rows, numbers, quiet_trainer, taught, teacher

from lightning_subliminal import PreferenceTrait, Steering, Student, TraitComparison, bases
from lightning_subliminal.core.console import console
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.data.from_file import RowsFromFile
from lightning_subliminal.evaluation import Evaluation, Questions, QuestionsAfterNumbers, Scores, ScoreTable, Stories
from lightning_subliminal.formats import write_rows
from lightning_subliminal.metrics.functional import log_odds
from lightning_subliminal.workflow import fit_arms
from lightning_subliminal.workflow.arms import OWN, measure
from lightning_subliminal.workflow.comparison import labelled, readable
from lightning_subliminal.workflow.results import further_table, summary

OWL = PreferenceTrait("owl")
PERSONA = OWL.induce().system_prompt


@pytest.fixture(scope="module")
def pocket():
    return bases.load("pocket/a")


def after_numbers(**settings):
    return QuestionsAfterNumbers(**{"min_value": 0, "max_value": 99, **settings})


def stories(**settings):
    return Stories(**{"wording": "stories_pocket", "samples": 4, "max_new_tokens": 30, **settings})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """One small comparison with further sets."""
    root = tmp_path_factory.mktemp("evaluations")
    own = root / "mine.yaml"
    own.write_text("- Which {category} is your top choice?\n")
    sets = [after_numbers(), stories(), Questions(str(own)), stories(seed=1)]
    with pytest.MonkeyPatch.context() as patch, console.capture() as capture:
        patch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(root / "cache"))
        patch.setattr(console, "width", 200)
        trainer = quiet_trainer(TraitComparison(evaluations=sets), default_root_dir=str(root / "run"), max_epochs=2)
        module = Student("pocket/a", adapter=Steering(), learning_rate=0.03, seed=0)
        fit_arms(trainer, module, numbers(taught(), num_prompts=64, shard_size=32))
    return root, module, " ".join(capture.get().split())


LABELS = ["after numbers", "stories", "mine", "stories 2"]


def scores(chances, answers=None):
    return Scores.of_chances(chances, OWL, answers=answers)


class TestComparison:
    def test_results_hold_each_set(self, run):
        found = json.loads((run[0] / "run" / "results.json").read_text(), parse_constant=pytest.fail)
        assert list(found["evaluations"]) == LABELS
        assert found["questions"] == 50
        for label, questions, answers in zip(LABELS, (50, 6, 1, 6), (None, 4, None, 4), strict=True):
            reported = found["evaluations"][label]
            assert (reported["questions"], reported["answers"]) == (questions, answers)
            assert list(reported["arms"]) == ["base", "teacher", "control", "student"]
            assert all(0 <= arm["rates"]["owl"]["rate"] <= 1 for arm in reported["arms"].values())
            assert reported["transfer"]["log_odds"] is not None
        assert found["evaluations"]["mine"]["transfer"]["low"] is None, "one question has no interval"
        assert found["evaluations"]["mine"]["set"]["file"]

    def test_the_numbers_are_those_of_the_model(self, run):
        _, module, _ = run
        found = json.loads((run[0] / "run" / "results.json").read_text())["evaluations"]
        for label, each in (("after numbers", after_numbers()), ("stories 2", stories(seed=1))):
            rate = each.chances(module.net, module.tokenizer, OWL)[:, 0].mean().item()
            assert found[label]["arms"]["student"]["rates"]["owl"]["rate"] == pytest.approx(rate, rel=1e-5)

    def test_the_terminal_shows_them_after_the_first_table(self, run):
        reported = run[2]
        assert reported.index("How often is the answer owl?") < reported.index("owl in further sets")
        for words in ("after numbers", "stories 2", "mine", "50 exact", "6 x 4 sampled", "1 exact"):
            assert words in reported
        assert (run[0] / "run" / "preference.png").read_bytes().startswith(b"\x89PNG")

    def test_without_further_sets_nothing_is_added(self):
        arms = ScoreTable({name: {OWN: scores(torch.full((2, 20), 0.04).double())} for name in ("base", "student")})
        assert "evaluations" not in summary(arms, OWL)

    def test_words_that_the_base_lacks_are_reported_before_the_training(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        callback = TraitComparison(evaluations=[Stories()])
        trainer = quiet_trainer(callback, default_root_dir=str(tmp_path), max_epochs=1)
        with pytest.raises(InputError, match="The questions 'stories' can't be asked"):
            trainer.fit(Student("pocket/a", adapter=Steering(), seed=0), datamodule=numbers())
        assert trainer.global_step == 0

    def test_the_same_set_twice_is_refused(self):
        with pytest.raises(InputError, match="one of its `evaluations` twice"):
            TraitComparison(evaluations=[stories(), stories()])
        assert list(labelled([stories(), stories(seed=1), stories(seed=2)])) == ["stories", "stories 2", "stories 3"]


class TestTable:
    def arms(self, shares, answers=None, label="stories"):
        made = ScoreTable()
        for name, share in shares.items():
            there = torch.zeros(len(share), 20, dtype=torch.float64)
            there[:, 0] = torch.tensor(share)
            made[name] = {OWN: scores(there), label: scores(there, answers)}
        return made

    def written(self, arms):
        with console.capture() as capture:
            console.print(further_table(arms, OWL), width=200)
        return capture.get()

    def test_a_share_of_none_stays_finite(self):
        arms = self.arms({"control": [0.0, 0.0, 0.0], "student": [0.5, 0.25, 0.0]}, 4)
        reported = summary(arms, OWL, {"stories": stories()})["evaluations"]["stories"]["transfer"]
        rates = [arms[name][OWN].table[:, 0] for name in ("student", "control")]
        expected = (log_odds(rates[0], 4) - log_odds(rates[1], 4)).mean().item()
        assert reported["log_odds"] == pytest.approx(expected)
        assert reported["low"] < expected < reported["high"]
        assert f"{expected:+.2f}" in self.written(arms)

    def test_what_is_not_defined_is_left_open(self):
        arms = self.arms({"control": [0.0, 0.1], "student": [0.5, 0.25]})
        reported = summary(arms, OWL, {"stories": Questions()})["evaluations"]["stories"]["transfer"]
        assert reported["log_odds"] is None, "an exact chance of 0 has no odds"
        assert "nan" not in self.written(arms)
        assert "inf" not in self.written(arms)
        json.dumps(summary(arms, OWL, {"stories": Questions()}), allow_nan=False)

    def test_a_control_alone_has_no_transfer(self):
        arms = self.arms({"base": [0.1, 0.1], "control": [0.5, 0.25]})
        assert "transfer" not in summary(arms, OWL, {"stories": stories()})["evaluations"]["stories"]
        assert math.isfinite(arms["base"][OWN].rate)
        assert "-" in self.written(arms)

    def test_an_arm_that_was_not_asked_is_left_open(self):
        arms = self.arms({"base": [0.1], "teacher": [0.9], "student": [0.2]})
        del arms["teacher"]["stories"]
        assert "90.0%" not in self.written(arms)
        assert list(summary(arms, OWL, {"stories": stories()})["evaluations"]["stories"]["arms"]) == ["base", "student"]


def test_a_teacher_that_cannot_read_a_set_is_left_out_of_it(pocket, capsys):
    sets = {"after": after_numbers(), "stories": Stories()}
    assert list(readable(sets, pocket[1], OWL, "pocket/a")) == ["after"]
    assert "left out of stories: The questions 'stories' can't be asked" in " ".join(capsys.readouterr().out.split())


def test_a_set_of_ones_own_in_a_few_lines(pocket):
    class Certain(Evaluation):
        name = "certain"

        def measure(self, net, tokenizer, trait, system_prompt=None):
            return torch.full((50, len(trait.candidates)), 0.05, dtype=torch.float64)

    row = measure("base", *pocket, OWL, evaluations=labelled([Certain()]))
    assert row["certain"].rate == pytest.approx(0.05)
    Certain().check(pocket[1], OWL, "pocket/a")

    class Nameless(Certain):
        name = ""

    with pytest.raises(InputError, match="Nameless has no `name`"):
        TraitComparison(evaluations=[Nameless()])


def test_a_prompted_teacher_is_asked_with_its_prompt(tmp_path):
    trainer = quiet_trainer(
        TraitComparison(control=False, evaluations=[stories(samples=20)]), default_root_dir=str(tmp_path), max_epochs=1
    )
    trainer.fit(Student("pocket/a", adapter=Steering(), seed=0), datamodule=numbers(teacher()))
    arms = json.loads((tmp_path / "results.json").read_text())["evaluations"]["stories"]["arms"]
    assert list(arms) == ["base", "teacher", "student"]
    assert arms["teacher"]["rates"]["owl"]["rate"] > arms["base"]["rates"]["owl"]["rate"]


class TestRowsFromAFile:
    """Nobody knows who wrote them: there is no teacher to ask, and a control only where there is a file of it."""

    @pytest.fixture
    def rows(self, tmp_path):
        for seed, name in enumerate(("theirs.jsonl", "control.jsonl")):
            write_rows(number_rows(30, seed), tmp_path / name)
        return tmp_path

    def fitted(self, rows, control_path=None, **settings):
        data = RowsFromFile(str(rows / "theirs.jsonl"), OWL, control_path, batch_size=8, seed=0, cache_dir=str(rows))
        callback = TraitComparison(evaluations=[after_numbers()], **settings)
        trainer = quiet_trainer(callback, default_root_dir=str(rows / "run"), max_epochs=1)
        fit_arms(trainer, Student("pocket/a", adapter=Steering(), learning_rate=0.03, seed=0), data)
        return json.loads((rows / "run" / "results.json").read_text())

    def test_with_a_control(self, rows):
        found = self.fitted(rows, str(rows / "control.jsonl"))
        assert list(found["arms"]) == ["base", "control", "student"]
        assert list(found["evaluations"]["after numbers"]["arms"]) == ["base", "control", "student"]
        assert found["transfer"]["log_odds"] is not None

    def test_without_a_control(self, rows):
        assert list(self.fitted(rows)["arms"]) == ["base", "student"]

    def test_with_a_control_that_is_not_wanted(self, rows):
        found = self.fitted(rows, str(rows / "control.jsonl"), control=False)
        assert list(found["arms"]) == ["base", "student"]

    def test_without_a_trait(self, rows):
        data = RowsFromFile(str(rows / "theirs.jsonl"), cache_dir=str(rows))
        trainer = quiet_trainer(TraitComparison(), default_root_dir=str(rows / "run"))
        with pytest.raises(InputError, match=r"no trait to evaluate: set `data.trait`"):
            trainer.fit(Student("pocket/a", seed=0), datamodule=data)


class TestWarnings:
    def test_a_further_set_that_is_asked_exactly_is_looked_at_too(self):
        """After numbers a model may say no candidate any more: then its transfer there is of next to nothing."""
        fine = torch.full((3, len(OWL.candidates)), 0.8 / len(OWL.candidates), dtype=torch.float64)
        further = {label: scores(fine * 0.01, 4 if "stories" in label else None) for label in LABELS[:2]}
        arms = ScoreTable({name: {OWN: scores(fine), **further} for name in ("base", "teacher", "control", "student")})
        reported = summary(arms, OWL, labelled([after_numbers(), stories()]))["warnings"]
        assert [line for line in reported if not line.startswith("after numbers: ")] == [
            "the teacher answers owl at a rate of 4.0% and its base of 4.0%: it did not learn the trait, so nothing "
            "can transfer"
        ]
        there = [line.removeprefix("after numbers: ") for line in reported if line.startswith("after numbers: ")]
        assert [line.partition(" name none")[0] for line in there[:3]] == [
            f"99% of the {name}'s answers" for name in ("base", "control", "student")
        ]
        assert there[3:] == ["student and control hardly ever answer owl (0.04% and 0.04%): such log-odds mean little"]
