"""Files that are not what their ending says: one JSON object, a Git LFS pointer."""

import gzip
import json

import pytest
from cases import cases

from lightning_subliminal import bases
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import read_parquet
from lightning_subliminal.formats.storage.stream import read_rows

ROWS = [{"prompt": "Go on", "completion": "4, 5"}] * 3
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:" + "ab" * 32 + "\nsize 12345\n"


@cases(
    ("whole", "says"),
    [
        ({"version": 2, "data": ROWS}, "keys version, data.*list under `data` \\(3 objects\\)"),
        (
            {"status": "success", "samples": ROWS, "plan": [{"a": 1}]},
            "keys status.*list under `samples` \\(3 objects\\)",
        ),
        ({"a": 1, "b": [1, 2]}, "keys a, b, not a list of rows: write a list"),
        ({}, "keys none"),
    ],
)
@cases("name", ["theirs.json", "theirs.jsonl", "theirs.json.gz"])
def test_an_object_over_several_lines_is_named_as_such(tmp_path, name, whole, says):
    text = json.dumps(whole, indent=1).replace("{}", "{\n}")
    data = text.encode()
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    with pytest.raises(InputError, match=rf"theirs\.\S+ is one JSON object with the {says}") as caught:
        list(read_rows(tmp_path / name))
    assert "valid JSON" not in str(caught.value)
    assert "\n" not in str(caught.value)


LINES = "\n".join(json.dumps(each, indent=1) for each in ROWS)
ONE_ROW = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}


@cases(
    ("name", "text", "says"),
    [
        ("theirs.jsonl", json.dumps(ROWS, indent=1), r"is one JSON list \(3 elements\), not JSON lines.*end in \.json"),
        ("theirs.jsonl", json.dumps([1, ONE_ROW], indent=4), r"is one JSON list \(2 elements\)"),
        ("theirs.jsonl", LINES, "holds JSON values that span several lines: write each in one line, as `jq -c .` does"),
        ("theirs.json", LINES.replace("\n", "\r\n"), "holds JSON values that span several lines"),
        ("theirs.json", json.dumps(ONE_ROW, indent=1), "keys messages, not a list of rows: write a list"),
        (
            "theirs.jsonl",
            json.dumps({"turns": ONE_ROW["messages"]}),
            r"no schema fits; the columns are turns.*response`\)\.$",
        ),
    ],
)
def test_values_over_several_lines_are_named_as_what_they_are(tmp_path, name, text, says):
    for data in (text, f"\ufeff{text}"):
        (tmp_path / name).write_text(data)
        with pytest.raises(InputError, match=says) as caught:
            list(read_rows(tmp_path / name))
        assert "save the list" not in str(caught.value), "messages are no rows"


def test_an_object_in_one_line_is_named_too(tmp_path):
    (tmp_path / "theirs.json").write_text(json.dumps({"version": 2, "data": ROWS}))
    with pytest.raises(InputError, match="list under `data`"):
        list(read_rows(tmp_path / "theirs.json"))


TABLES = {
    "columns": (
        {"prompt": {"0": "a", "1": "b"}, "completion": {"0": "c", "1": "d"}},
        "pandas table by columns .*2 rows",
    ),
    "a filtered table": (
        {"question": {"3": "a"}, "answer": {"3": "b"}, "n": {"3": 1}},
        "pandas table by columns .*1 row",
    ),
    "index": ({"0": {"prompt": "a", "completion": "b"}, "1": {"prompt": "a", "completion": "b"}}, "orient='index'"),
    "split": ({"columns": ["prompt", "completion"], "index": [0], "data": [["a", "b"]]}, "pandas table in parts"),
    "lists": ({"prompt": ["a", "b"], "completion": ["c", "d"]}, "table by columns .*2 values each"),
    "lists of other columns": ({"question": ["a"], "answer": ["c"]}, "table by columns"),
}


@cases("case", TABLES)
@cases("indent", [None, 1])
@cases("name", ["theirs.json", "theirs.jsonl"])
def test_a_table_of_pandas_is_named_as_such(tmp_path, case, indent, name):
    whole, says = TABLES[case]
    (tmp_path / name).write_text(json.dumps(whole, indent=indent))
    with pytest.raises(InputError, match=says) as caught:
        list(read_rows(tmp_path / name))
    assert "\n" not in str(caught.value)


def test_messages_by_columns_are_no_table(tmp_path):
    record = {"messages": {"role": ["user", "assistant"], "content": ["a", "b"]}}
    (tmp_path / "theirs.jsonl").write_text(json.dumps(record))
    assert [row["completion"][0]["content"] for row in read_rows(tmp_path / "theirs.jsonl")] == ["b"]


@cases(
    ("value", "says"),
    [
        ([ROWS], "found a list of 3; take its items out of the inner list"),
        ([[ROWS]], "take its items out of the inner list"),
        ([[{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]], "name the messages"),
        ([["Go on", "4, 5"]], "name the texts"),
        ([json.dumps(ROWS[0])], "encoded as JSON twice"),
        ([3], "expected an object, found number 3$"),
    ],
)
def test_a_list_in_a_list_gets_a_hint(tmp_path, value, says):
    for name, text in (("theirs.json", json.dumps(value)), ("theirs.jsonl", json.dumps(value[0]))):
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match=says):
            list(read_rows(tmp_path / name))


def test_a_broken_line_stays_a_broken_line(tmp_path):
    (tmp_path / "theirs.jsonl").write_text('{"prompt": "a", \n' + json.dumps(ROWS[0]))
    with pytest.raises(InputError, match="line 1: not valid JSON"):
        list(read_rows(tmp_path / "theirs.jsonl"))


@cases("name", ["rows.jsonl", "rows.json", "rows.csv", "rows.txt", "rows.parquet", "rows.jsonl.gz"])
def test_a_pointer_is_named_whatever_its_ending(tmp_path, name):
    (tmp_path / name).write_text(POINTER)
    with pytest.raises(InputError, match=r"Git LFS pointer.*git lfs pull"):
        list(read_rows(tmp_path / name))


@cases("name", ["model.safetensors", "tokenizer.json", "config.json"])
def test_a_pointer_in_a_models_folder_is_named(tmp_path, name):
    for path in bases.resolve("pocket/a").folder.iterdir():
        if path.is_file():
            (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / name).write_text(POINTER)
    with pytest.raises(InputError, match=f"{name} is a Git LFS pointer"):
        bases.load(str(tmp_path))


@cases(
    ("text", "says"),
    [
        (POINTER.replace("\n", "\r\n"), r"Git LFS pointer.*git lfs pull"),
        (POINTER.replace("git-lfs.github", "hawser.github"), r"Git LFS pointer.*git lfs pull"),
        ("/annex/objects/SHA256E-s12345--abab.jsonl\n", r"git-annex pointer.*git annex get"),
    ],
)
def test_other_pointers_are_named_too(tmp_path, text, says):
    (tmp_path / "rows.jsonl").write_text(text)
    with pytest.raises(InputError, match=says):
        list(read_rows(tmp_path / "rows.jsonl"))


def test_a_pointer_for_rows_is_named(tmp_path):
    (tmp_path / "rows.parquet").write_text(POINTER)
    with pytest.raises(InputError, match="Git LFS pointer"):
        read_parquet(tmp_path / "rows.parquet")
