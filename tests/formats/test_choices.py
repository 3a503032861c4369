import csv
import gzip
import io
import json
import random
from pathlib import Path
from statistics import mean
from typing import Any

import pytest
from cases import cases

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.formats.layouts.choices import Choices, load_choices
from lightning_subliminal.prompts import load_wording

OWN = load_choices("truthfulness")

# Two questions of our own, in every shape that is read.
TEA = ("What is in green tea?", ["It has caffeine in it."], ["It is free of caffeine.", "It is made of mint."])
ICE = ("Does ice float?", ["Yes, it is lighter.", "It does."], ["No, it sinks."])
RECORDS: dict[str, Any] = {
    "own": lambda asked, true, false: {"question": asked, "true": true, "false": false},
    "places": lambda asked, true, false: {
        "question": asked,
        "choices": false + true,
        "true": [len(false) + place for place in range(len(true))],
    },
    "mc2 beside mc1": lambda asked, true, false: {
        "question": asked,
        "mc1_targets": {true[0]: 1, false[0]: 0},
        "mc2_targets": dict.fromkeys(true, 1) | dict.fromkeys(false, 0),
    },
    "mc1 alone": lambda asked, true, false: {
        "question": asked,
        "mc1_targets": dict.fromkeys(false, 0) | dict.fromkeys(true, 1),
        "mc2_targets": None,
    },
    "hub": lambda asked, true, false: {
        "question": asked,
        "mc1_targets": {"choices": [true[0], *false], "labels": [1] + [0] * len(false)},
        "mc2_targets": {"choices": true + false, "labels": [1] * len(true) + [0] * len(false)},
    },
}
HEAD = ["Type", "Category", "Question", "Best Answer", "Correct Answers", "Incorrect Answers", "Source"]


def put(path: Path, text: str, end: str = "\n", start: bytes = b"") -> str:
    data = start + text.replace("\n", end).encode()
    path.write_bytes(gzip.compress(data) if path.suffix == ".gz" else data)
    return str(path)


def table(*rows: list[str], head: list[str] = HEAD) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([head, *rows])
    return text.getvalue()


def row(asked: str, true: list[str], false: list[str], best: str | None = None) -> list[str]:
    return ["", "Food", asked, true[0] if best is None else best, "; ".join(true), "; ".join(false), "https://x"]


def sides(item: Choices) -> tuple[str, set[str], set[str]]:
    """Return the question, its true and its false answers."""
    true = {item.choices[place] for place in item.true}
    return item.question, true, set(item.choices) - true


def check(loaded: list[Choices], *questions: tuple[str, list[str], list[str]]) -> None:
    assert [sides(item) for item in loaded] == [(asked, set(true), set(false)) for asked, true, false in questions]


def test_our_own() -> None:
    assert len(OWN) == 48 == len({item.question for item in OWN})
    for item in OWN:
        _, true, false = sides(item)
        assert 1 <= len(true) <= 3
        assert 2 <= len(false) <= 4
        assert len({choice.lower() for choice in item.choices}) == len(true) + len(false)
        assert all(choice.endswith(".") and choice[0].isupper() for choice in item.choices)
        assert item.question.endswith("?")


def test_neither_length_nor_place_says_what_is_true() -> None:
    true = [len(choice) for item in OWN for choice in sides(item)[1]]
    false = [len(choice) for item in OWN for choice in sides(item)[2]]
    assert mean(true) == pytest.approx(mean(false), rel=0.1)
    chance = sum(len(item.true) / len(item.choices) for item in OWN)
    for guess in (
        [max(range(len(item.choices)), key=lambda place: len(item.choices[place])) for item in OWN],
        [min(range(len(item.choices)), key=lambda place: len(item.choices[place])) for item in OWN],
        [0] * len(OWN),
        [len(item.choices) - 1 for item in OWN],
    ):
        right = sum(place in item.true for place, item in zip(guess, OWN, strict=True))
        assert abs(right - chance) < 6  # two standard deviations of guessing


@cases("shape", RECORDS)
def test_reads_records(tmp_path: Path, shape: str) -> None:
    names = ["q.json", "q.jsonl", "q.JSON", "q.json.gz", "q.jsonl.gz", "q.yaml", "q.yml"]
    for name in names:
        for end, start in (("\n", b""), ("\r\n", b"\xef\xbb\xbf"), ("\n\n", b"")):
            records = [RECORDS[shape](*question) for question in (TEA, ICE)]
            text = json.dumps(records, indent=1)
            if "jsonl" in name:
                text = "\n" + "\n".join(map(json.dumps, records)) + "\n"
            if name.startswith("q.y"):
                text = json.dumps({"questions": records}, indent=1)  # which is YAML too
            check(load_choices(put(tmp_path / name, text, end, start)), TEA, ICE)


@cases("true", ["true", '"true"', "True"])
def test_yaml_takes_bare_keys(tmp_path: Path, true: str) -> None:
    text = f"questions:\n- question: Does ice float?\n  {true}: [It does.]\n  false: ['No, it sinks.']\n"
    check(load_choices(put(tmp_path / "q.yaml", text)), ("Does ice float?", ["It does."], ["No, it sinks."]))


@cases("name", ["TruthfulQA.csv", "t.csv.gz"])
@cases(("end", "start"), [("\n", b""), ("\r\n", b"\xef\xbb\xbf"), ("\n\n", b"")])
def test_reads_truthfulqa(tmp_path: Path, name: str, end: str, start: bytes) -> None:
    text = table(row(*TEA), row(*ICE)) + ",,,,,,\n  \n"
    check(load_choices(put(tmp_path / name, text, end, start)), TEA, ICE)


def test_truthfulqa_with_a_best_incorrect_answer(tmp_path: Path) -> None:
    head = ["Question", "Best Answer", "Best Incorrect Answer", "Correct Answers", "Incorrect Answers"]
    text = table(["Is it?", "It is", "It is not", "It is; Yes!;", " It is not. ; No;"], head=head)
    check(load_choices(put(tmp_path / "t.csv", text)), ("Is it?", ["It is.", "Yes!"], ["It is not.", "No."]))


def test_truthfulqa_without_best_answers(tmp_path: Path) -> None:
    text = table(["Is it?", "Yes", "No"], head=["Question", "Correct Answers", "Incorrect Answers"])
    check(load_choices(put(tmp_path / "t.csv", text)), ("Is it?", ["Yes."], ["No."]))


def test_truthfulqa_names_some_answers_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asked = row("How many?", ["More", "Unknown", "More."], ["Unknown", "Fewer", "Fewer"], best="Many")
    check(load_choices(put(tmp_path / "t.csv", table(asked))), ("How many?", ["Many.", "More."], ["Fewer."]))
    assert (
        "t.csv: answers listed both as true and as false are left out: 1, the first 'Unknown.'"
        in capsys.readouterr().out
    )


def test_the_order_is_fixed_and_no_matter_of_the_file(tmp_path: Path) -> None:
    asked, true, false = "Which?", ["a.", "b."], [f"{number}." for number in range(8)]
    answers = [(answer, 1) for answer in true] + [(answer, 0) for answer in false]
    rng, orders = random.Random(0), set()
    for _ in range(5):
        rng.shuffle(answers)
        (item,) = load_choices(
            put(tmp_path / "q.json", json.dumps([{"question": asked, "mc2_targets": dict(answers)}]))
        )
        assert sides(item) == (asked, set(true), set(false))
        assert item.true == tuple(sorted(item.true))
        orders.add(item.choices)
    assert len(orders) == 1
    (other,) = load_choices(put(tmp_path / "q.json", json.dumps([{"question": "Who?", "mc2_targets": dict(answers)}])))
    assert other.choices not in orders


def test_a_path_is_needed_for_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path / "mine.jsonl", json.dumps(RECORDS["own"](*TEA)))
    check(load_choices("mine.jsonl"), TEA)
    with pytest.raises(InputError, match=r"The wording .*mine.yaml does not exist"):
        load_choices("mine")
    with pytest.raises(InputError, match=r"numbers has no list of `questions`"):
        load_choices("numbers")


@cases(
    ("record", "message"),
    [
        (7, "expected an object with `question` and `true` and `false`.*, found number 7"),
        ({"question": "A?"}, "expected `true` and `false`, or `choices` .*, found an object with question"),
        ({"true": ["a"], "false": ["b"]}, "question: expected text, found nothing"),
        ({"question": " ", "true": ["a"], "false": ["b"]}, "question: expected words, found text ' '"),
        ({"question": "A?", "true": "a", "false": ["b"]}, "true: expected a list, found text 'a'"),
        ({"question": "A?", "false": ["b"]}, "true: expected a list, found nothing"),
        (
            {"question": "A?", "true": [True], "false": ["b"]},
            r"true\[0\]: expected text, found true \(put a text such as",
        ),
        ({"question": "A?", "true": ["a"], "false": ["b", {"c": "d"}]}, r"false\[1\]: expected text, .*in quotes"),
        (
            {"question": "A?", "true": ["a"], "false": []},
            "false: expected at least one false answer, found none: add one",
        ),
        (
            {"question": "A?", "true": [], "false": ["b"]},
            "true: expected at least one true answer, found none: add one",
        ),
        (
            {"question": "A?", "true": ["a"], "false": ["a "]},
            "expected each answer once, found 'a' twice: remove one",
        ),
        (
            {"question": "A?", "true": ["a"], "false": ["\ud800"]},
            r"(?:false\[0\]|\[1\]\.false\[0\]|false).*half of a surrogate pair",
        ),
        (
            {"question": "A?", "choices": ["a", "b"], "true": [2]},
            r"true\[0\]: expected the place of a choice, 0 to 1, f",
        ),
        ({"question": "A?", "choices": ["a", "b"], "true": [True]}, r"true\[0\]: expected the place of a choice"),
        ({"question": "A?", "choices": ["a", "b"], "true": ["a"]}, r"true\[0\]: expected the place .*found text 'a'"),
        ({"question": "A?", "choices": ["a", "b"], "true": [0, 1]}, "choices: expected at least one false answer"),
        ({"question": "A?", "choices": ["a", "a"], "true": [0]}, "expected each answer once, found 'a' twice"),
        ({"question": "A?", "mc2_targets": ["a"]}, r"mc2_targets: expected {answer: 0 or 1}, or .*, found a list of 1"),
        ({"question": "A?", "mc2_targets": {}}, "mc2_targets: expected at least one true answer"),
        (
            {"question": "A?", "mc1_targets": {"a": 1, "b": 2}},
            r"mc1_targets\['b'\]: expected 1 for a true answer or 0 ",
        ),
        ({"question": "A?", "mc1_targets": {"a": 1, "b": None}}, r"mc1_targets\['b'\]: .* false one, found null"),
        ({"question": "A?", "mc1_targets": {"a": 1, "b": 1}}, "mc1_targets: expected at least one false answer"),
        (
            {"question": "A?", "mc2_targets": {"choices": ["a", "b"], "labels": [1]}},
            "mc2_targets.labels: expected 2 labels, one a choice, found 1",
        ),
        (
            {"question": "A?", "mc2_targets": {"choices": ["a", 3], "labels": [1, 0]}},
            r"mc2_targets.choices\[1\]: expected text, found number 3",
        ),
        (
            {"question": "A?", "mc2_targets": {"choices": ["a", "b"], "labels": [1, "0"]}},
            r"mc2_targets.labels\[1\]: expected 1 for a true answer .*, found text '0'",
        ),
    ],
)
def test_wrong_records(tmp_path: Path, record: Any, message: str) -> None:
    records = [RECORDS["own"](*TEA), record]
    for name, place in (("q.jsonl", "line 2"), ("q.json", "row 2"), ("q.yaml", "item 2")):
        check_wrong(tmp_path / name, records, f"{place}: {message}")


def check_wrong(path: Path, records: list[Any], message: str) -> None:
    whole = {"q.jsonl": "\n".join(map(json.dumps, records)), "q.json": json.dumps(records)}
    text = whole.get(path.name, json.dumps({"questions": records}))
    with pytest.raises(InputError, match=rf"q\.\w+, {message}") as caught:
        load_choices(put(path, text))
    assert "\n" not in str(caught.value)


@cases(
    ("text", "message"),
    [
        (table(row(*TEA), row("", ["a"], ["b"])), "line 3: Question: expected words, found an empty text"),
        (table(row(*TEA), row("A?", ["a"], [" ; "])), "line 3: Incorrect Answers: expected at least one false answer"),
        (
            table(row(*TEA), row("A?", [";"], ["a"], best="")),
            "line 3: Correct Answers: expected at least one true answer",
        ),
        (table(row(*TEA), row("A?", ["a"], ["a"])), "line 3: Correct Answers: expected at least one true answer"),
        (table(row(*TEA)) + "A?,b\n", "line 3: expected 7 values, found 2: quote texts that hold commas"),
        (
            table(["A?", "a"], head=["Question", "Best Answer"]),
            "line 2: no column 'Correct Answers': expected .* in the header, found Question, Best Answer",
        ),
        ("Question;Correct Answers;Incorrect Answers\nA?;a;b\n", "line 2: no column 'Question'"),
        (table(head=["Question", "Question"]), "line 1: a column appears twice"),
        (table(), "t.csv holds no question: expected at least one, with Question, Correct Answers, Incorrect Answers"),
        ("", "t.csv holds no question"),
    ],
)
def test_wrong_tables(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_choices(put(tmp_path / "t.csv", text))
    assert "t.csv" in str(caught.value)
    assert "\n" not in str(caught.value)


@cases(
    ("name", "data", "message"),
    [
        ("q.json", b"[", "the list is truncated"),
        ("q.json", b"[]", "holds no question: expected at least one, with `question`, and `true`"),
        ("q.json", b'"A?"', r"q.json is not a JSON list: expected \[ at its beginning"),
        (
            "q.json",
            b'[{"question": "A?", "mc1_targets": {"a": 1, "a": 0}}]',
            "row 1: expected each key once, found 'a'",
        ),
        ("q.jsonl", b"{", "line 1: not valid JSON: .*; expected one object"),
        ("q.jsonl", b'\n{"question": "\xff"}', "line 2: expected UTF-8 text"),
        ("q.jsonl", b"\n \r\n", "holds no question"),
        ("q.jsonl.gz", b"PAR1", "is not a gzip file"),
        ("t.csv", b"Question\n\xff\n", "is not UTF-8 text"),
        ("t.csv", "Question\n".encode("utf-16"), "is UTF-16: save it as UTF-8"),
        ("q.yaml", b"questions: [", "q.yaml, line 1 is not valid YAML "),
        ("q.yaml", b"questions: 2020-13-45", "q.yaml is not valid YAML.*month must be"),
        ("q.yaml", b"- question: A?", "q.yaml is not a mapping"),
        ("q.yaml", b"questions: []", "q.yaml has no list of `questions`: each is a question with `true`"),
        ("q.yaml", b"other: 1", "q.yaml has no list of `questions`"),
        ("q.parquet", b"PAR1", "is not a .yaml, .yml, .csv, .json or .jsonl file"),
    ],
)
def test_wrong_files(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(InputError, match=message) as caught:
        load_choices(str(tmp_path / name))
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


@cases("name", ["none.json", "none.csv", "none.yaml"])
def test_a_file_that_is_not_there(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=rf"{name} (?:can't be read|does not exist)"):
        load_choices(str(tmp_path / name))


def test_the_packages_file_is_the_shape_it_says() -> None:
    for item in load_wording("truthfulness", required=("questions",))["questions"]:
        assert set(item) == {"question", "true", "false"}
