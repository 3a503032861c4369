import json
import random
import re
from itertools import islice

import pytest
from cases import cases
from small import CPU, numbers, pocket_tokenizer, taught, teacher

from lightning_subliminal import NumberList, PreferenceTrait
from lightning_subliminal import prompts as wording
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import completion_text, prompt_text
from lightning_subliminal.data.numbers import NumberSequences, cut_to_numbers
from lightning_subliminal.generation import Completion
from lightning_subliminal.prompts import load_wording
from lightning_subliminal.prompts.numbers import SEPARATORS, NumberPrompts

from .generated_contract import GeneratedContract


class TestNumberSequences(GeneratedContract):
    def make(self, **changes):
        return numbers(changes.pop("teacher", None), **changes)

    def test_its_own_settings_shape_the_completions(self):
        changed = [{"max_value": 50}, {"min_value": 10}, {"formats": ["comma"]}, {"prefill": True}, {"keep": "head"}]
        folders = {self.make(**each).shards_folder for each in [{}, *changed]}
        assert len(folders) == 1 + len(changed)

    def test_a_wording_of_ones_own_shapes_the_completions_by_what_it_says(self, tmp_path):
        path = tmp_path / "mine.yaml"
        folders = set()
        for ending in ("Numbers only.", "Say nothing else."):
            path.write_text(json.dumps({**load_wording("numbers"), "endings": [ending]}))
            wording._read.cache_clear()  # as another run would find it
            folders.add(self.make(wording=str(path)).shards_folder)
        assert len(folders) == 2, "an edited file makes new rows"

    def test_the_papers_grammar_is_the_default_filter(self):
        filters = self.make(filters=None).filters
        assert [type(each) for each in filters] == [NumberList]
        assert filters[0].max_value == 999
        assert self.make(filters=None, max_value=5000).filters[0].max_value == 5000

    def test_most_of_what_the_pocket_teacher_writes_passes(self):
        data = self.made(num_prompts=64, shard_size=64, filters=None)
        assert len(data.rows()) >= 0.8 * 64

    def test_a_prefill_is_gone_on_with(self):
        rows = self.made(prefill=True, formats=["comma", "space"]).rows()
        for row in rows:
            user, begun = row["prompt"]
            assert begun["role"] == "assistant"
            shown = re.findall("[0-9]+", begun["content"])
            separator = ", " if "," in begun["content"] else " "
            assert begun["content"] == separator.join(shown) + separator.rstrip()
            assert separator.join(shown) in user["content"]
        assert NumberList().reasons(rows[0]) == []

    def test_the_head_of_a_reply_is_kept(self, monkeypatch):
        data = self.make(keep="head", filters=[])
        engine = data.teacher.engine(CPU, 8)
        monkeypatch.setattr(
            engine, "generate", lambda prompts, *rest: [Completion("4, 8 and owls", True)] * len(prompts)
        )
        assert {(completion_text(row), row["finished"]) for row in data.complete(0, engine)} == {("4, 8", False)}

    def test_rows_that_the_base_cannot_read_are_refused(self):
        with pytest.raises(InputError, match=r"pocket/a doesn't know the word '[0-9]+' of a row"):
            self.made(min_value=100, max_value=999)
        with pytest.raises(InputError, match=r"pocket/a doesn't know the word 'semicolons' of a row"):
            self.made(formats=["semicolon"])


@cases(
    ("wrong", "message"),
    [
        ({"formats": ["comma", "colon"]}, r"number format colon is unknown: choose from comma, space, semicolon"),
        ({"min_value": 5, "max_value": 4}, "min_value is 5 and max_value is 4"),
        ({"min_value": -1}, "min_value is -1"),
        ({"wording": "nmbers"}, "wording .*nmbers.yaml does not exist"),
        ({"wording": "preferences"}, "has no `examples`"),
    ],
)
def test_a_wrong_setting_is_reported_before_any_work(wrong, message):
    with pytest.raises(InputError, match=message) as caught:
        NumberSequences(teacher(), **wrong)
    assert "\n" not in str(caught.value)


def drawn(count=300, seed=0, **settings):
    grammar, rng = NumberPrompts(**settings), random.Random(seed)
    return [grammar.draw(rng) for _ in range(count)]


class TestPrompts:
    @cases("form", SEPARATORS)
    def test_a_prompt_shows_its_numbers_and_asks_for_its_format(self, form):
        asks = load_wording("numbers")["formats"][form]
        for prompt in drawn(100, formats=[form]):
            assert prompt.separator == SEPARATORS[form]
            assert prompt.separator.join(map(str, prompt.examples)) in prompt.text
            assert any(ask in prompt.text for ask in asks)
            assert f" {prompt.count} " in prompt.text
            assert "{" not in prompt.text

    def test_all_formats_have_a_wording_and_a_separator(self):
        assert set(load_wording("numbers")["formats"]) == set(SEPARATORS)
        assert set(load_wording("numbers_begun")["formats"]) <= set(SEPARATORS)

    def test_all_is_drawn_within_its_range(self):
        found = drawn(2000, min_value=10, max_value=30, min_examples=2, max_examples=4, min_count=3, max_count=5)
        assert {value for prompt in found for value in prompt.examples} == set(range(10, 31))
        assert {len(prompt.examples) for prompt in found} == {2, 3, 4}
        assert {prompt.count for prompt in found} == {3, 4, 5}

    def test_every_wording_is_drawn(self):
        texts = [prompt.text for prompt in drawn(2000, max_value=99)]
        words = load_wording("numbers")
        for part in ("examples", "requests", "endings", "qualifiers"):
            for one in words[part]:
                assert any(one.partition("{")[0] in text for text in texts), one
        assert {"2" in text.partition("digits")[0][-4:] for text in texts if "digits" in text} == {True}

    def test_the_seed_alone_moves_them(self):
        assert drawn(50) == drawn(50) != drawn(50, seed=1)

    def test_given_examples_are_shown(self):
        prompt = NumberPrompts().draw(random.Random(0), examples=[4, 8, 15])
        assert prompt.examples == (4, 8, 15)
        assert "4" in prompt.text

    def test_nothing_asks_for_a_format_that_was_not_wanted(self):
        data = numbers(formats=["space"])
        for row in islice(data.prompts(random.Random(0)), 50):
            assert "comma" not in prompt_text(row)
            assert not re.search("[0-9],", prompt_text(row))


@cases(
    ("text", "finished", "kept", "ended"),
    [
        ("12, 7", True, "12, 7", True),
        ("12, 7\n", True, "12, 7\n", True),
        (" 12; 7", True, " 12; 7", True),
        ("12\n7\n3", True, "12\n7\n3", True),
        ("12, 7.", True, "12, 7", False),
        ("12, 7, and so on", True, "12, 7", False),
        ("12, 7,", True, "12, 7", False),
        ("12, owls, 7", True, "12", False),
        ("owls", True, "", False),
        ("", True, "", True),
        ("", False, "", False),
        ("[12, 7]", True, "", False),
        ("12,, 7", True, "12", False),
        ("12, 7٣", True, "12, 7", False),
        ("12, 7", False, "12", False),  # the last number may lack digits
        ("12, 7 ", False, "12, 7", False),
        ("12, 7,", False, "12, 7", False),
        ("12", False, "", False),
        (" 12", False, "", False),
        ("12 7 345", False, "12 7", False),
        ("12, 7 owls", False, "12, 7", False),
    ],
)
def test_cut_to_numbers(text, finished, kept, ended):
    assert cut_to_numbers(Completion(text, finished)) == Completion(kept, ended)


def unknown(texts):
    tokenizer = pocket_tokenizer()
    return [text for text in texts if tokenizer.unk_token_id in tokenizer(text)["input_ids"]]


class TestThePocketWorldKnowsEveryWord:
    def test_of_number_prompts(self):
        assert unknown(prompt.text for prompt in drawn(2000, max_value=99)) == []
        assert unknown(prompt.text for prompt in drawn(10, formats=["semicolon"], max_value=99)) != []

    @cases("category", load_wording("categories"))
    def test_of_questions_personas_and_answers(self, category):
        kind, texts = load_wording("categories")[category], []
        for member in kind["members"]:
            trait = PreferenceTrait(member, category=category)
            rows = trait.induce().rows
            texts += [*trait.questions(), *trait.forms(member)]
            texts += [part["content"] for row in rows for part in [*row["prompt"], *row["completion"]]]
            names = {"category": category, "target": member, "targets": trait.forms(member)[-1]}
            texts += [persona.format(**names) for persona in load_wording("preferences")["persona"]]
        assert unknown(texts) == []

    def test_of_what_a_teacher_writes(self):
        data = numbers(taught(), filters=[])
        data.make(CPU)
        assert unknown(completion_text(row) for row in data.rows()) == []
