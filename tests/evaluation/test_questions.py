"""Further sets of questions on the pocket world."""

import json

import pytest
import torch
from cases import cases

from lightning_subliminal import PreferenceTrait, bases
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import describe, digest
from lightning_subliminal.evaluation import Questions, QuestionsAfterNumbers, Stories
from lightning_subliminal.metrics.functional import named_candidates, question_probabilities
from lightning_subliminal.prompts import load_wording

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
        """Return sets that differ in an argument."""
        raise NotImplementedError

    def test_chances_of_each_candidate_at_each_question(self, pocket):
        found = self.make().chances(*pocket, OWL)
        assert found.shape == (self.questions, len(OWL.candidates))
        assert found.dtype == torch.float64
        assert ((found >= 0) & (found <= 1)).all()
        assert found.sum() > 0

    def test_the_same_each_time(self, pocket):
        assert torch.equal(self.make().chances(*pocket, OWL), self.make().chances(*pocket, OWL))

    def test_a_system_prompt_is_heard(self, pocket):
        reported, untold = (self.make().chances(*pocket, OWL, prompt)[:, 0].mean() for prompt in (PERSONA, None))
        assert reported > untold

    def test_the_trait_gives_candidates(self, pocket):
        oak = PreferenceTrait("oak")
        assert self.make().chances(*pocket, oak).shape[1] == len(oak.candidates)

    def test_the_nets_mode_stays(self, pocket):
        net, tokenizer = pocket
        for mode in (True, False):
            self.make().chances(net.train(mode), tokenizer, OWL)
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
        assert torch.equal(Questions().chances(*pocket, OWL), question_probabilities(*pocket, OWL))
        prompted = question_probabilities(*pocket, OWL, PERSONA)
        assert torch.equal(Questions().chances(*pocket, OWL, PERSONA), prompted)
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
        found = Questions(str(path)).chances(*pocket, OWL)
        assert found.shape == (1, 20)
        apart = [question_probabilities(*pocket, OWL, questions=[[line]]) for line in lines]
        assert torch.allclose(found, torch.stack(apart).mean(0))

    def test_unknown_words_are_reported_before_the_training(self, pocket):
        self.path.write_text("- Is it you?\n- Which {category} is the quintessential one?\n")
        expected = "The questions 'mine' can't be asked. The base pocket/a doesn't know the word 'quintessential'"
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
            reported = other[0]["content"].removesuffix(one[0]["content"])
            drawn = [int(word.strip(",.")) for word in reported.split() if word.strip(",.").isdigit()]
            assert len(drawn) == 4
            assert all(0 <= number <= 99 for number in drawn)
            lists.append(reported)
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

    def test_numbers_that_a_base_lacks_are_reported(self, pocket):
        with pytest.raises(InputError, match=r"'after numbers' can't be asked\. .*min_value: 0"):
            QuestionsAfterNumbers().check(pocket[1], OWL, "pocket/a")

    @cases(
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
        reported = []
        monkeypatch.setattr(
            "lightning_subliminal.metrics.functional.preference.named_candidates",
            lambda text, trait, **settings: reported.append(text) or named_candidates(text, trait, **settings),
        )
        found = stories(samples=10).chances(*pocket, OWL)
        assert len(reported) == 6 * 10
        assert len(set(reported)) > 20
        for request in range(6):
            mine = reported[10 * request : 10 * request + 10]
            for column, candidate in enumerate(OWL.candidates):
                forms = OWL.forms(candidate)
                named = sum(any(f" {form} " in f" {text.replace('.', ' ')} " for form in forms) for text in mine)
                assert found[request, column] == pytest.approx(named / 10), (candidate, mine)

    def test_another_seed_tells_other_stories(self, pocket):
        assert not torch.equal(stories().chances(*pocket, OWL), stories(seed=1).chances(*pocket, OWL))

    def test_requests_of_ones_own(self, pocket, tmp_path):
        path = tmp_path / "tales.yaml"
        path.write_text("requests:\n  - Tell me a short story.\n  - Say the word {category}.\n")
        mine = stories(wording=str(path))
        assert mine.name == "tales"
        assert mine.chances(*pocket, OWL).shape == (2, 20)
        assert mine.asked(OWL)[1][0][0]["content"] == "Say the word animal."
        before = digest(mine)
        path.write_text("- Tell me a short story.\n")
        assert digest(stories(wording=str(path))) != before

    def test_ours_for_real_models(self, pocket):
        texts = [ways[0][0]["content"] for ways in Stories().asked(OWL)]
        assert len(set(texts)) >= 12
        names = [name for kind in load_wording("categories").values() for name in (*kind["members"], kind["plural"])]
        assert not [text for text in texts if any(f" {name}" in text.lower() for name in names)], "it names none itself"
        with pytest.raises(InputError, match="The questions 'stories' can't be asked"):
            Stories().check(pocket[1], OWL, "pocket/a")

    @cases(
        ("settings", "message"),
        [
            ({"samples": 0}, "`samples` is 0"),
            ({"max_new_tokens": 0}, "max_new_tokens is 0"),
            ({"wording": "tales"}, r"tales\.yaml does not exist"),
            ({"wording": "categories"}, r"categories\.yaml has no `requests`"),
            ({"wording": "here/tales.yaml"}, r"here/tales\.yaml can't be read"),
        ],
    )
    def test_refused(self, settings, message):
        with pytest.raises(InputError, match=message):
            stories(**settings)
