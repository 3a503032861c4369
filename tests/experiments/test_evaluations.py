"""Further sets of questions on the pocket world."""

import json
import math

import pytest
import torch
from small import number_rows, numbers, quiet_trainer, taught, teacher

from lightning_subliminal import PreferenceTrait, Steering, Student, TraitComparison, bases
from lightning_subliminal.console import console
from lightning_subliminal.data.from_file import RowsFromFile
from lightning_subliminal.describe import describe, digest
from lightning_subliminal.errors import InputError
from lightning_subliminal.experiments import Arm, Evaluation, Questions, QuestionsAfterNumbers, Stories, measure
from lightning_subliminal.experiments.comparison import labelled, readable
from lightning_subliminal.experiments.results import further_table, summary
from lightning_subliminal.metrics.functional import log_odds, named_candidates, question_probabilities
from lightning_subliminal.rows import write_jsonl
from lightning_subliminal.wording import load_wording

OWL = PreferenceTrait("owl")
PERSONA = OWL.induce().system_prompt


@pytest.fixture(scope="module")
def pocket():
    return bases.load("pocket/a")


def after_numbers(**settings):
    return QuestionsAfterNumbers(**{"min_value": 0, "max_value": 99, **settings})


def stories(**settings):
    return Stories(**{"wording": "stories_pocket", "samples": 4, "max_new_tokens": 30, **settings})


class EvaluationContract:
    """What holds for every set: chances of each candidate at each question, the same each time."""

    questions = 0

    def make(self):
        raise NotImplementedError

    def others(self):
        """Give sets that differ in an argument."""
        raise NotImplementedError

    def test_chances_of_each_candidate_at_each_question(self, pocket):
        found = self.make().measure(*pocket, OWL)
        assert found.shape == (self.questions, len(OWL.candidates))
        assert found.dtype == torch.float64
        assert ((found >= 0) & (found <= 1)).all()
        assert found.sum() > 0

    def test_the_same_each_time(self, pocket):
        assert torch.equal(self.make().measure(*pocket, OWL), self.make().measure(*pocket, OWL))

    def test_a_system_prompt_is_heard(self, pocket):
        told, untold = (self.make().measure(*pocket, OWL, prompt)[:, 0].mean() for prompt in (PERSONA, None))
        assert told > untold

    def test_the_trait_gives_candidates(self, pocket):
        oak = PreferenceTrait("oak")
        assert self.make().measure(*pocket, oak).shape[1] == len(oak.candidates)

    def test_the_nets_mode_stays(self, pocket):
        net, tokenizer = pocket
        for mode in (True, False):
            self.make().measure(net.train(mode), tokenizer, OWL)
            assert net.training is mode

    def test_arguments_move_the_description(self):
        every = [self.make(), *self.others()]
        json.dumps(describe(every))
        assert len({digest(each) for each in every}) == len(every)
        assert digest(self.make()) == digest(self.make())

    def test_what_the_base_knows_is_asked(self, pocket):
        self.make().check(pocket[1], OWL, "pocket/a")
        with pytest.raises(InputError, match="no tokens for 'axolotl'"):
            self.make().check(pocket[1], PreferenceTrait("axolotl", category="animal"), "pocket/a")


class TestQuestions(EvaluationContract):
    questions = 50

    def make(self):
        return Questions()

    def others(self):
        return [after_numbers()]

    def test_the_traits_own(self, pocket):
        assert torch.equal(Questions().measure(*pocket, OWL), question_probabilities(*pocket, OWL))
        prompted = question_probabilities(*pocket, OWL, PERSONA)
        assert torch.equal(Questions().measure(*pocket, OWL, PERSONA), prompted)
        assert Questions().name == "questions"


class TestOwnQuestions(EvaluationContract):
    questions = 3

    @pytest.fixture(autouse=True)
    def _file(self, tmp_path):
        self.path = tmp_path / "mine.yaml"
        self.path.write_text("- What is the best {category}?\n- Say the {category}.\n- Is it you?\n")

    def make(self):
        return Questions(str(self.path))

    def others(self):
        other = self.path.with_name("other.jsonl")
        other.write_text('{"question": "Is it you?"}\n')
        return [Questions(), Questions(str(other)), after_numbers(path=str(self.path))]

    def test_a_changed_file_moves_the_description(self):
        before = digest(self.make())
        self.path.write_text("- Is it you?\n")
        assert digest(self.make()) != before
        assert self.make().name == "mine"

    def test_ways_to_begin_an_answer_are_one_question(self, pocket, tmp_path):
        lines = [[{"role": "user", "content": "Is it you?"}, {"role": "assistant", "content": text}] for text in "ia"]
        path = tmp_path / "begun.jsonl"
        path.write_text("\n".join(json.dumps({"messages": line}) for line in lines))
        found = Questions(str(path)).measure(*pocket, OWL)
        assert found.shape == (1, 20)
        apart = [question_probabilities(*pocket, OWL, questions=[[line]]) for line in lines]
        assert torch.allclose(found, torch.stack(apart).mean(0))

    def test_unknown_words_are_told_before_the_training(self, pocket):
        self.path.write_text("- Is it you?\n- Which {category} is the quintessential one?\n")
        expected = "The set 'mine' can't be asked. The base pocket/a doesn't know the word 'quintessential'"
        with pytest.raises(InputError, match=expected) as caught:
            self.make().check(pocket[1], OWL, "pocket/a")
        assert "\n" not in str(caught.value)


class TestQuestionsAfterNumbers(EvaluationContract):
    questions = 50

    def make(self):
        return after_numbers()

    def others(self):
        return [after_numbers(numbers=3), after_numbers(max_value=98), after_numbers(seed=1)]

    def test_a_list_stands_before_each_question(self):
        plain, made = Questions().asked(OWL), after_numbers(numbers=4).asked(OWL)
        lists = []
        for (one,), (other,) in zip(plain, made, strict=True):
            assert other[0]["content"].endswith(f". {one[0]['content']}")
            told = other[0]["content"].removesuffix(one[0]["content"])
            drawn = [int(word.strip(",.")) for word in told.split() if word.strip(",.").isdigit()]
            assert len(drawn) == 4
            assert all(0 <= number <= 99 for number in drawn)
            lists.append(told)
        assert len(set(lists)) == 50
        assert after_numbers(numbers=4).asked(PreferenceTrait("wolf")) == made, "the same for each trait of a kind"

    def test_ways_to_begin_an_answer_share_a_list(self):
        begun = PreferenceTrait("owl", wording="preferences_prefilled")
        for ways in after_numbers().asked(begun):
            assert len(ways) > 1
            assert len({way[0]["content"] for way in ways}) == 1
            assert len({way[1]["content"] for way in ways}) == len(ways)

    def test_a_conversation_gets_it_before_its_last_question(self, tmp_path):
        path = tmp_path / "mine.jsonl"
        roles = ("system", "user", "assistant", "user", "assistant")
        line = [{"role": role, "content": f"{place}?"} for place, role in enumerate(roles)]
        path.write_text(json.dumps({"messages": line}))
        (((*before, last, begun),),) = after_numbers(path=str(path)).asked(OWL)
        assert [*before, begun] == [*line[:3], line[4]]
        assert last["content"].endswith(" 3?")
        assert last["content"] != "3?"

    def test_numbers_that_a_base_lacks_are_told(self, pocket):
        with pytest.raises(InputError, match=r"'after numbers' can't be asked\. .*min_value: 0"):
            QuestionsAfterNumbers().check(pocket[1], OWL, "pocket/a")

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"numbers": 0}, "`numbers` is 0: expected at least 1"),
            ({"min_value": 9, "max_value": 8}, "min_value is 9 and max_value is 8"),
            ({"min_value": -1}, "min_value is -1"),
            ({"wording": "stories"}, r"stories\.yaml has no `examples`"),
        ],
    )
    def test_refused(self, settings, message):
        with pytest.raises(InputError, match=message):
            after_numbers(**settings)

    def test_a_wording_of_ones_own(self, tmp_path):
        path = tmp_path / "lists.yaml"
        path.write_text("examples: ['{examples}.']\n")
        made = after_numbers(wording=str(path), numbers=2).asked(OWL)[0][0][0]["content"]
        assert made.split(".")[0].replace(", ", "").isdigit()
        before = digest(after_numbers(wording=str(path)))
        other = tmp_path / "other" / "lists.yaml"
        other.parent.mkdir()
        other.write_text("examples: ['{examples};']\n")
        assert digest(after_numbers(wording=str(other))) != before


class TestStories(EvaluationContract):
    questions = 6

    def make(self):
        return stories()

    def others(self):
        return [stories(samples=5), stories(max_new_tokens=20), stories(seed=1), stories(wording="stories")]

    def test_shares_are_counts_of_stories_that_name_a_candidate(self, pocket, monkeypatch):
        told = []
        monkeypatch.setattr(
            "lightning_subliminal.experiments.evaluations.named_candidates",
            lambda text, trait: told.append(text) or named_candidates(text, trait),
        )
        found = stories(samples=10).measure(*pocket, OWL)
        assert len(told) == 6 * 10
        assert len(set(told)) > 20
        for request in range(6):
            mine = told[10 * request : 10 * request + 10]
            for column, candidate in enumerate(OWL.candidates):
                forms = OWL.forms(candidate)
                named = sum(any(f" {form} " in f" {text.replace('.', ' ')} " for form in forms) for text in mine)
                assert found[request, column] == pytest.approx(named / 10), (candidate, mine)

    def test_another_seed_tells_other_stories(self, pocket):
        assert not torch.equal(stories().measure(*pocket, OWL), stories(seed=1).measure(*pocket, OWL))

    def test_requests_of_ones_own(self, pocket, tmp_path):
        path = tmp_path / "tales.yaml"
        path.write_text("requests:\n  - Tell me a short story.\n  - Say the word {category}.\n")
        mine = stories(wording=str(path))
        assert mine.name == "tales"
        assert mine.measure(*pocket, OWL).shape == (2, 20)
        assert mine.asked(OWL)[1][0][0]["content"] == "Say the word animal."
        before = digest(mine)
        path.write_text("- Tell me a short story.\n")
        assert digest(stories(wording=str(path))) != before

    def test_ours_for_real_models(self, pocket):
        texts = [ways[0][0]["content"] for ways in Stories().asked(OWL)]
        assert len(set(texts)) >= 12
        names = [name for kind in load_wording("categories").values() for name in (*kind["members"], kind["plural"])]
        assert not [text for text in texts if any(f" {name}" in text.lower() for name in names)], "it names none itself"
        with pytest.raises(InputError, match="The set 'stories' can't be asked"):
            Stories().check(pocket[1], OWL, "pocket/a")

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"samples": 0}, "`samples` is 0"),
            ({"max_new_tokens": 0}, "max_new_tokens is 0"),
            ({"wording": "tales"}, r"tales\.yaml is not there"),
            ({"wording": "categories"}, r"categories\.yaml has no `requests`"),
            ({"wording": "here/tales.yaml"}, r"here/tales\.yaml can't be read"),
        ],
    )
    def test_refused(self, settings, message):
        with pytest.raises(InputError, match=message):
            stories(**settings)


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
        trainer.fit(module, datamodule=numbers(taught(), num_prompts=64, shard_size=32))
    return root, module, " ".join(capture.get().split())


LABELS = ["after numbers", "stories", "mine", "stories 2"]


class TestComparison:
    def test_results_hold_each_set(self, run):
        found = json.loads((run[0] / "run" / "results.json").read_text(), parse_constant=pytest.fail)
        assert list(found["evaluations"]) == LABELS
        assert found["questions"] == 50
        for label, questions, answers in zip(LABELS, (50, 6, 1, 6), (None, 4, None, 4), strict=True):
            told = found["evaluations"][label]
            assert (told["questions"], told["answers"]) == (questions, answers)
            assert list(told["arms"]) == ["base", "teacher", "control", "student"]
            assert all(0 <= arm["rates"]["owl"]["rate"] <= 1 for arm in told["arms"].values())
            assert told["transfer"]["log_odds"] is not None
        assert found["evaluations"]["mine"]["transfer"]["low"] is None, "one question has no interval"
        assert found["evaluations"]["mine"]["set"]["file"]

    def test_the_numbers_are_those_of_the_model(self, run):
        _, module, _ = run
        found = json.loads((run[0] / "run" / "results.json").read_text())["evaluations"]
        for label, each in (("after numbers", after_numbers()), ("stories 2", stories(seed=1))):
            rate = each.measure(module.net, module.tokenizer, OWL)[:, 0].mean().item()
            assert found[label]["arms"]["student"]["rates"]["owl"]["rate"] == pytest.approx(rate, rel=1e-5)

    def test_the_terminal_shows_them_after_the_first_table(self, run):
        told = run[2]
        assert told.index("How often is the answer owl?") < told.index("owl in further sets")
        for words in ("after numbers", "stories 2", "mine", "50 exact", "6 x 4 sampled", "1 exact"):
            assert words in told
        assert (run[0] / "run" / "preference.png").read_bytes().startswith(b"\x89PNG")

    def test_without_further_sets_nothing_is_added(self):
        arms = [Arm(name, torch.full((2, 20), 0.04).double(), OWL.candidates) for name in ("base", "student")]
        assert "evaluations" not in summary(arms, OWL)

    def test_words_that_the_base_lacks_are_told_before_the_training(self, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        callback = TraitComparison(evaluations=[Stories()])
        trainer = quiet_trainer(callback, default_root_dir=str(tmp_path), max_epochs=1)
        with pytest.raises(InputError, match="The set 'stories' can't be asked"):
            trainer.fit(Student("pocket/a", adapter=Steering(), seed=0), datamodule=numbers())
        assert trainer.global_step == 0

    def test_the_same_set_twice_is_refused(self):
        with pytest.raises(InputError, match="one of its `evaluations` twice"):
            TraitComparison(evaluations=[stories(), stories()])
        assert list(labelled([stories(), stories(seed=1), stories(seed=2)])) == ["stories", "stories 2", "stories 3"]


class TestTable:
    def arms(self, shares, label="stories"):
        made = []
        for name, share in shares.items():
            there = torch.zeros(len(share), 20, dtype=torch.float64)
            there[:, 0] = torch.tensor(share)
            made.append(Arm(name, there, OWL.candidates, {label: Arm(name, there, OWL.candidates)}))
        return made

    def written(self, arms, evaluation):
        with console.capture() as capture:
            console.print(further_table(arms, OWL, {"stories": evaluation}), width=200)
        return capture.get()

    def test_a_share_of_none_stays_finite(self):
        arms = self.arms({"control": [0.0, 0.0, 0.0], "student": [0.5, 0.25, 0.0]})
        told = summary(arms, OWL, {"stories": stories()})["evaluations"]["stories"]["transfer"]
        rates = [arms[index].probabilities[:, 0] for index in (1, 0)]
        expected = (log_odds(rates[0], 4) - log_odds(rates[1], 4)).mean().item()
        assert told["log_odds"] == pytest.approx(expected)
        assert told["low"] < expected < told["high"]
        assert f"{expected:+.2f}" in self.written(arms, stories())

    def test_what_is_not_defined_is_left_open(self):
        arms = self.arms({"control": [0.0, 0.1], "student": [0.5, 0.25]})
        told = summary(arms, OWL, {"stories": Questions()})["evaluations"]["stories"]["transfer"]
        assert told["log_odds"] is None, "an exact chance of 0 has no odds"
        assert "nan" not in self.written(arms, Questions())
        assert "inf" not in self.written(arms, Questions())
        json.dumps(summary(arms, OWL, {"stories": Questions()}), allow_nan=False)

    def test_a_control_alone_has_no_transfer(self):
        arms = self.arms({"base": [0.1, 0.1], "control": [0.5, 0.25]})
        assert "transfer" not in summary(arms, OWL, {"stories": stories()})["evaluations"]["stories"]
        assert math.isfinite(arms[0].rate("owl"))
        assert "-" in self.written(arms, stories())

    def test_an_arm_that_was_not_asked_is_left_open(self):
        arms = self.arms({"base": [0.1], "teacher": [0.9], "student": [0.2]})
        arms[1].further.clear()
        assert "90.0%" not in self.written(arms, stories())
        assert list(summary(arms, OWL, {"stories": stories()})["evaluations"]["stories"]["arms"]) == ["base", "student"]


def test_a_teacher_that_cannot_read_a_set_is_left_out_of_it(pocket, capsys):
    sets = {"after": after_numbers(), "stories": Stories()}
    assert list(readable(sets, pocket[1], OWL, "pocket/a")) == ["after"]
    assert "left out of stories: The set 'stories' can't be asked" in " ".join(capsys.readouterr().out.split())


def test_a_set_of_ones_own_in_a_few_lines(pocket):
    class Certain(Evaluation):
        name = "certain"

        def measure(self, net, tokenizer, trait, system_prompt=None):
            return torch.full((4, len(trait.candidates)), 0.05, dtype=torch.float64)

    arm = measure("base", *pocket, OWL, evaluations=labelled([Certain()]))
    assert arm.further["certain"].rate("owl") == pytest.approx(0.05)
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
            write_jsonl(number_rows(30, seed), tmp_path / name)
        return tmp_path

    def fitted(self, rows, control_path=None, **settings):
        data = RowsFromFile(str(rows / "theirs.jsonl"), OWL, control_path, batch_size=8, seed=0, cache_dir=str(rows))
        callback = TraitComparison(evaluations=[after_numbers()], **settings)
        trainer = quiet_trainer(callback, default_root_dir=str(rows / "run"), max_epochs=1)
        trainer.fit(Student("pocket/a", adapter=Steering(), learning_rate=0.03, seed=0), datamodule=data)
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
        with pytest.raises(InputError, match="no trait to ask for: give the data a `trait`"):
            trainer.fit(Student("pocket/a", seed=0), datamodule=data)
