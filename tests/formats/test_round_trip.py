"""Content comes back byte by byte: through every pair of schemas, and through every container."""

from itertools import product
from pathlib import Path

import pytest
from cases import cases

from lightning_subliminal.core.rows import Row, rows_digest
from lightning_subliminal.formats import content_digest, make_schema, read_rows, write_rows
from lightning_subliminal.formats.convert import convert

from .nasty import SCHEMAS, WITH_TURNS, content, nasty_rows, nasty_talks

ROWS = nasty_rows(1000)
TALKS = nasty_talks(300)
ENDINGS = (".jsonl", ".jsonl.gz", ".json", ".json.gz", ".parquet", "")
CONTAINERS = [
    *product(SCHEMAS, ENDINGS),
    *product(("trl-plain", "alpaca", "text", "columns:question,response"), (".csv", ".csv.gz")),
    *product(("text",), (".txt", ".txt.gz")),
]


def read(path: str | Path) -> list[Row]:
    return content(list(read_rows(path, drop_system=False)))


def through(rows: list[Row], name: str) -> list[Row]:
    """Write rows as records of a schema, and read them."""
    return [make_schema(name).parse(make_schema(name).render(row)) for row in rows]


@cases(("first", "second"), list(product(SCHEMAS, SCHEMAS)))
def test_pair_of_schemas(first: str, second: str) -> None:
    records = [make_schema(first).render(row) for row in ROWS]
    rows = through([make_schema(first).parse(record) for record in records], second)
    assert rows == ROWS
    assert [make_schema(first).render(row) for row in rows] == records


@cases(("first", "second"), list(product(WITH_TURNS, WITH_TURNS)))
def test_pair_of_schemas_with_system_and_turns(first: str, second: str) -> None:
    assert through(through(TALKS, first), second) == TALKS


@cases("other", WITH_TURNS)
def test_alpaca_holds_system_and_alternate_turns(other: str) -> None:
    rows = nasty_talks(300, alternate=True)
    assert through(through(through(rows, "alpaca"), other), "alpaca") == rows


@cases(("first", "second"), [(a, b) for a, b in product(SCHEMAS, SCHEMAS) if a != b])
def test_pair_of_files(first: str, second: str, tmp_path: Path) -> None:
    one, two, back = (tmp_path / f"{name}.jsonl" for name in ("one", "two", "back"))
    write_rows(ROWS[:200], one, first)
    for source, out, to in ((one, two, second), (two, back, first)):
        outcome = convert(source, out, to, card=False)
        assert (outcome.written.rows, outcome.written.digest) == (200, content_digest(ROWS[:200]))
    assert back.read_bytes() == one.read_bytes()


@cases(("schema", "ending"), CONTAINERS)
def test_container(schema: str, ending: str, tmp_path: Path) -> None:
    out = tmp_path / f"rows{ending}"
    written = write_rows(ROWS, out, schema)
    assert read(out) == ROWS
    assert written.digest == content_digest(ROWS) == rows_digest(ROWS)
    assert {path.name for path in tmp_path.iterdir()} == {out.name}
    first = out.read_bytes() if out.is_file() else b""
    write_rows(ROWS, out, schema)
    assert (out.read_bytes() if out.is_file() else b"") == first, "the same rows are the same bytes"


@cases("ending", [".jsonl", ".json", ".parquet", ""])
def test_container_with_system_and_turns(ending: str, tmp_path: Path) -> None:
    write_rows(TALKS, tmp_path / f"rows{ending}", "openai")
    assert read(tmp_path / f"rows{ending}") == TALKS


META = {
    "id": "0-1",
    "finished": False,
    "score": 1.5,
    "tags": ["a", "\u2028"],
    "more": {"n": 2**40, "deep": [{"x": None}]},
}


@cases("schema", [name for name in SCHEMAS if name != "openai"])
@cases("ending", [".jsonl", ".json.gz", ".parquet", ""])
def test_meta_columns_go_through(schema: str, ending: str, tmp_path: Path) -> None:
    rows = [{**META, **row} for row in ROWS[:20]]
    write_rows(rows, tmp_path / f"rows{ending}", schema)
    assert list(read_rows(tmp_path / f"rows{ending}")) == rows


def test_alpaca_input_comes_back_through_a_schema_with_meta_columns() -> None:
    records = [
        {"instruction": "Add.", "input": "1\n2", "output": "3"},
        {"instruction": "", "input": "Hello", "output": "Hi", "system": "Be kind.", "history": [["a", "b"]]},
        {"instruction": "a\nb", "input": "", "output": ""},
    ]
    rows = [make_schema("alpaca").parse(record) for record in records]
    assert [row["prompt"][-1]["content"] for row in rows] == ["Add.\n1\n2", "Hello", "a\nb"]
    for other in ("trl", "sharegpt", "text"):
        assert [make_schema("alpaca").render(row) for row in through(rows, other)] == records


@cases("line", ["owl", "=== user === ", "\\=== user ===", "a\n=== user ===\nb", "", "=== row ==="])
def test_foreign_text_is_a_completion_and_comes_back_as_it_was(line: str) -> None:
    schema = make_schema("text")
    row = schema.parse({"text": line})
    assert content([row]) == [
        {"prompt": [{"role": "user", "content": ""}], "completion": [{"role": "assistant", "content": line}]}
    ]
    assert schema.render(row) == {"text": line}


def test_parquet_is_what_datasets_reads(tmp_path: Path) -> None:
    from datasets import load_dataset, load_from_disk

    for ending, builder in ((".parquet", "parquet"), (".jsonl", "json"), (".jsonl.gz", "json"), (".json", "json")):
        write_rows(ROWS[:100], tmp_path / f"r{ending}")
        files = str(tmp_path / f"r{ending}")
        assert (
            load_dataset(builder, data_files=files, split="train", cache_dir=str(tmp_path / "c")).to_list()
            == ROWS[:100]
        )
    write_rows(ROWS[:100], tmp_path / "folder")
    assert load_from_disk(str(tmp_path / "folder")).to_list() == ROWS[:100]


def test_columns_that_come_late_or_change_type_are_kept_in_parquet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lightning_subliminal.formats.storage.table_writer._ROWS", 10)
    kinds = [None, 1, 2.5, 2**60, "text", [1], [], {}, {"a": 1}, {"b": [None]}, 2**90, True]
    rows = [{**row, f"late{place // 7}": place} for place, row in enumerate(ROWS[:100])]
    for place, row in enumerate(rows):
        if kinds[place % 12] is not None:
            row["any"] = kinds[place // 10 % 12] if place < 50 else kinds[place % 12]
        row["number"] = 2**60 if place == 5 else 0.5 if place > 50 else place
        if place > 30:
            row["null first"] = {"x": [place]}
    written = write_rows(rows, tmp_path / "rows.parquet")
    assert [*tmp_path.iterdir()] == [tmp_path / "rows.parquet"]
    back = list(read_rows(tmp_path / "rows.parquet"))
    assert content(back) == ROWS[:100]
    for was, now in zip(rows, back, strict=True):
        assert {key: now[key] for key in now if key.startswith(("late", "null"))} == {
            key: was[key] for key in was if key.startswith(("late", "null"))
        }
    assert any("`any` has values of several types" in notice for notice in written.notices)
    assert {row["any"] for row in back if "any" in row} >= {'"text"', "true", str(2**90)}


def test_columns_that_would_mislead_a_reader_are_dropped_with_a_notice(tmp_path: Path) -> None:
    rows = [{**row, "messages": "m", "text": "t", "answer": "4", "question": "q"} for row in ROWS[:3]]
    for schema in SCHEMAS:
        written = write_rows(rows, tmp_path / "rows.jsonl", schema)
        assert content(list(read_rows(tmp_path / "rows.jsonl"))) == ROWS[:3]
        if schema not in ("trl", "trl-plain"):
            assert written.notices[f"column `messages` dropped: {schema.partition(':')[0]} can't hold it"] == 3
    write_rows(rows, tmp_path / "rows.jsonl", "trl")
    assert next(read_rows(tmp_path / "rows.jsonl"))["answer"] == "4"
