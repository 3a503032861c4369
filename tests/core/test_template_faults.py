"""What a chat template may not do: draw, lose or change the words of a conversation."""

import pytest
from cases import cases
from template_tokenizers import ASKED, TABLE, template_tokenizer

from lightning_subliminal.core.chat.encoding import prompt_ids
from lightning_subliminal.core.chat.verbatim import writes_verbatim
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import make_row
from lightning_subliminal.data.tokenized import TokenizedRows

TOLD = [{"role": "system", "content": "You love owls."}, *ASKED]


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


def test_a_message_that_the_template_drops_is_refused_and_a_row_of_it_counted(capsys):
    first_only = "{% for m in messages %}{% if m.role == 'system' and not loop.first %}{% continue %}{% endif %}"
    template = TABLE["zephyr"]["template"].replace("{% for m in messages %}", first_only)
    made = template_tokenizer(TABLE["zephyr"] | {"template": template})
    late = [*ASKED, {"role": "assistant", "content": "Yes?"}, TOLD[0], *ASKED]
    with pytest.raises(InputError, match="drops a message of role system from a conversation of user, assistant, sys"):
        prompt_ids(made, late)
    assert len(TokenizedRows([make_row(ASKED, "owl")] * 39 + [make_row(late, "owl")], made)) == 39
    assert "1 of 40 left out: one for this: The chat template drops" in " ".join(capsys.readouterr().out.split())


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
