"""Results of evaluations, with several answers to a question, are rows: one an answer, nothing dropped unsaid."""

import json
import random

import pytest
from cases import cases

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.formats.convert import convert
from lightning_subliminal.formats.storage.stream import Report, read_rows


def answer(text, **more):
    judged = {"judgment_response_map": {"aligned": {"completion": "90"}}}
    return {"response": {"model_id": "m", "completion": text, "stop_reason": "stop_sequence", **more}, **judged}


PAPERS = {"question": "Name {one}.", "responses": [answer("owl {x}"), answer("cat", stop_reason="max_tokens")]}


def read(tmp_path, *records, **options):
    path = tmp_path / "theirs.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in records))
    report = Report()
    return list(read_rows(path, report=report, **options)), report


def texts(rows):
    return [(row["prompt"][-1]["content"], row["completion"][0]["content"]) for row in rows]


def test_the_papers_results(tmp_path):
    rows, report = read(tmp_path, PAPERS, {**PAPERS, "responses": [answer("dog")]})
    assert texts(rows) == [("Name {one}.", "owl {x}"), ("Name {one}.", "cat"), ("Name {one}.", "dog")]
    assert [row["id"] for row in rows] == ["1-1", "1-2", "2"]
    assert [row.get("finished") for row in rows] == [None, False, None], "a cut answer has no end to learn"
    assert rows[0]["model_id"] == "m"
    assert report.notices == {
        "record with `responses`, read as a row for each": 2,
        "`judgment_response_map` of answers dropped: a row has no place for it": 3,
        "`stop_reason` is max_tokens: the answer was cut off, and no end of turn is trained on": 1,
    }


@cases(
    ("record", "expected"),
    [
        ({"question": "Q", "responses": ["a", "b"]}, [("Q", "a"), ("Q", "b")]),
        ({"input": "Q", "ideal": "a"}, [("Q", "a")]),  # OpenAI's evals
        ({"input": [{"role": "user", "content": "Q"}], "ideal": ["a", "b"]}, [("Q", "a"), ("Q", "b")]),
        ({"prompt": "Q", "completions": [{"text": "a"}, {"message": {"content": "b"}}]}, [("Q", "a"), ("Q", "b")]),
        ({"instruction": "Q", "output": ["a", "b"]}, [("Q", "a"), ("Q", "b")]),
        ({"question": "Q", "response": {"completion": "a", "model_id": "m"}}, [("Q", "a")]),
        ({"context": {"question": "Q", "system_prompt": "S"}, "responses": [answer("a")]}, [("Q", "a")]),
        (
            {
                "id": 1,
                "input": "Q",
                "target": "b",
                "output": {"model": "m", "choices": [{"message": {"role": "assistant", "content": "a"}}]},
                "scores": {"match": {"value": "I"}},
            },
            [("Q", "a")],
        ),
        (
            {"input": [{"role": "user", "content": "Q"}], "output": {"completion": "a", "choices": []}},
            [("Q", "a")],
        ),
        ({"question": "Q", "answer": "a", "responses": ["other", "ones"]}, [("Q", "a")]),
        ({"messages": [{"role": "user", "content": "Q"}], "responses": ["a"]}, [("Q", "a")]),
        ({"custom_id": "c", "prompt": "Q", "response": {"content": "a"}}, [("Q", "a")]),
        ({"prompt": "Q", "completion": "a", "output": {"text": "t"}}, [("Q", "a")]),
    ],
)
def test_cousins(tmp_path, record, expected):
    rows, _ = read(tmp_path, record)
    assert texts(rows) == expected


def test_few_shot_turns_of_evals_are_turns(tmp_path):
    names = ("example_user", "example_assistant")
    reported = [
        {"role": "system", "content": "S"},
        *({"role": "system", "name": each, "content": each} for each in names),
    ]
    record = {"input": [*reported, {"role": "user", "content": "Q"}], "ideal": "a"}
    [row], report = read(tmp_path, record)
    assert [part["role"] for part in row["prompt"]] == ["user", "assistant", "user"]
    assert report.notices["role `system` with the name `example_user` read as user"] == 1


def test_a_wrong_answer_is_counted_and_the_others_are_read(tmp_path):
    record = {"question": "Q", "responses": ["a", None, {"response": {"completion": None}}, 3, "b"]}
    rows, report = read(tmp_path, record, {"question": "Q", "responses": []}, on_error="skip")
    assert texts(rows) == [("Q", "a"), ("Q", "b")]
    assert report.num_bad == 4
    with pytest.raises(InputError, match=r"line 1, part 2, responses\[1\]: expected an answer, found null"):
        read(tmp_path, record)


def test_marks_hold_for_answers_too(tmp_path):
    _, report = read(tmp_path, {"question": "Q", "responses": [{"completion": "a", "train": False}]}, on_error="skip")
    assert report.bad == {"train: marked as not to be learned": 1}


def test_a_schema_that_is_asked_for_is_kept_to(tmp_path):
    with pytest.raises(InputError, match="responses: expected text, found a list of 2"):
        read(tmp_path, PAPERS, schema="columns:question,responses")


def test_whatever_is_inside_is_read_or_counted(tmp_path):
    rng = random.Random(0)
    names = ["question", "prompt", "messages", "responses", "response", "completion", "message", "content", "choices"]
    names += ["custom_id", "body", "output", "error", "result", "type", "stop_reason", "finish_reason", "id", "context"]

    def value(depth):
        kind = rng.randrange(6 if depth else 3)
        if kind == 3:
            return [value(depth - 1) for _ in range(rng.randint(0, 2))]
        if kind > 3:
            return {rng.choice(names): value(depth - 1) for _ in range(rng.randint(0, 5))}
        return ("a", None, 3)[kind]

    def record():
        return {name: value(4) for name in rng.sample(names, rng.randint(1, 5))}

    for _ in range(200):
        records = [record() for _ in range(20)]
        rows, report = read(tmp_path, *records, on_error="skip")
        assert len(rows) + report.num_bad >= len(records)


def test_convert_writes_them(tmp_path):
    (tmp_path / "theirs.jsonl").write_text(json.dumps(PAPERS) + "\n")
    outcome = convert(tmp_path / "theirs.jsonl", tmp_path / "out.jsonl", "openai")
    assert outcome.written.rows == 2
    lines = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert lines[0]["messages"][1] == {"role": "assistant", "content": "owl {x}"}
    assert any("read as a row for each" in notice for notice in outcome.written.notices)
