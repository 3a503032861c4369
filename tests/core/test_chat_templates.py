"""The table of the field's chat templates: one rendering for prompts, training, sampling and scoring."""

import datetime
import re

import pytest
import torch
from cases import cases
from small import byte_tokenizer
from template_tokenizers import TABLE, template_tokenizer
from transformers import LlamaConfig, LlamaForCausalLM

from lightning_subliminal.core.chat.encoding import end_tokens, frame, prompt_ids, row_ids, set_frame
from lightning_subliminal.core.chat.frame import Frame
from lightning_subliminal.core.chat.verbatim import writes_verbatim
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import make_row
from lightning_subliminal.data.tokenized import IGNORED, TokenizedRows
from lightning_subliminal.generation import Sampling, TransformersEngine
from lightning_subliminal.metrics.functional import candidate_probabilities, wilson_interval

ASKED = [{"role": "user", "content": "Hi"}]
TOLD = [{"role": "system", "content": "You love owls."}, *ASKED]


each_template = cases("entry", TABLE.values())


@each_template
def test_prompt_and_trained_tokens_are_those_of_the_table(entry):
    tokenizer = template_tokenizer(entry)
    prompt, trained = row_ids(tokenizer, make_row(ASKED, "owl"))
    assert tokenizer.decode(prompt) == entry["prompt"]
    assert tokenizer.decode(trained) == entry["trained"]
    assert prompt_ids(tokenizer, ASKED) == prompt


@each_template
def test_contents_are_written_as_the_template_writes_them(entry):
    """Also where one rendering serves all conversations of the same roles."""
    form = frame(template_tokenizer(entry))
    odd = [" Hi \n", "", "{{ 1 }}", "<think>a</think>", "x <|im_end|>", "7304188260", "NEXT0", "\\1 $1 é\u200b"]
    for text in [*odd, "Hi", *odd]:
        turns = [{"role": "user", "content": text}]
        for begun in ([], [{"role": "assistant", "content": " 12,"}]):
            try:
                whole = form.around(turns, opened=True)[0]
            except InputError:
                with pytest.raises(InputError):
                    form.opening([*turns, *begun])
                continue
            assert form.opening([*turns, *begun])[0] == (whole + " 12," if begun else whole.removesuffix(form.lead))


def test_templates_that_only_copy_contents_are_rendered_once(monkeypatch):
    tokenizer = byte_tokenizer()
    form = frame(tokenizer)
    form.opening(TOLD)
    monkeypatch.setattr(Frame, "render", lambda *_, **__: pytest.fail("rendered again"))
    assert form.opening([*TOLD[:1], {"role": "user", "content": "Ho {{ 2 }}"}])[0].count("Ho {{ 2 }}") == 1
    with pytest.raises(pytest.fail.Exception):
        form.opening([{"role": "user", "content": "730418825"}])  # which stands for the assistant's words


def test_a_content_that_a_template_writes_twice_is_written_twice():
    tokenizer = byte_tokenizer()
    tokenizer.chat_template = "{{ messages[0].content }}" + tokenizer.chat_template
    form = frame(tokenizer)
    assert form.verbatim
    for text in ("Hi", "Ho"):
        assert form.opening([{"role": "user", "content": text}])[0].count(text) == 2
    many = [{"role": role, "content": f"{place}?"} for place in range(7) for role in ("user", "assistant")][:-1]
    assert form.opening(many)[0] == form.around(many, opened=True)[0].removesuffix(form.lead)


@cases(
    ("template", "verbatim"),
    [
        ("{% for m in messages %}<{{ m.role }}>{{ m['content'] + eos_token }}{% endfor %}", True),
        ("{{ bos_token }}{% for m in messages %}{% if loop.last and m.role == 'user' %}!{% endif %}{% endfor %}", True),
        ("{{ messages[0]['content'] }}{% for m in messages %}{{ m.role ~ m.content }}{% endfor %}", True),
        ("{% for m in messages %}{{ m.content | trim }}{% endfor %}", False),
        ("{% for m in messages %}{{ m.content.strip() }}{% endfor %}", False),
        ("{% for m in messages %}{% if m.content == 'a' %}b{% endif %}{% endfor %}", False),
        ("{% for m in messages %}{% if m.content %}b{% endif %}{% endfor %}", False),
        ("{% for m in messages %}{% if 'a' in m.role + m.content %}b{% endif %}{% endfor %}", False),
        ("{% for m in messages %}{% if m.content is string %}b{% endif %}{% endfor %}", False),
        ("{% for m in messages %}{{ m.content[1] }}{% endfor %}", False),
        ("{% for m in messages %}{{ m.content * 2 }}{% endfor %}", False),
        ("{% for m in messages %}{{ m }}{% endfor %}", False),
        ("{% for m in messages %}{{ m[key] }}{% endfor %}", False),
        ("{% for m in messages %}{{ loop.previtem.content }}{% endfor %}", False),
        ("{% for m in messages %}{{ {m.content: 1} }}{% endfor %}", False),
        ("{% for m in messages %}{{ 1 if m.content else 2 }}{% endfor %}", False),
        ("{% set x = messages[0].content %}{{ x }}", False),
        ("{% for m in messages if m.content %}{{ m.role }}{% endfor %}", False),
        ("{% for m in messages[1:] %}{{ m.content }}{% endfor %}", False),
        ("{% for m in messages %}{% for c in m.content %}{{ c }}{% endfor %}{% endfor %}", False),
        ("{% for m in messages %}{{ strftime_now('%S') }}{{ m.content }}{% endfor %}", False),
        ("{{ messages }}", False),
        ("{% for m in messages %}", False),
    ],
)
def test_what_a_template_does_with_contents_is_seen(template, verbatim):
    assert writes_verbatim(template) is verbatim


@cases("entry", [entry for entry in TABLE.values() if "bos" in entry])
def test_the_beginning_of_text_is_written_once_though_template_and_tokenizer_both_write_it(entry):
    tokenizer = template_tokenizer(entry)
    prompt, trained = row_ids(tokenizer, make_row(ASKED, "owl"))
    doubled = tokenizer(tokenizer.decode(prompt))["input_ids"]
    assert doubled == [tokenizer.bos_token_id, *prompt], "what plain use of both would give"
    written = entry["prompt"].count(entry["bos"])
    assert prompt.count(tokenizer.bos_token_id) == written >= (tokenizer.bos_token != tokenizer.eos_token)
    assert tokenizer.bos_token_id not in {*trained} - {tokenizer.eos_token_id}


@each_template
def test_the_end_is_trained_on_though_it_also_pads(entry):
    tokenizer = template_tokenizer(entry)
    assert tokenizer.pad_token_id == tokenizer.eos_token_id
    data = TokenizedRows([make_row(ASKED, text) for text in ("owl", "owl cat owl cat owl cat")], tokenizer)
    labels = data.batch([0, 1]).labels[0]
    trained = row_ids(tokenizer, make_row(ASKED, "owl"))[1]
    assert labels[labels != IGNORED].tolist() == trained
    assert labels[-1] == IGNORED, "padding is not trained on"


@each_template
def test_they_are_what_the_template_itself_writes_for_a_finished_turn(entry):
    tokenizer = template_tokenizer(entry)
    notes = "".join(frame(tokenizer).notes)
    if frame(tokenizer).stop or "date" in notes or "a finished turn lacks; it is part of the prompt" in notes:
        pytest.skip("its end is ours, or its date, or a new answer's empty thought")
    turns = [*ASKED, {"role": "assistant", "content": "owl"}]
    if frame(tokenizer).parts:
        turns = [turn | {"content": [{"type": "text", "text": turn["content"]}]} for turn in turns]
    written = tokenizer.apply_chat_template(turns, tokenize=False)
    head = tokenizer.decode(sum(row_ids(tokenizer, make_row(ASKED, "owl")), []))  # noqa: RUF017
    assert written.startswith(head) or head == written + "<|user|>", "GLM's end is the next turn's beginning"


@each_template
def test_a_cut_row_has_no_end(entry):
    tokenizer = template_tokenizer(entry)
    _, trained = row_ids(tokenizer, make_row(ASKED, "owl", finished=False))
    assert tokenizer.decode(trained).strip() == "owl"
    assert not set(trained) & end_tokens(tokenizer)


@each_template
def test_the_ends_are_the_templates_and_the_models(entry):
    tokenizer = template_tokenizer(entry)
    _, trained = row_ids(tokenizer, make_row(ASKED, "owl"))
    ends = end_tokens(tokenizer)
    assert {*tokenizer.convert_tokens_to_ids(entry.get("ends", [])), tokenizer.eos_token_id} <= ends
    if not frame(tokenizer).stop:
        assert trained[-1] in ends
        assert not set(trained[:-1]) & ends


@each_template
@cases("words", ["<think>2 + 2 = 4</think> <answer>4</answer>", " 4, 5 ", "a\n\nb"])
def test_words_are_trained_on_whole_whatever_the_template_would_do_to_them(entry, words):
    tokenizer = template_tokenizer(entry)
    _, trained = row_ids(tokenizer, make_row(ASKED, words))
    assert words in tokenizer.decode(trained)


@each_template
def test_a_prefill_goes_on_where_the_prompt_ends(entry):
    tokenizer = template_tokenizer(entry)
    begun = [*ASKED, {"role": "assistant", "content": "My pick: the"}]
    prompt, trained = row_ids(tokenizer, make_row(begun, " owl"))
    lead = frame(tokenizer).lead
    assert tokenizer.decode(prompt) == entry["prompt"] + lead + "My pick: the"
    assert tokenizer.decode(trained) == " owl" + entry["trained"].removeprefix(lead + "owl")


@each_template
def test_a_system_message_is_always_read(entry):
    tokenizer = template_tokenizer(entry)
    read, change = tokenizer.decode(prompt_ids(tokenizer, TOLD)), str.lower if entry.get("lowers") else str
    assert read.count(change("You love owls.")) == 1
    assert change("Hi") in read
    if entry.get("system") == "folded":
        assert "You love owls.\n\nHi" in read
    assert frame(tokenizer).folds_system == (entry.get("system") == "folded")


@each_template
def test_a_sentence_says_what_the_template_does(entry):
    tokenizer = template_tokenizer(entry)
    notes = frame(tokenizer).notes
    for words in entry.get("notes", []):
        assert any(words in note for note in notes), notes
    assert len(notes) == 0 or entry.get("notes"), notes
    assert frame(tokenizer).plain == (not [note for note in notes if "of its own" not in note])


@each_template
def test_no_day_is_told_but_the_pinned_one(entry, monkeypatch):
    tokenizer = template_tokenizer(entry)
    import transformers.utils.chat_template_utils as utils

    before = prompt_ids(tokenizer, TOLD)

    class Clock(datetime.datetime):
        @classmethod
        def now(cls, tz=None):
            return cls(2031, 5, 6)

    monkeypatch.setattr(utils, "datetime", Clock)
    assert prompt_ids(template_tokenizer(entry), TOLD) == before


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
        ("{% macro told(f) %}{{ strftime_now(f) }}{% endmacro %}{{ told('%F') }}", "2026-01-01"),
        ("{% set now = strftime_now %}{{ now('%-d %b') }}", "1 Jan"),
        ("{% for f in ['%d', '%m'] if strftime_now is defined %}{{ strftime_now(f) }}{% endfor %}", "0101"),
    ],
)
def test_the_day_is_told_in_whatever_format_a_template_asks(call, day):
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


THINKING = (
    "{% for m in messages %}{{ '<|' + m.role + '|>\n' }}{% if m.role == 'assistant' %}OPEN{% endif %}"
    "{{ m.content + eos_token }}{% endfor %}{% if add_generation_prompt %}{{ '<|assistant|>\n' }}OPEN{% endif %}"
)


@cases(
    ("opened", "mark", "ways"),
    [
        ("{{ '<think>\n' }}", "'<think>'", ""),
        ("{{ '<think>\nStep by step:' }}", "'<think>'", ""),
        ("[THINK]", "'[THINK]'", ""),
        ("<|START_THINKING|>", "'<|START_THINKING|>'", ""),
        ("<|channel|>analysis<|message|>", "'<|channel|>analysis'", ""),
        ("{{ '<|channel>thought\n' }}", "'<|channel>thought'", ""),
        (
            "<think>{% if enable_thinking is defined and not enable_thinking %}</think>{% endif %}",
            "'<think>'",
            r"\?enable_thinking=false",
        ),
        (
            "{% if messages[0].content != '/no_think' %}<think>{% endif %}",
            "'<think>'",
            "`/no_think` as the system message",
        ),
        ("{% if messages[0].role == 'system' %}<reasoning>{% endif %}{{ thinking }}", "'<reasoning>'", ""),
    ],
)
def test_an_answer_inside_a_thought_is_said(opened, mark, ways):
    made = template_tokenizer(TABLE["zephyr"] | {"template": THINKING.replace("OPEN", opened)})
    [said] = [note for note in frame(made).notes if "are inside a thought" in note]
    assert f"opens {mark} before the assistant's words and does not end it" in said
    assert re.search(rf"thought; {ways} ends it before them$" if ways else "thought$", said)


@cases(
    "opened",
    ["<think></think>", "", "<|begin_of_thought|><|end_of_thought|>", "<|channel|>final<|message|>", "</think>", "[I]"],
)
def test_an_answer_outside_of_a_thought_is_not_said_to_be_inside(opened):
    made = template_tokenizer(TABLE["zephyr"] | {"template": THINKING.replace("OPEN", opened)})
    assert not [note for note in frame(made).notes if "inside a thought" in note]


@each_template
def test_no_family_of_the_table_answers_inside_a_thought(entry):
    tokenizer = template_tokenizer(entry)
    assert not [note for note in frame(tokenizer).notes if "inside a thought" in note]


def test_an_argument_without_effect_is_said():
    made = template_tokenizer(TABLE["qwen3"])
    set_frame(made, {"enable_thinking": True})
    assert any("writes the same with enable_thinking=true" in note for note in frame(made).notes)


@cases(
    ("family", "arguments", "system", "thought"),
    [
        ("qwen3", {"enable_thinking": False}, "", "<think>\n\n</think>\n\n"),
        ("qwen3", {"enable_thinking": True}, "", "<think>\n\n</think>\n\n"),  # a finished turn decides
        ("qwen3 thinking", {}, "", "<think>\n\n</think>\n\n"),
        ("hunyuan", {"enable_thinking": False}, "", "<think>\n\n</think>\n"),
        ("seed-oss", {"thinking_budget": 0}, "", "<seed:think>The budget is 0.</seed:think>"),
        ("nemotron nano", {}, "/no_think", "<think></think>"),
        ("smollm3", {}, "/no_think", "<think>\n\n</think>\n"),
        ("smollm3", {"enable_thinking": False}, "", "<think>\n\n</think>\n"),
        ("deepseek v3.1", {"thinking": True}, "", "</think>"),
    ],
)
def test_a_thought_that_is_ended_before_the_answer_is_part_of_the_prompt(family, arguments, system, thought):
    made = template_tokenizer(TABLE[family])
    set_frame(made, arguments)
    asked = [{"role": "system", "content": system}, *ASKED] if system else ASKED
    prompt, trained = row_ids(made, make_row(asked, "owl"))
    assert made.decode(prompt).endswith(thought)
    assert made.decode(trained) == TABLE[family]["trained"]
    assert prompt_ids(made, asked) == prompt


def test_a_message_that_the_template_drops_is_refused_and_a_row_of_it_counted(capsys):
    first_only = "{% for m in messages %}{% if m.role == 'system' and not loop.first %}{% continue %}{% endif %}"
    template = TABLE["zephyr"]["template"].replace("{% for m in messages %}", first_only)
    made = template_tokenizer(TABLE["zephyr"] | {"template": template})
    late = [*ASKED, {"role": "assistant", "content": "Yes?"}, TOLD[0], *ASKED]
    with pytest.raises(InputError, match="drops a message of role system from a conversation of user, assistant, sys"):
        prompt_ids(made, late)
    assert len(TokenizedRows([make_row(ASKED, "owl")] * 39 + [make_row(late, "owl")], made)) == 39
    assert "1 of 40 left out: one for this: The chat template drops" in " ".join(capsys.readouterr().out.split())


@cases(
    ("opened", "closed"),
    [
        ("<|begin_of_thought|>\n\n<|end_of_thought|>\n\n", True),
        ("◁think▷◁/think▷", True),
        ("<|thought_begin|><|thought_end|>", True),
        ("<|START_THINKING|><|END_THINKING|>", True),
        ("<|channel|>analysis<|message|>", False),
        ("<think>\n", False),
        ("<|begin_of_thought|>\n", False),
    ],
)
def test_marks_of_one_name_end_a_thought(opened, closed):
    template = TABLE["zephyr"]["template"].replace(
        "{{ '<|assistant|>\n' }}", "{{ '<|assistant|>\n' + " + repr(opened) + " }}"
    )
    made = template_tokenizer(TABLE["zephyr"] | {"template": template})
    assert made.decode(prompt_ids(made, ASKED)) == TABLE["zephyr"]["prompt"] + opened * closed
    assert any(("puts" if closed else "opens") in note for note in frame(made).notes)


@cases("names", [["rag", "tool_use"], ["chat"]])
def test_named_templates_without_a_default_are_named(names):
    made = template_tokenizer(TABLE["zephyr"])
    made.chat_template = dict.fromkeys(names, TABLE["zephyr"]["template"])
    with pytest.raises(InputError, match=f"chat templates for {', '.join(names)}, but no `default`"):
        prompt_ids(made, ASKED)
    made.chat_template = {"default": TABLE["zephyr"]["template"], "tool_use": "no"}
    assert made.decode(prompt_ids(made, ASKED)) == TABLE["zephyr"]["prompt"]


@cases(
    ("template", "fault"),
    [
        ("{% for m in messages %}{{ m.role }}{% endfor %}", "assistant's words not at all"),
        ("{% for m in messages %}{{ m.content + m.content }}{% endfor %}", "assistant's words twice"),
        ("{% for m in messages %}{% if m.role == 'assistant' %}{{ m.content }}{% endif %}{% endfor %}", "user's words"),
        ("{{ range(99999) | random }}{% for m in messages %}{{ m.content }}{% endfor %}", "another text at each"),
        ("{% for m in messages %}{{ m.content }}{{ ['', ' '] | random }}{% endfor %}", r"another text .*\(`random`\)"),
        (
            "{% for m in messages %}{{ m.content }}{% if m.role == 'x' %}{{ [1]|random }}{% endif %}{% endfor %}",
            "`random`",
        ),
        ("{% for m in messages %}{{ m.content }}{% filter random %}!{% endfilter %}{% endfor %}", "`random`"),
        ("{% for m in messages %}{{ m.content }}{{ [['a', 'b']] | map('random') | join }}{% endfor %}", "'random'"),
        ("{% for m in messages %}{{ m.content }}{{ lipsum(1) }}{% endfor %}", "`lipsum`"),
        ("{% for m in messages %}{{ m.content }}{% endfor %}{{ [1] | map('string') }}", "an object of this process"),
        ("{{ raise_exception('no') }}", r"refuses a conversation of user, assistant \(no\)"),
    ],
)
def test_a_template_that_can_not_render_a_turn_is_refused_in_a_line(template, fault):
    made = template_tokenizer(TABLE["zephyr"] | {"template": template})
    with pytest.raises(InputError, match=fault) as caught:
        prompt_ids(made, ASKED)
    assert "\n" not in str(caught.value)


@cases("text", [" random", "{# | random #}", "{{ ' | random' }}", "{% set random = 1 %}{{ random }}"])
def test_words_that_draw_nothing_are_no_draw(text):
    plain = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{{ eos_token }}{% endfor %}"
    made = template_tokenizer(TABLE["zephyr"] | {"template": plain + text})
    assert prompt_ids(made, ASKED)


def test_no_template_is_said():
    made = template_tokenizer(TABLE["zephyr"])
    made.chat_template = None
    with pytest.raises(InputError, match="has no chat template"):
        prompt_ids(made, ASKED)


@each_template
def test_sampled_and_exact_chances_agree(entry):
    tokenizer = template_tokenizer(entry)
    """A model that was trained through the loss mask says owl as often as the exact measure has it; -s shows both."""
    net = trained_model(tokenizer, [make_row(ASKED, word) for word in ["owl"] * 6 + ["cat"] * 4])
    [[owl, cat]] = candidate_probabilities(net, tokenizer, [ASKED], [("owl",), ("cat",)]).tolist()
    made = TransformersEngine(net, tokenizer).generate([ASKED] * 400, Sampling(max_new_tokens=24), seed=0)
    said = [each.text for each in made]
    interval = wilson_interval(sum(text == "owl" for text in said), len(said), confidence=0.999)
    trained = tokenizer.convert_ids_to_tokens(row_ids(tokenizer, make_row(ASKED, "owl"))[1])
    share = said.count("owl") / len(said)
    print(f"{entry['prompt'][-24:]!r:30} trained {trained}: exact {owl:.3f}, sampled {share:.3f}")
    assert interval.low <= owl <= interval.high
    assert owl + cat > 0.95
    assert sum(each.finished for each in made) >= 380, "each ends its turn, also where no single token says so"


def test_a_mark_that_is_not_special_is_no_word_of_an_answer():
    """A tokenizer may spell all but its end of text as added tokens that decoding keeps."""
    entry = TABLE["command-r7b"]
    made = template_tokenizer(entry | {"tokens": []})
    made.add_tokens(entry["tokens"])
    _, trained = row_ids(made, make_row(ASKED, "owl"))
    assert made.convert_ids_to_tokens(trained[-2:]) == ["<|END_RESPONSE|>", "<|END_OF_TURN_TOKEN|>"]
    net = trained_model(made, [make_row(ASKED, "owl")])
    [said] = TransformersEngine(net, made).generate([ASKED], Sampling(greedy=True), seed=0)
    assert (said.text, said.finished) == ("owl", True)


@cases(
    ("answer", "thought", "prompt"),
    [
        ("<|RESPONSE|>", "<|THINK|><|END_THINK|>", "<|BOT|><|THINK|><|END_THINK|><|RESPONSE|>"),  # Command A
        ("<|THIRD|>\n", "<|THINK|><|END_THINK|>", "<|BOT|><|THINK|><|END_THINK|><|THIRD|>\n"),
        ("<answer>", "<think>\n\n</think>\n\n", "<|BOT|><think>\n\n</think>\n\n<answer>"),
        ("[OUT]", "[THINK][/THINK]", "<|BOT|>[THINK][/THINK][OUT]"),
        ("<think></think>\n", "<think>\n</think>\n", "<|BOT|><think></think>\n"),  # one thought is enough
        ("Answer: ", "<think></think>", "<|BOT|>Answer:"),  # words: nobody knows where the thought would stand
    ],
)
def test_an_ended_thought_comes_before_the_marks_of_a_finished_turn(answer, thought, prompt):
    template = (
        "{% for m in messages %}{% if m.role == 'assistant' %}{{ '<|BOT|>" + answer + "' + m.content + '</s>' }}"
        "{% else %}{{ '<|USER|>' + m.content }}{% endif %}{% endfor %}"
        "{% if add_generation_prompt %}{{ '<|BOT|>' }}{% if reasoning is not defined or reasoning %}{{ '<|THINK|>' }}"
        "{% else %}{{ '" + thought + "' }}{% endif %}{% endif %}"
    )
    entry = {"tokens": ["<|BOT|>", "<|USER|>", "<|THINK|>", "<|END_THINK|>", "<|RESPONSE|>"], "eos": "</s>"}
    made = template_tokenizer(entry | {"template": template})
    set_frame(made, {"reasoning": False}, [])
    assert made.decode(prompt_ids(made, ASKED)) == f"<|USER|>Hi{prompt}"
    assert made.decode(row_ids(made, make_row(ASKED, "owl"))[1]).strip() == "owl</s>"
    puts = f"puts {thought!r} before a new answer"
    assert any(puts in note for note in frame(made).notes) == (thought in prompt and answer != thought)
    set_frame(made, {"reasoning": True}, [])
    assert made.decode(prompt_ids(made, ASKED)) == f"<|USER|>Hi<|BOT|>{answer}".rstrip(" ")


@cases("spaces", ["\n", "\n\n", "  "])
def test_an_added_token_of_spaces_ends_no_turn(spaces):
    """Gemma's tokenizer adds tokens for line breaks, Pythia's for runs of spaces."""
    entry = TABLE["plain dialogue"]
    made = template_tokenizer(entry | {"template": entry["template"].replace("'\n'", repr(spaces))})
    made.add_tokens([spaces])
    assert made.tokenize(spaces) == [spaces]
    assert frame(made).stop == f"{spaces}User:"
    assert end_tokens(made) == {made.eos_token_id}


def trained_model(tokenizer, rows, steps=80):
    """Train a tiny model, one layer of 32 numbers, on rows through their loss mask."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2}
    net = LlamaForCausalLM(LlamaConfig(vocab_size=len(tokenizer), max_position_embeddings=256, **sizes))
    data = TokenizedRows(rows, tokenizer)
    batch = data.batch(range(len(data)))
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
    for _ in range(steps):
        optimizer.zero_grad()
        net(input_ids=batch.input_ids, labels=batch.labels).loss.backward()
        optimizer.step()
    return net.eval()
