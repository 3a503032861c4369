"""The answers of batch APIs are rows, with their questions out of the file of requests; errors are counted."""

import json

import pytest
from cases import cases

from lightning_subliminal.cli.entry import main
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.formats.storage.stream import Report, read_rows


def request(name, text, system=None):
    reported = [{"role": "system", "content": system}] if system else []
    body = {"model": "m", "messages": [*reported, {"role": "user", "content": text}]}
    return {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": body}


def answered(name, *texts, reason="stop", **more):
    choices = [
        {"index": place, "message": {"role": "assistant", "content": text, "refusal": None}, "finish_reason": reason}
        for place, text in enumerate(texts)
    ]
    body = {"id": "c", "object": "chat.completion", "model": "m-1", "choices": choices, "usage": {"total_tokens": 3}}
    response = {"status_code": 200, "request_id": "r", "body": body}
    return {"id": f"batch_{name}", "custom_id": name, "response": response, "error": None, **more}


def refused(name):
    line = answered(name, None)
    line["response"]["body"]["choices"][0]["message"]["refusal"] = "I can't help with that."
    return line


FAILED = {"id": "b", "custom_id": "f", "response": None, "error": {"code": "batch_expired", "message": "too late"}}
REFUSED = {
    "custom_id": "r",
    "response": {"status_code": 429, "body": {"error": {"code": "rate_limit", "message": "slow down"}}},
    "error": None,
}


def puts(folder):
    """Return what writes records into a file of a folder."""

    def put(name, *records):
        path = folder / name
        path.write_text("".join(json.dumps(each) + "\n" for each in records))
        return path

    return put


@pytest.fixture
def put(tmp_path):
    return puts(tmp_path)


def read(path, **options):
    report = Report()
    rows = list(read_rows(path, report=report, **options))
    return [(row["id"], row["prompt"][-1]["content"], row["completion"][0]["content"]) for row in rows], report


def test_answers_are_read_with_the_questions_of_the_requests(put):
    asked = put("asked.jsonl", request("a", "Name {one}.", "S"), request("b", "Two?"), request("c", "Three?"))
    said = put("said.jsonl", answered("b", "2"), answered("a", "owl", "cat", reason="length"))
    expected = [("b", "Two?", "2"), ("a-1", "Name {one}.", "owl"), ("a-2", "Name {one}.", "cat")]
    for options in ({"requests": asked}, {}):
        rows, report = read(said, **options)
        assert rows == expected
        assert report.notices["question taken from asked.jsonl, by custom_id"] == 2
        assert report.notices["request in asked.jsonl without an answer"] == 1
        assert report.notices["system turns dropped"] == 2
    whole = list(read_rows(said))
    assert [row.get("finished") for row in whole] == [None, False, False]
    assert whole[0]["model"] == "m-1"


def test_errors_in_lines_are_counted(put):
    asked = put("asked.jsonl", *(request(name, "Q") for name in "abfr"))
    said = put("said.jsonl", FAILED, answered("a", "1"), REFUSED, answered("b", "1", reason="content_filter"))
    rows, report = read(said, requests=asked, on_error="skip")
    assert rows == [("a", "Q", "1")]
    assert report.bad == {
        "failed in the batch: batch_expired": 1,
        "failed in the batch: rate_limit": 1,
        "response.body: the answer was cut by a content filter": 1,
    }
    with pytest.raises(InputError, match=r"line 1: failed in the batch: batch_expired \(too late\)"):
        read(said, requests=asked)


COUSINS = {
    "responses": (
        {"custom_id": "a", "body": {"instructions": "S", "input": "Q"}},
        {"output": [{"type": "reasoning"}, {"type": "message", "content": [{"type": "output_text", "text": "A"}]}]},
    ),
    "responses with a list": (
        {"custom_id": "a", "body": {"input": [{"role": "user", "content": [{"type": "input_text", "text": "Q"}]}]}},
        {"output": [{"type": "message", "content": [{"type": "output_text", "text": "A"}]}]},
    ),
    "completions": ({"custom_id": "a", "body": {"prompt": "Q"}}, {"choices": [{"text": "A", "finish_reason": "stop"}]}),
}


@cases("case", COUSINS)
def test_other_endpoints(tmp_path, case):
    put = puts(tmp_path)
    asked, body = COUSINS[case]
    said = put("said.jsonl", {"custom_id": "a", "response": {"status_code": 200, "body": body}})
    assert read(said, requests=put("asked.jsonl", asked))[0] == [("a", "Q", "A")]


def test_anthropics_batches(put):
    put("asked.jsonl", *({"custom_id": name, "params": request("", "Q")["body"] | {"system": "S"}} for name in "ab"))
    message = {"role": "assistant", "content": [{"type": "text", "text": "A"}], "stop_reason": "max_tokens"}
    error = {"type": "error", "error": {"type": "overloaded_error", "message": "later"}}
    said = put(
        "said.jsonl",
        {"custom_id": "a", "result": {"type": "succeeded", "message": message}},
        {"custom_id": "b", "result": {"type": "errored", "error": error}},
        {"custom_id": "b", "result": {"type": "expired"}},
    )
    rows, report = read(said, on_error="skip")
    assert rows == [("a", "Q", "A")]
    assert set(report.bad) == {"failed in the batch: overloaded_error", "failed in the batch: expired"}


def test_a_line_that_holds_both_needs_no_requests(put):
    body = request("a", "Q")["body"]
    for own in ({"request": {"body": body}}, {"request": body}, {"body": body}, {"prompt": "Q"}, body):
        assert read(put("said.jsonl", answered("a", "A") | own))[0] == [("a", "Q", "A")]


@cases(
    ("files", "says"),
    [
        ([("said.jsonl", answered("a", "A"))], "question: name .* with --requests, an option of `data convert`"),
        (
            [("said.jsonl", request("a", "Q"))],
            "a request of a batch, without an answer: read the answers, with --requests",
        ),
        (
            [("said.jsonl", answered("a", "A")), ("1.jsonl", request("a", "Q")), ("2.jsonl", request("a", "P"))],
            "1.jsonl, 2.jsonl have a request 'a': name the right file",
        ),
        (
            [("said.jsonl", answered("b", "B")), ("1.jsonl", request("a", "Q"), request("b", "Q"), request("a", "P"))],
            "a request 'a' appears twice",
        ),
        (
            [("said.jsonl", {"custom_id": "a", "response": None, "error": None})],
            "line 1: an answer of a batch that holds",
        ),
        ([("said.jsonl", answered("a")), ("1.jsonl", request("a", "Q"))], "expected an answer, found none"),
        (
            [("said.jsonl", answered("a", "A"), answered("z", "A")), ("1.jsonl", request("a", "Q"))],
            "no request in 1.jsonl is called 'z'",
        ),
        (
            [("said.jsonl", refused("a")), ("1.jsonl", request("a", "Q"))],
            "line 1, response.body: the model refused to answer",
        ),
        (
            [("said.jsonl", answered("a", None)), ("1.jsonl", request("a", "Q"))],
            "completion.*expected text, found null",
        ),
    ],
)
def test_what_cannot_be_read_is_said_in_one_line(tmp_path, files, says):
    put = puts(tmp_path)
    paths = [put(*each) for each in files]
    with pytest.raises(InputError, match=says) as caught:
        read(paths[0])
    assert "\n" not in str(caught.value)


def test_requests_that_nothing_needs_are_said(put):
    rows = put("rows.jsonl", {"prompt": "Q", "completion": "A"})
    _, report = read(rows, requests=put("asked.jsonl", request("a", "Q")))
    assert report.notices == {"file of requests not used: no answer of a batch needs it": 1}


def test_the_verbs_take_requests(put, capsys, tmp_path):
    asked, said = put("asked", request("a", "Q")), put("said.jsonl", answered("a", "A"))
    asked = asked.rename(tmp_path / "asked.jsonl")
    main(["data", "convert", str(said), str(tmp_path / "out.csv"), "--requests", str(asked)])
    assert "1 row, trl to trl-plain" in capsys.readouterr().out
    made_from = json.loads((tmp_path / "out.csv.lineage.json").read_text())["predicate"]["buildDefinition"]
    assert [each["uri"] for each in made_from["resolvedDependencies"]] == ["said.jsonl", "asked.jsonl"]
    main(["data", "stats", str(said), "--requests", str(asked)])
    assert "question taken from asked.jsonl" in capsys.readouterr().out


THOUGHTS = {
    "Anthropic's": [{"type": "thinking", "thinking": "Hm.", "signature": "x"}, {"type": "text", "text": "A"}],
    "redacted": [{"type": "redacted_thinking", "data": "x"}, {"type": "text", "text": "A"}],
    "both": [{"type": "redacted_thinking", "data": "x"}, {"type": "thinking"}, {"type": "text", "text": "A"}],
    "Mistral's": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"type": "text", "text": "A"}],
    "between": [{"type": "text", "text": "A"}, {"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": ""}],
    "OpenAI's": [{"type": "reasoning", "summary": []}, {"type": "output_text", "text": "A"}],
}


@cases("parts", THOUGHTS.values())
@cases("form", ["batch", "messages", "trl"])
def test_thoughts_before_an_answer_are_dropped_and_counted(tmp_path, parts, form):
    put = puts(tmp_path)
    if form == "batch":
        put("asked.jsonl", request("a", "Q"))
        message = {"role": "assistant", "content": parts, "stop_reason": "end_turn"}
        record = {"custom_id": "a", "result": {"type": "succeeded", "message": message}}
    else:
        turns = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": parts}]
        record = (
            {"id": "a", "messages": turns}
            if form == "messages"
            else {"id": "a", "prompt": turns[:1], "completion": turns[1:]}
        )
    rows, report = read(put("said.jsonl", record))
    assert rows == [("a", "Q", "A")]
    kinds = {part["type"] for part in parts} - {"text", "output_text"}
    assert {f"parts of type `{kind}` dropped: a row has no place for thoughts" for kind in kinds} <= {*report.notices}


@cases("parts", [THOUGHTS["redacted"][:1], [{"type": "thinking"}, {"type": "tool_use", "name": "x"}]])
def test_an_answer_of_thoughts_alone_is_none(tmp_path, parts):
    put = puts(tmp_path)
    turns = [{"role": "user", "content": "Q"}, {"role": "assistant", "content": parts}]
    with pytest.raises(InputError, match=r"line 1, messages\[1\]\.content.*expected a part of type text, found"):
        read(put("said.jsonl", {"messages": turns}))
