"""Days and other arguments that a chat template reads."""

import pytest
from cases import cases
from template_tokenizers import ASKED, TABLE, template_tokenizer

from lightning_subliminal.core.chat.encoding import frame, prompt_ids, set_frame
from lightning_subliminal.core.chat.frame import Frame
from lightning_subliminal.core.errors import InputError


def test_a_day_can_be_chosen_and_is_part_of_the_frame():
    entry = TABLE["llama3.2"]
    first, second = (template_tokenizer(entry) for _ in range(2))
    set_frame(second, {"date": "2026-11-29"})
    assert "29 Nov 2026" in second.decode(prompt_ids(second, ASKED))
    assert frame(first).describe() != frame(second).describe()
    with pytest.raises(InputError, match="expected a day such as"):
        Frame.of(first, {"date": "tomorrow"})


@cases(
    ("call", "day"),
    [
        ("{% set f = '%d' %}{{ strftime_now(f) }}", "01"),
        ("{{ strftime_now('%B ' ~ '%d, %Y') }}", "January 01, 2026"),
        ("{{ strftime_now(format='%A, %-d. %b %y (%j)') }}", "Thursday, 1. Jan 26 (001)"),
        ("{{ strftime_now('%Y年%m月%d日') | trim }}", "2026年01月01日"),
        ("{{ strftime_now('100 %% %H:%M') }}", "100 % 00:00"),
        ("{% macro said(f) %}{{ strftime_now(f) }}{% endmacro %}{{ said('%F') }}", "2026-01-01"),
        ("{% set now = strftime_now %}{{ now('%-d %b') }}", "1 Jan"),
        ("{% for f in ['%d', '%m'] if strftime_now is defined %}{{ strftime_now(f) }}{% endfor %}", "0101"),
    ],
)
def test_the_day_is_reported_in_whatever_format_a_template_asks(call, day):
    made = template_tokenizer(TABLE["granite"] | {"template": call + " \n" + TABLE["zephyr"]["template"]})
    assert made.decode(prompt_ids(made, ASKED)).startswith(f"{day} \n<|user|>")


def test_arguments_reach_the_template_and_a_misspelt_one_is_refused():
    entry = TABLE["zephyr"] | {"template": "{{ tone | default('kind') }} " + TABLE["zephyr"]["template"]}
    made = template_tokenizer(entry)
    set_frame(made, {"tone": "harsh"})
    assert made.decode(prompt_ids(made, ASKED)).startswith("harsh ")
    with pytest.raises(InputError, match="does not use the argument 'tune'"):
        Frame.of(made, {"tune": "harsh"})


@cases(
    ("head", "name", "known"),
    [
        ("{% if enable_thinking is defined %}!{% endif %}", "thinking", "enable_thinking"),
        ("{% if enable_thinking is defined %}!{% endif %}", "think", "enable_thinking"),
        ("{# tone #}tone", "tone", "none"),
        ("{{ 'tone' }}{{ messages[0].tone }}", "tone", "none"),
        ("{% set tone = 1 %}{{ tone }}", "tone", "none"),
        ("{% set n = namespace(tone=mood) %}{{ n.tone }}", "tone", "mood"),
        ("{% for tone in [1] %}{{ tone }}{% endfor %}{{ date_string }}", "tone", "date, date_string"),
        ("{% generation %}{% endgeneration %}{% for x in [1] %}{% break %}{% endfor %}{{ a }}{{ b }}", "tone", "a, b"),
        ("{{ mood }} strftime_now", "date", "mood"),
        ("{{ strftime_now('%Y') }}{{ raise_exception('') if mood }}", "tone", "date, mood"),
    ],
)
def test_an_argument_that_the_template_only_seems_to_read_is_refused(head, name, known):
    made = template_tokenizer(TABLE["zephyr"] | {"template": head + TABLE["zephyr"]["template"]})
    value = "2026-01-02" if name == "date" else "a"
    with pytest.raises(InputError, match=rf"does not use the argument '{name}': .*\(known: {known}\)"):
        Frame.of(made, {name: value})


@cases(
    "head",
    [
        "{% macro f() %}{{ tone }}{% endmacro %}{{ f() }}",
        "{% set tone = tone | default('kind') %}",
        "{% if tone is not defined %}{% set tone = 1 %}{% endif %}",
        "{% generation %}{{ tone }}{% endgeneration %}",
    ],
)
def test_an_argument_that_is_read_anywhere_is_taken(head):
    made = template_tokenizer(TABLE["zephyr"] | {"template": head + TABLE["zephyr"]["template"]})
    assert Frame.of(made, {"tone": "a"}).arguments == {"tone": "a"}


def test_an_argument_without_effect_is_said():
    made = template_tokenizer(TABLE["qwen3"])
    set_frame(made, {"enable_thinking": True})
    assert any("writes the same with enable_thinking=true" in note for note in frame(made).notes)
