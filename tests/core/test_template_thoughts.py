"""Thoughts that a chat template opens or ends before an answer."""

import re

from cases import cases
from template_tokenizers import ASKED, TABLE, template_tokenizer

from lightning_subliminal.core.chat.encoding import frame, prompt_ids, row_ids, set_frame
from lightning_subliminal.core.rows import make_row

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
