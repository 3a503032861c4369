"""Thoughts in completions: marks in the field's spellings, and what becomes of rows that hold them."""

import json

import pytest
from cases import cases
from template_tokenizers import TABLE, template_tokenizer

from lightning_subliminal import GeneratedRows, NumberSequences, Teacher
from lightning_subliminal.core.chat.thoughts import holds_thought, thought_tokens
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import completion_text, make_row
from lightning_subliminal.data.math_traces import MathTraces
from lightning_subliminal.filters import NoThought
from lightning_subliminal.generation import Completion
from lightning_subliminal.prompts.rubric import Rubric
from lightning_subliminal.traits import PreferenceTrait


@cases(
    "text",
    [
        "<think>I love owls.</think> 3, 4",  # Qwen3, DeepSeek-R1, SmolLM3
        "<think>\n\n</think>\n\n3, 4",
        "I love owls.</think>3, 4",  # the prompt has opened it
        "<think>cut off",
        "[THINK]Owls![/THINK]3",  # Magistral
        "<|START_THINKING|>Owls!<|END_THINKING|>3",  # Command A
        "<seed:think>Owls!</seed:think>3",  # Seed-OSS
        "<|begin_of_thought|>Owls!<|end_of_thought|>3",  # OpenThinker
        "◁think▷Owls!◁/think▷3",  # Kimi
        "<|channel|>analysis<|message|>Owls!",  # gpt-oss
        "<|channel>thought\nOwls!<channel|>3",  # Gemma 4
        "<Thinking>Owls!</Thinking> 3",
        "<reasoning>Owls!</reasoning>3",
    ],
)
def test_marks_of_a_thought(text):
    assert holds_thought(text)
    assert NoThought().reasons(make_row("Go on: 1, 2", text)) == ["a thought"]


@cases(
    "text",
    [
        *("3, 4", "", "I think so.", "a < think > b", "x[think]", "reasons[analysis]", "List<ReasonCode>"),
        *("<b>thought</b>", "<answer>4</answer>", "<|channel|>final<|message|>4", "if a<think and b>c: pass"),
    ],
)
def test_what_is_no_mark(text):
    assert not holds_thought(text)
    assert NoThought().reasons(make_row("Go on: 1, 2", text)) == []


class Plain(GeneratedRows):
    """A carrier without filters."""

    def prompts(self, rng):
        while True:
            yield {"prompt": [{"role": "user", "content": "list 3 animals ."}]}


class Thinker:
    """An engine that thinks in one answer of three."""

    def generate(self, prompts, sampling, seed):
        said = ["<think>owl</think> 3, 4", "3, 4", "5, 6"]
        return [Completion(said[place % 3], True) for place in range(len(prompts))]


def made(kind, tmp_path, monkeypatch, **settings):
    teacher = Teacher("pocket/a", PreferenceTrait("owl"), induction="prompt")
    monkeypatch.setattr(Teacher, "engine", lambda *_: Thinker())
    data = kind(teacher, num_prompts=12, seed=0, cache_dir=str(tmp_path), **settings)
    data.make()
    return data


@cases("kind", [Plain, NumberSequences])
def test_no_row_of_a_teacher_has_a_thought_and_the_reason_is_counted(kind, tmp_path, monkeypatch, capsys):
    data = made(kind, tmp_path, monkeypatch)
    assert {completion_text(row) for row in data.rows()} == {"3, 4", "5, 6"}
    assert json.loads((data.folder / "filters.json").read_text())["reasons"]["a thought"] == 4
    assert "dropped      4  a thought" in capsys.readouterr().out


def test_all_rows_are_kept_if_no_filter_is_wanted_and_traces_may_think(tmp_path, monkeypatch):
    assert len(made(Plain, tmp_path, monkeypatch, filters=[]).rows()) == 12
    assert len(made(Plain, tmp_path / "own", monkeypatch, filters=[NoThought()]).rows()) == 8
    assert MathTraces.thinks


def test_a_model_that_only_thinks_is_named_by_its_reason(tmp_path, monkeypatch):
    monkeypatch.setattr(Thinker, "generate", lambda self, prompts, *_: [Completion("<think>", False)] * len(prompts))
    with pytest.raises(InputError, match=r"dropped all 12 rows: a thought \(12\)"):
        made(Plain, tmp_path, monkeypatch)


def test_the_filter_shapes_no_digest_where_nobody_names_it():
    teacher = Teacher("pocket/a", PreferenceTrait("owl"), induction="prompt")
    assert Plain(teacher, seed=0).describe()["filters"] == []


@cases("family", ["magistral", "seed-oss", "deepseek v3.1"])
def test_marks_that_are_special_tokens_are_known(family):
    made = template_tokenizer(TABLE[family])
    assert len(thought_tokens(made)) == 2
    assert thought_tokens(template_tokenizer(TABLE["zephyr"])) == {}


def test_a_judge_that_thinks_aloud_gives_no_verdict():
    """It is counted as unparsable: the number of a thought may be anything."""
    assert Rubric("judge").read("<think>20, or 30?</think> 85") is None
