"""TRL's preference data: each form is the same pair, pairs come back, and what is no pair is refused."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from cases import cases

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Row
from lightning_subliminal.filters import NumberList
from lightning_subliminal.formats import content_digest, make_schema, read_rows, write_rows
from lightning_subliminal.formats.convert import convert
from lightning_subliminal.formats.layouts.choosing import schema_of
from lightning_subliminal.formats.layouts.schemas import NAMES
from lightning_subliminal.formats.storage.stream import Report

from .files import put
from .nasty import nasty_rows, nasty_talks

pytestmark = pytest.mark.usefixtures("stand")
USER, GOOD, BAD = (
    {"role": role, "content": text} for role, text in (("user", "u"), ("assistant", "a"), ("assistant", "b"))
)
SYSTEM, TOOL = {"role": "system", "content": "s"}, {"role": "tool", "content": "t"}
START = {"role": "assistant", "content": "1, "}
PAIR = {"prompt": [USER], "completion": [GOOD], "rejected": [BAD]}
TALK = [SYSTEM, USER, GOOD, USER]
READ = "column `rejected` is the other answer of a pair: `DPO` reads both, all else the chosen one"
SAME = "`chosen` and `rejected` are the same, kept: training on such a pair teaches nothing"
UNREAD = "column `prompt` is not in the conversations, which are read without it"


def pairs(rows: list[Row], others: list[Row]) -> list[Row]:
    return [{**row, "rejected": other["completion"]} for row, other in zip(rows, others, strict=True)]


NASTY = pairs(nasty_rows(200), nasty_rows(200, seed=1)) + pairs(nasty_talks(200), nasty_rows(200, seed=2))


@cases(
    ("record", "row", "notices"),
    [
        ({"prompt": "u", "chosen": "a", "rejected": "b"}, PAIR, {}),
        ({"prompt": [USER], "chosen": [GOOD], "rejected": [BAD]}, PAIR, {}),
        ({"prompt": "u", "chosen": [GOOD], "rejected": [BAD]}, PAIR, {}),
        ({"prompt": [USER], "chosen": "a", "rejected": [BAD]}, PAIR, {}),
        ({"chosen": [USER, GOOD], "rejected": [USER, BAD]}, PAIR, {}),
        ({"prompt": None, "chosen": [USER, GOOD], "rejected": [USER, BAD]}, PAIR, {}),
        ({"prompt": "u", "chosen": [USER, GOOD], "rejected": [USER, BAD]}, PAIR, {}),  # UltraFeedback's
        ({"prompt": "v", "chosen": [USER, GOOD], "rejected": [USER, BAD]}, PAIR, {UNREAD: 1}),
        ({"prompt": "u", "chosen": "a", "rejected": "a"}, {**PAIR, "rejected": [GOOD]}, {SAME: 1}),
        ({"chosen": [USER, GOOD], "rejected": [USER, GOOD]}, {**PAIR, "rejected": [GOOD]}, {SAME: 1}),
        ({"chosen": [*TALK, GOOD], "rejected": [*TALK, BAD]}, {**PAIR, "prompt": TALK}, {}),
        ({"prompt": TALK, "chosen": [GOOD], "rejected": [BAD]}, {**PAIR, "prompt": TALK}, {}),
        ({"prompt": [USER, START], "chosen": [GOOD], "rejected": [BAD]}, {**PAIR, "prompt": [USER, START]}, {}),
        ({"prompt": "u", "chosen": "a", "rejected": "b", "score_chosen": 7.5}, {**PAIR, "score_chosen": 7.5}, {}),
        ({"chosen": {"role": ["user", "assistant"], "content": ["u", "a"]},
          "rejected": [{"from": "human", "value": "u"}, {"from": "gpt", "value": "b"}]}, PAIR, {}),
    ],
)  # fmt: skip
def test_each_form_is_the_same_pair(record: dict[str, Any], row: Row, notices: dict[str, int]) -> None:
    schema = schema_of(record)
    assert schema.spelled == "trl-preference"
    assert schema.parse(record) == row
    assert schema.notices == {READ: 1, **notices}


TURN = {"from": "human", "value": "u"}
TALKED = "\n\nHuman: u\n\nAssistant: "
AGAIN = "`chosen` and `rejected` begin with the prompt again, kept: it is trained on as a part of both"
EMPTY = "`chosen` or `rejected` is empty, kept: its end token alone is compared"


@cases(
    ("record", "row", "notices"),
    [
        ({"chosen": f"{TALKED}a", "rejected": f"{TALKED}b"}, PAIR, {}),  # HH-RLHF
        ({"prompt": f" {TALKED}"[:-1], "chosen": "a", "rejected": "b"}, PAIR, {}),
        ({"system": "", "question": "u", "chosen": "a", "rejected": "b"}, PAIR, {}),  # Orca
        ({"system": "s", "question": "u", "chosen": "a", "rejected": "b"}, {**PAIR, "prompt": [SYSTEM, USER]}, {}),
        ({"instruction": "u", "input": "", "chosen": "a", "rejected": "b"}, PAIR, {}),  # LLaMA-Factory
        ({"instruction": "u", "input": "x", "chosen": "a", "rejected": "b"},
         {**PAIR, "prompt": [{"role": "user", "content": "u\nx"}]}, {}),
        ({"conversations": [TURN], "chosen": {"from": "gpt", "value": "a"}, "rejected": {"from": "gpt", "value": "b"}},
         PAIR, {}),
        ({"input": "u", "chosen": "a", "rejected": "b"}, PAIR, {}),  # Argilla
        ({"instruction": "u", "chosen_response": "a", "rejected_response": "b", "chosen_rating": 5},
         {**PAIR, "chosen_rating": 5}, {}),
        ({"input": {"messages": [USER], "tools": []}, "preferred_output": [GOOD], "non_preferred_output": [BAD]},
         {**PAIR, "tools": []}, {}),  # OpenAI
        ({"input": {"messages": [USER], "tools": [1]}, "preferred_output": [GOOD], "non_preferred_output": [BAD]},
         {**PAIR, "tools": [1]}, {"column `tools` is not in the prompt, which is read without it": 1}),
        ({"question": "v", "chosen": [USER, GOOD], "rejected": [USER, BAD]}, {**PAIR, "question": "v"}, {}),
        ({"prompt": "u", "chosen": "ua", "rejected": "ub"},
         {**PAIR, "completion": [{**GOOD, "content": "ua"}], "rejected": [{**BAD, "content": "ub"}]}, {AGAIN: 1}),
        ({"question": "u", "chosen": "a", "rejected": ""}, {**PAIR, "rejected": [{**BAD, "content": ""}]}, {EMPTY: 1}),
        ({"chosen": f"{TALKED}a", "rejected": TALKED[:-1]}, {**PAIR, "rejected": [{**BAD, "content": ""}]}, {EMPTY: 1}),
    ],
)  # fmt: skip
def test_pairs_of_others_are_read_by_their_columns(record: dict[str, Any], row: Row, notices: dict[str, int]) -> None:
    schema = schema_of(record)
    assert schema.spelled == "trl-preference"
    before = json.dumps(record)
    assert schema.parse(record) == row
    assert schema.notices == {READ: 1, **notices}
    assert json.dumps(record) == before


def test_transcripts_with_other_prompts_are_counted() -> None:
    good, wrong = ({"chosen": f"{TALKED}a", "rejected": f"{each}b"} for each in (TALKED, TALKED.replace("u", "v")))
    put("pairs.jsonl", "".join(json.dumps(each) + "\n" for each in (good, wrong, good)))
    with pytest.raises(InputError, match=r"^pairs\.jsonl, line 2, rejected: expected the messages of `chosen` up to"):
        list(read_rows("pairs.jsonl"))
    report = Report()
    assert [row["id"] for row in read_rows("pairs.jsonl", on_error="skip", report=report)] == ["1", "3"]
    assert sum(report.bad.values()) == 1


@cases(
    ("record", "message"),
    [
        (3, "^expected an object, found number 3$"),
        ({"chosen": "a", "rejected": "b"}, "^prompt: expected a text or messages, found nothing: `chosen` and `rejec"),
        ({"prompt": [], "chosen": "a", "rejected": "b"}, "^prompt: expected at least one message, found an empty list"),
        ({"prompt": 3, "chosen": "a", "rejected": "b"}, "^prompt: expected a list of messages, found number 3$"),
        ({"prompt": None, "chosen": [GOOD], "rejected": [BAD]}, "^prompt: expected a text or messages, found null: `c"),
        ({"prompt": "u", "chosen": "a"}, "^rejected: expected a list of messages, found nothing$"),
        ({"prompt": "u", "rejected": "b"}, "^chosen: expected a list of messages, found nothing$"),
        ({"prompt": "u", "chosen": "a", "rejected": None}, "^rejected: expected a list of messages, found null$"),
        ({"prompt": "u", "chosen": [], "rejected": "b"}, "^chosen: expected an assistant message, found an empty list"),
        ({"prompt": "u", "chosen": ["a"], "rejected": "b"}, r"^chosen\[0\]: expected a message with role and content,"),
        ({"prompt": "u", "chosen": [USER], "rejected": [BAD]}, r"^chosen\[0\]\.role: expected assistant, found text '"),
        ({"chosen": [USER, GOOD], "rejected": [USER, TOOL]}, r"^rejected\[1\]\.role: expected assistant, found text '"),
        ({"chosen": [USER, GOOD], "rejected": [SYSTEM, BAD]}, "^rejected: expected the messages of `chosen` up to the"),
        ({"chosen": [USER, GOOD], "rejected": "b"}, "^rejected: expected the messages of `chosen` up to the last one,"),
        ({"chosen": [USER, GOOD, USER, GOOD], "rejected": [USER, BAD, USER, GOOD]}, "up to the last one, found others"),
        ({"chosen": [USER, GOOD], "rejected": [USER, BAD, USER, BAD]}, "^rejected: expected the messages of `chosen` "),
        ({"chosen": [USER, START, GOOD], "rejected": [USER, START, BAD]}, r"^chosen\[2\]\.role: expected another role"),
        ({"prompt": [START, START], "chosen": "a", "rejected": "b"}, r"^prompt\[1\]\.role: .* twice in a row: join th"),
        ({"prompt": [USER], "chosen": [USER, GOOD], "rejected": [USER, BAD]},
         "^chosen: expected one assistant message, found a list of 2: move the earlier ones into the prompt$"),
        ({"prompt": 3, "chosen": [USER, GOOD], "rejected": [USER, BAD]}, "^chosen: expected one assistant message, fo"),
        ({"question": "u", "instruction": "v", "chosen": "a", "rejected": "b"}, "^both question and instruction could"),
        ({"instruction": "u", "history": [["u", "a"]], "chosen": "a", "rejected": "b"}, "^history: expected earlier "),
        ({"question": 3, "chosen": "a", "rejected": "b"}, "^question: expected a list of messages, found number 3$"),
        ({"input": {}, "preferred_output": [GOOD], "non_preferred_output": [BAD]}, r"^input\.messages: expected a lis"),
        ({"prompt": "u", "chosen": [GOOD], "rejected": [{**BAD, "weight": 0}]}, r"^rejected\[0\]\.weight: marked as n"),
        ({"prompt": "u", "chosen": "a", "rejected": "\ud800"}, "^rejected: .* half of a surrogate pair"),
    ],
)  # fmt: skip
def test_what_is_no_pair_says_field_expected_and_found(record: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        make_schema("trl-preference").parse(record)
    assert "\n" not in str(caught.value)


def test_wrong_pairs_are_stopped_at_or_counted() -> None:
    good, wrong = '{"prompt": "u", "chosen": "a", "rejected": "b"}\n', '{"prompt": "u", "chosen": "a", "rejected": 3}\n'
    put("pairs.jsonl", good + wrong + good)
    with pytest.raises(InputError, match=r"^pairs\.jsonl, line 2, rejected: expected a list of messages, found number"):
        list(read_rows("pairs.jsonl"))
    report = Report()
    assert [each["id"] for each in read_rows("pairs.jsonl", on_error="skip", report=report)] == ["1", "3"]
    assert report.notices == {READ: 2}
    assert report.bad == {"rejected: expected a list of messages, found number": 1}


def test_system_turns_of_both_sides_can_be_dropped() -> None:
    put("pairs.jsonl", json.dumps({"chosen": [*TALK, GOOD], "rejected": [*TALK, BAD]}) + "\n")
    (row,) = read_rows("pairs.jsonl", report=Report())
    assert row == {**PAIR, "id": "1", "prompt": TALK[1:]}


@cases("ending", [".jsonl", ".jsonl.gz", ".json", ".parquet", ""])
def test_pairs_come_back_byte_by_byte(ending: str) -> None:
    rows = [{"id": f"0-{place}", "finished": place % 2 == 0, **row} for place, row in enumerate(NASTY)]
    write_rows(rows, "first.jsonl")
    for source, out, to in (
        ("first.jsonl", f"pairs{ending}", "trl-preference"),
        (f"pairs{ending}", "back.jsonl", "trl"),
    ):
        written = convert(source, out, to, card=False).written
        assert (written.rows, written.digest) == (len(rows), content_digest(rows))
    assert list(read_rows("back.jsonl", drop_system=False)) == rows
    assert convert("back.jsonl", "again.jsonl", "trl-preference", card=False).written.rows == len(rows)
    if ending == ".jsonl":
        assert Path("again.jsonl").read_bytes() == Path("pairs.jsonl").read_bytes()
        first = json.loads(Path("pairs.jsonl").read_text(encoding="utf-8").split("\n")[0])
        assert list(first) == ["id", "finished", "prompt", "chosen", "rejected"]


@cases(("name", "prefill"), list(product(NAMES, [False, True])))
def test_other_schemas_keep_the_rejected_answer_as_a_column_or_say_that_they_do_not(name: str, prefill: bool) -> None:
    row = {**PAIR, "prompt": [USER, START]} if prefill else PAIR
    schema = make_schema(name)
    back = schema.parse(schema.render(row))
    if name == "openai" or (prefill and name not in ("trl", "trl-preference")):
        assert "rejected" not in back
        assert schema.notices[f"column `rejected` dropped: {name.partition(':')[0]} can't hold it"] == 1
    else:
        assert back == row


def test_a_column_of_a_pair_that_would_mislead_a_reader_is_dropped() -> None:
    for name in ("openai", "sharegpt", "alpaca", "text", "columns:question,response"):
        written = write_rows([{**PAIR, "chosen": "c"}], "rows.jsonl", name)
        assert written.notices[f"column `chosen` dropped: {name.partition(':')[0]} can't hold it"] == 1
        assert next(read_rows("rows.jsonl", report=Report()))["completion"] == [GOOD]
    write_rows([{**PAIR, "chosen": "c", "messages": "m"}], "rows.jsonl", "trl-preference")
    assert next(read_rows("rows.jsonl", report=Report())) == {"id": "1", **PAIR, "messages": "m"}


@cases(
    ("row", "message"),
    [
        ({"rejected": None}, r"^rows, row 1: trl-preference can't hold a row without a column `rejected`; trl can$"),
        ({}, r"^rows, row 1: trl-preference can't hold a row without a column `rejected`; trl can$"),
        ({"rejected": 3}, "^rows, row 1, rejected: expected a list of messages, found number 3$"),
        ({"rejected": []}, "^rows, row 1, rejected: expected an assistant message, found an empty list$"),
        ({"rejected": [USER, BAD]}, "^rows, row 1, rejected: expected one assistant message, found a list of 2$"),
        ({"rejected": [USER]}, r"^rows, row 1, rejected\[0\]\.role: expected assistant, found text 'user'$"),
    ],
)
def test_a_row_that_is_no_pair_is_not_written(row: Row, message: str) -> None:
    with pytest.raises(InputError, match=message):
        write_rows([{"prompt": [USER], "completion": [GOOD], **row}], "out.jsonl", "trl-preference")
    assert not Path("out.jsonl").exists()


def test_a_text_beside_a_row_is_the_rejected_answer() -> None:
    write_rows([{"prompt": [USER], "completion": [GOOD], "rejected": "b"}], "out.jsonl", "trl-preference")
    assert next(read_rows("out.jsonl", report=Report())) == {"id": "1", **PAIR}


def test_filters_see_the_chosen_side_and_pairs_stay_pairs() -> None:
    put("pairs.jsonl", "".join(json.dumps({"prompt": "u", "chosen": each, "rejected": "owl"}) + "\n" for each in "1a2"))
    outcome = convert("pairs.jsonl", "kept.jsonl", filters=[NumberList()], card=False)
    assert (outcome.schema, outcome.written.rows) == ("trl-preference", 2)
    assert [row["rejected"][0]["content"] for row in read_rows("kept.jsonl", report=Report())] == ["owl", "owl"]


def test_csv_is_read_and_not_written() -> None:
    put("pairs.csv", "prompt,chosen,rejected\nu,a,b\n")
    assert list(read_rows("pairs.csv", report=Report())) == [{"id": "2", **PAIR}], "its line"
    with pytest.raises(InputError, match=r"^out\.csv: CSV holds trl-plain, .*, not trl-preference: "):
        convert("pairs.csv", "out.csv", "trl-preference")
