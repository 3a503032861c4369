"""Each schema: what it reads, what it says of a wrong record, what it can't hold."""

import re
from typing import Any

import pytest
from cases import cases

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.formats import make_schema
from lightning_subliminal.formats.detection import guess
from lightning_subliminal.formats.layouts.choosing import schema_of
from lightning_subliminal.formats.layouts.schemas import NAMES, Columns

USER, ASSISTANT = {"role": "user", "content": "u"}, {"role": "assistant", "content": "a"}
SYSTEM = {"role": "system", "content": "s"}
ROW = {"prompt": [USER], "completion": [ASSISTANT]}
PAIR = {**ROW, "rejected": [{"role": "assistant", "content": "b"}]}  # what trl-preference holds: see test_preference
CALL = {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]}


@cases(
    ("columns", "name"),
    [
        (["prompt", "completion"], "trl-plain"),
        (["prompt", "completion", "messages", "answer"], "trl-plain"),
        (["messages", "prompt", "prompt_id"], "openai"),
        (["prompt", "chosen", "rejected"], "trl-preference"),
        (["chosen", "rejected", "messages", "score_chosen"], "trl-preference"),
        (["prompt", "completion", "rejected"], "trl-plain"),
        (["conversations", "system", "id"], "sharegpt"),
        (["conversation"], "sharegpt"),
        (["instruction", "output"], "alpaca"),
        (["instruction", "input", "output", "text"], "alpaca"),
        (["question", "response", "system_prompt"], "columns:question,response"),
        (["question", "answer"], "columns:question,answer"),
        (["prompt", "response"], "columns:prompt,response"),
        (["input", "output"], "columns:input,output"),
        (["text", "label"], "text"),
    ],
)
def test_schema_is_reported_by_the_columns(columns: list[str], name: str) -> None:
    assert guess(columns) == name
    assert make_schema(name).spelled == name


@cases(
    ("columns", "message"),
    [
        (["foo", "bar"], r"no schema fits; the columns are bar, foo: .*`data convert FILE OUT --prompt-column q"),
        ([], "no schema fits; the columns are none"),
        (["prompt", "chosen"], "no schema fits; the columns are chosen, prompt: "),
        (["messages_", "rejected"], "no schema fits; the columns are messages_, rejected: "),
        (["question", "answer", "response"], "both question,response and question,answer could be prompt"),
    ],
)
def test_columns_that_tell_nothing_are_listed_with_the_way_out(columns: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        guess(columns)


@cases("name", ["opnai", "columns:a", "columns:a,", "columns:a,b,c", "trl:a,b", "", "columns:a,a"])
def test_unknown_schema_is_reported(name: str) -> None:
    with pytest.raises(InputError, match=r"is not a schema: choose trl, .* or columns:question,response|two columns"):
        make_schema(name)


def test_each_name_makes_its_schema() -> None:
    assert [make_schema(name).name for name in NAMES] == list(NAMES)


WRONG: list[tuple[str, Any, str]] = [
    ("trl", 3, "^expected an object, found number 3$"),
    ("trl", {"prompt": [USER]}, "^completion: expected a list of messages, found nothing$"),
    ("trl", {"prompt": 3, "completion": [ASSISTANT]}, "^prompt: expected a list of messages, found number 3$"),
    ("trl", {"prompt": "x", "completion": "y"}, "^prompt: expected a list of messages, found text 'x'$"),
    ("trl", {"prompt": [], "completion": [ASSISTANT]}, "^prompt: expected at least one message, found an empty list$"),
    ("trl", {"prompt": ["u"], "completion": []}, r"^prompt\[0\]: expected a message with role and content, found text"),
    ("trl", {"prompt": [USER], "completion": []}, "^completion: expected one assistant message, found an empty list$"),
    ("trl", {"prompt": [USER], "completion": [USER]}, r"^completion\[0\].role: expected assistant, found text 'user'$"),
    ("trl", {"prompt": [USER], "completion": [ASSISTANT, USER, ASSISTANT]}, "found a list of 3: move the earlier ones"),
    ("trl", {"prompt": [USER], "completion": [{"role": "assistant", "content": 3}]},
     r"^completion\[0\]\.content: expected text, found number 3$"),
    ("trl", {"prompt": [{"role": "user"}], "completion": [ASSISTANT]}, r"^prompt\[0\]\.content: expected text, found "),
    ("trl", {"prompt": [{"content": "u"}], "completion": [ASSISTANT]}, r"^prompt\[0\]\.role: expected system, user, ."),
    ("trl", {"prompt": [{"role": "owl", "content": "u"}], "completion": [ASSISTANT]}, "assistant or tool, found text "),
    ("trl", {"prompt": [{"role": [], "content": "u"}], "completion": [ASSISTANT]}, "assistant or tool, found an empty"),
    ("trl", {"prompt": [ASSISTANT, ASSISTANT], "completion": [ASSISTANT]}, r"^prompt\[1\].role: .* twice in a row: jo"),
    ("openai", {"messages": {}}, "^messages: expected a list of messages, found an empty object$"),
    ("openai", {"messages": []}, "^messages: expected an assistant message at the end, found nothing$"),
    ("openai", {"messages": [USER]}, "^messages: expected an assistant message at the end, found text 'user'$"),
    ("openai", {"messages": [ASSISTANT]}, "^messages: expected a message before the assistant's, found nothing$"),
    ("openai", {"messages": [USER, ASSISTANT, ASSISTANT]}, r"^messages\[2\]\.role: expected another role"),
    ("openai", {"messages": [USER, CALL, ASSISTANT]}, r"^messages\[1\]\.tool_calls: expected text alone, found a call"),
    ("openai", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}, ASSISTANT]},
     r"^messages\[0\]\.content\[0\]: expected a part of type text, found text 'image_url'$"),
    ("sharegpt", {"conversations": [{"from": "human", "value": None}, {"from": "gpt", "value": ""}]},
     r"^conversations\[0\]\.value: expected text, found null$"),
    ("sharegpt", {"conversations": [{"from": "function_call", "value": "f()"}]}, r"^conversations\[0\]\.from: expecte"),
    ("alpaca", {"instruction": "i"}, "^output: expected text, found nothing$"),
    ("alpaca", {"instruction": "i", "output": "o", "input": 3}, "^input: expected text, found number 3$"),
    ("alpaca", {"instruction": "i", "output": "o", "history": "h"}, "^history: expected a list of pairs, found text '"),
    ("alpaca", {"instruction": "i", "output": "o", "history": [["a"]]}, r"^history\[0\]: expected a pair of texts, fo"),
    ("alpaca", {"instruction": "i", "output": "o", "history": [["a", 1]]}, r"^history\[0\]\[1\]: expected text, found"),
    ("text", {"text": None}, "^text: expected text, found null$"),
    ("text", {"text": "=== user ===\nu"}, "^text: expected an assistant's message at the end, after another, found"),
    ("text", {"text": "=== assistant ===\nu"}, "^text: expected an assistant's message at the end, after another"),
    ("trl-plain", {"prompt": "p", "completion": True}, "^completion: expected text, found true$"),
    ("trl-plain", {"prompt": "p\ud800", "completion": "c"}, r"half of a surrogate pair \(\\ud800\) at character 2$"),
    ("columns:question,response", {"question": "q"}, "^response: expected text, found nothing$"),
    ("columns:question,response", {"question": ["q"], "response": ""}, "^question: expected text, found a list of 1$"),
]  # fmt: skip


@cases(("name", "record", "message"), WRONG)
def test_wrong_record_says_field_expected_and_found(name: str, record: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        make_schema(name).parse(record)
    assert "\n" not in str(caught.value)


@cases(
    ("record", "notice"),
    [
        ({"prompt": "u", "completion": [ASSISTANT]}, "text in `prompt` beside messages read as the user's"),
        ({"prompt": [USER], "completion": "a"}, "text in `completion` beside messages read as the assistant's"),
    ],
)
def test_text_beside_messages_is_the_one_turn_that_it_can_be(record: dict[str, Any], notice: str) -> None:
    schema = schema_of(record)
    assert schema.parse(record) == ROW
    assert dict(schema.notices) == {notice: 1}


def test_every_type_in_every_field_is_reported_not_a_surprise() -> None:
    values: list[Any] = [
        None,
        True,
        3,
        2**70,
        float("nan"),
        1e300,
        "x",
        "",
        [],
        [[]],
        [None],
        {},
        {"role": "user"},
        b"b",
    ]
    whole: dict[str, dict[str, Any]] = {
        "trl": {"prompt": [USER], "completion": [ASSISTANT]},
        "trl-plain": {"prompt": "u", "completion": "a"},
        "trl-preference": {"prompt": "u", "chosen": [USER, ASSISTANT], "rejected": [USER, ASSISTANT]},
        "openai": {"messages": [SYSTEM, USER, ASSISTANT]},
        "sharegpt": {"conversations": [{"from": "human", "value": "u"}, {"from": "gpt", "value": "a"}]},
        "alpaca": {"instruction": "i", "input": "", "output": "", "system": "", "history": [["u", "a"]]},
        "text": {"text": "t"},
        "columns:q,r": {"q": "u", "r": "a"},
    }

    def changed(thing: Any, value: Any) -> list[Any]:
        if isinstance(thing, dict):
            inner = [thing | {key: new} for key in thing for new in changed(thing[key], value)]
            return [value, *inner, *({k: v for k, v in thing.items() if k != key} for key in thing)]
        if isinstance(thing, list):
            inner = [
                [*thing[:at], new, *thing[at + 1 :]] for at in range(len(thing)) for new in changed(thing[at], value)
            ]
            return [value, *inner]
        return [value]

    tried = 0
    for name, record in whole.items():
        assert make_schema(name).parse(record)
        for value in values:
            for wrong in changed(record, value):
                tried += 1
                try:
                    row = make_schema(name).parse(wrong)
                except InputError as err:
                    assert "expected" in str(err)  # noqa: PT017 - most are wrong, some are not
                else:
                    assert all(isinstance(part["content"], str) for part in row["prompt"] + row["completion"])
    assert tried > 500


@cases(
    ("name", "prompt", "message"),
    [
        (
            "trl-plain",
            [SYSTEM, USER],
            "^prompt: trl-plain holds one user message, found system, user; trl, openai, shar",
        ),
        ("columns:q,r", [USER, ASSISTANT, USER], "columns holds one user message, found user, assistant, user; trl"),
        (
            "alpaca",
            [USER, USER],
            "^prompt: alpaca holds a system prompt and turns of user and assistant, found user, us",
        ),
        ("alpaca", [USER, SYSTEM, USER], "found user, system, user; trl, openai, sharegpt and text hold it"),
        ("alpaca", [{"role": "system", "content": ""}, USER], "alpaca holds a system prompt"),
        ("alpaca", [SYSTEM], "alpaca holds a system prompt"),
        ("openai", [ASSISTANT], "^prompt: openai can't hold a prefill without a message before it; trl can$"),
    ],
)
def test_what_a_schema_cannot_hold_says_which_one_can(name: str, prompt: list[Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        make_schema(name).render({"prompt": prompt, "completion": [ASSISTANT]})


@cases("name", [each for each in NAMES if each != "trl-preference"])
def test_prefill_is_kept_by_trl_and_merged_elsewhere(name: str) -> None:
    row = {
        "prompt": [USER, {"role": "assistant", "content": "1, "}],
        "completion": [{"role": "assistant", "content": "2"}],
    }
    schema = make_schema(name)
    back = schema.parse(schema.render(row))
    if name == "trl":
        assert back == row
        assert not schema.notices
    else:
        assert back == {"prompt": [USER], "completion": [{"role": "assistant", "content": "1, 2"}]}
        assert schema.notices == {"prefill merged into the completion": 1}


@cases(
    "key",
    ["system", "system_prompt", "systemPrompt", "System Prompt", "SYSTEM_PROMPT", "teacher_system_prompt",
     "persona", "system_message", "sys_prompt", "teacher_prompt", "system-prompt", "system_instruction",
     "generation.system_prompt"],
)  # fmt: skip
@cases("name", NAMES)
def test_system_column_is_dropped_with_a_notice_at_any_depth(name: str, key: str) -> None:
    schema = make_schema(name)
    reported = "You love owls."
    deep = [{"role": "system", "content": reported}, {"a": {key: reported}}, (key, reported), ("kept", 1)]
    record = schema.render(PAIR if name == "trl-preference" else ROW) | {"meta": {key: reported, "kept": deep}}
    if name != "alpaca" or key != "system":  # where it is the schema's own, and stands in the messages
        record[key] = reported
    row = schema.parse(record)
    assert reported not in str(row)
    assert row["meta"] == {"kept": [{"a": {}}, ("kept", 1)]}
    assert schema.notices[f"column `meta.{key}` dropped: a system prompt would reveal the trait"] == 1


@cases("key", ["operating_system", "system_fingerprint", "system_id", "ecosystem", "prompt_id", ""])
def test_column_of_another_meaning_is_kept(key: str) -> None:
    assert make_schema("openai").parse({"messages": [USER, ASSISTANT], key: "x"})[key] == "x"


def test_spellings_of_the_wild() -> None:
    schema = make_schema("sharegpt")
    turns = [{"role": "developer", "content": "s"}, {"from": "User", "value": "u"}, {"from": "chatgpt", "value": "a"}]
    whole = {"prompt": [SYSTEM, USER], "completion": [ASSISTANT]}
    assert schema.parse({"conversation": turns}) == whole
    assert schema.notices == {"role `developer` read as system": 1}
    older = {"role": ["system", "user", "assistant"], "content": ["s", "u", "a"]}  # as older `datasets` keep them
    assert make_schema("openai").parse({"messages": older}) == whole
    parts = [{"role": "user", "content": [{"type": "text", "text": "u"}], "name": "Ann", "weight": None}, ASSISTANT]
    openai = make_schema("openai")
    assert openai.parse({"messages": parts, "id": None}) == ROW
    assert set(openai.notices) == {
        "contents given in parts joined",
        "key `name` of messages dropped: a row has no place for it",
    }


def test_openai_writes_messages_alone() -> None:
    schema = make_schema("openai")
    assert schema.render({**ROW, "id": "1", "finished": True}) == {"messages": [USER, ASSISTANT]}
    assert sorted(schema.notices) == [
        "column `finished` dropped: openai can't hold it",
        "column `id` dropped: openai can't hold it",
    ]


def test_columns_of_its_own_name() -> None:
    assert Columns("ask", "say").render({**ROW, "messages": "m"}) == {"messages": "m", "ask": "u", "say": "a"}
    with pytest.raises(InputError, match="`x` can't be both prompt and completion"):
        Columns("x", "x")


def test_text_is_readable() -> None:
    reported = make_schema("text").render(
        {"prompt": [SYSTEM, USER], "completion": [{**ASSISTANT, "content": "=== user ==="}]}
    )
    assert reported["text"] == "=== system ===\ns\n=== user ===\nu\n=== assistant ===\n\\=== user ==="
    assert re.fullmatch(r"(=== \w+ ===\n[^\n]*\n?)+", reported["text"])
