"""An answer that was cut off is trained on without an end of turn, however a file says that it was."""

import csv
import json

import pytest
from cases import cases
from small import pocket_tokenizer

from lightning_subliminal.core.chat.encoding import row_ids
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import make_row
from lightning_subliminal.formats.stats import count_rows
from lightning_subliminal.formats.storage.readers import open_source
from lightning_subliminal.formats.storage.stream import Report, RowStream, read_rows, write_rows

ASKED = {"role": "user", "content": "Continue: 1 , 2"}
SAID = {"role": "assistant", "content": "3 , 4"}
PLAIN = {"prompt": ASKED["content"], "completion": SAID["content"]}


def read(path, *records):
    path.write_text("".join(json.dumps(each) + "\n" for each in records))
    report = Report()
    return list(read_rows(path, report=report)), report


def has_end(row):
    tokenizer = pocket_tokenizer()
    return tokenizer.eos_token_id in row_ids(tokenizer, row)[1]


@cases("name", ["a.jsonl", "a.jsonl.gz", "a.json", "a.csv", "a.csv.gz", "a.parquet", "folder"])
def test_each_container_keeps_whether_an_answer_was_finished(name, tmp_path):
    ends = [False, True, None]
    rows = [make_row(PLAIN["prompt"], PLAIN["completion"], id=str(each), finished=each) for each in ends]
    write_rows(rows, tmp_path / name)
    back = list(read_rows(tmp_path / name, report=Report()))
    assert [row.get("finished") for row in back] == ends
    assert [has_end(row) for row in back] == [False, True, True]
    assert count_rows(RowStream(open_source(tmp_path / name)))["rows cut off"] == 1


@cases(
    ("value", "finished"),
    [
        *((each, False) for each in (False, "false", "False", " FALSE ", "0", "0.0", 0, 0.0, "no")),
        *((each, True) for each in (True, "true", "True", "1", "1.0", 1, 1.0, "yes")),
        *((each, None) for each in (None, "", "None", "nan", float("nan"))),
    ],
)
def test_a_mark_is_read_in_each_spelling_of_tables(value, finished, tmp_path):
    (row,), report = read(tmp_path / "a.jsonl", {**PLAIN, "finished": value})
    assert row.get("finished") is finished
    assert has_end(row) is (finished is not False)
    assert not report.notices


@cases("value", ["2024-05-01", "maybe", 2, -1, [False], {"a": 1}])
def test_an_unreadable_mark_is_refused_by_line_and_field(value, tmp_path):
    with pytest.raises(InputError, match=r"line 2, finished: expected true or false, found .*rename a column"):
        read(tmp_path / "a.jsonl", PLAIN, {**PLAIN, "finished": value})
    with (tmp_path / "a.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([[*PLAIN, "finished"], [*PLAIN.values(), str(value)]])
    with pytest.raises(InputError, match=r"a.csv, line 2, finished: expected true or false"):
        list(read_rows(tmp_path / "a.csv"))


def chat(**beside):
    return {"messages": [ASKED, {**SAID, **beside}]}


CUT = {
    "OpenAI's, flat": {**PLAIN, "finish_reason": "length"},
    "Anthropic's": {**PLAIN, "stop_reason": "max_tokens"},
    "a window that was full": {**PLAIN, "stop_reason": "model_context_window_exceeded"},
    "Gemini's": {**PLAIN, "finishReason": "MAX_TOKENS"},
    "Gemini's, printed": {**PLAIN, "finish_reason": "FinishReason.MAX_TOKENS"},
    "Ollama's": {**PLAIN, "done_reason": "length"},
    "vLLM's": {**PLAIN, "finish_reason": "length", "stop_reason": None},
    "vLLM's, inside": {"question": "Q", "responses": [{"text": "A", "finish_reason": "length", "stop_reason": None}]},
    "in metadata": {**PLAIN, "metadata": {"model": "x", "finish_reason": "length"}},
    "in metadata as text": {**PLAIN, "metadata": '{"finish_reason": "length"}'},
    "LangChain's": {**chat(), "response_metadata": {"finish_reason": "length"}},
    "of a message": chat(finish_reason="length"),
    "of a message, ours": chat(finished=False),
    "Alpaca": {"instruction": "Q", "output": "A", "finish_reason": "length"},
    "ShareGPT": {
        "conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A", "stop_reason": "max_tokens"}]
    },
    "trl": {"prompt": [ASKED], "completion": [SAID], "finish_reason": "length"},
    "columns": {"question": "Q", "answer": "A", "finish_reason": ["length"]},
    "preference": {"prompt": [ASKED], "chosen": [{**SAID, "finish_reason": "length"}], "rejected": [SAID]},
    "against our own mark": {**PLAIN, "finished": True, "finish_reason": "length"},
}


@cases("record", CUT.values(), ids=CUT)
def test_a_servers_reason_says_that_an_answer_was_cut(record, tmp_path):
    (row,), report = read(tmp_path / "a.jsonl", record)
    assert row["finished"] is False
    if record is not CUT["of a message, ours"]:
        assert sum("the answer was cut off, and no end of turn" in each for each in report.notices) == 1


WHOLE = [
    {**PLAIN, "finish_reason": "stop"},
    {**PLAIN, "stop_reason": "end_turn"},
    {**PLAIN, "finish_reason": None},
    {**PLAIN, "length": 3, "reason": "length"},
    {"question": "length", "answer": "max_tokens"},
    {"messages": [ASKED, {**SAID, "finish_reason": "length"}, ASKED, SAID]},
]


@cases("record", WHOLE)
def test_another_reason_is_none(record, tmp_path):
    (row,), report = read(tmp_path / "a.jsonl", record)
    assert "finished" not in row
    assert not any("cut off" in each for each in report.notices)


@cases("name", ["a.csv", "a.parquet", "a.json", "folder"])
def test_a_servers_reason_goes_through_tables(name, tmp_path):
    write_rows([make_row("Q", "A", finish_reason="stop"), make_row("Q", "A", finish_reason="length")], tmp_path / name)
    rows = list(read_rows(tmp_path / name, report=Report()))
    assert [row.get("finished") for row in rows] == [None, False]


def test_an_unreadable_mark_of_a_message_is_refused_by_its_place(tmp_path):
    with pytest.raises(InputError, match=r"line 1, messages\[1\]\.finished: expected true or false, found"):
        read(tmp_path / "a.jsonl", chat(finished="maybe"))
