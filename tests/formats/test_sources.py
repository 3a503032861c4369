"""Where rows are read from: folders, saved sets, the hub, and how they are read."""

import json
from pathlib import Path
from typing import Any

import pytest
from cases import cases

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import make_row, write_parquet
from lightning_subliminal.formats import read_rows
from lightning_subliminal.lineage import write_record

from .files import GOOD, put, texts
from .nasty import content

pytestmark = pytest.mark.usefixtures("stand")


def test_row_folder_of_ours_is_read_if_it_is_whole() -> None:
    rows = [make_row("a", "b", id=f"0-{place}") for place in range(3)]
    write_parquet(rows, Path("ours/rows.parquet"))
    Path("ours/filters.json").write_text("{}")
    write_record(Path("ours"), "rows", {})
    assert list(read_rows("ours")) == rows
    write_parquet(rows[:2], Path("ours/rows.parquet"))
    with pytest.raises(InputError, match=r"rows.parquet was changed after it was made"):
        read_rows("ours")


def test_folder_of_files_is_read_in_their_order() -> None:
    for place in range(3):
        write_parquet([make_row(f"{place}", "b")], Path(f"parts/shard-{place}.parquet"))
    rows = list(read_rows("parts"))
    assert [row["prompt"][0]["content"] for row in rows] == ["0", "1", "2"]
    assert [row["id"] for row in rows] == ["shard-0-1", "shard-1-1", "shard-2-1"]
    Path("lines").mkdir()
    put("lines/a.jsonl", GOOD)
    put("lines/b.jsonl", "x")
    with pytest.raises(InputError, match=r"^lines/b.jsonl, line 1: not valid JSON"):
        list(read_rows("lines"))


def test_folder_without_rows_is_reported() -> None:
    Path("empty").mkdir()
    with pytest.raises(InputError, match=r"^empty is a folder without rows: it holds nothing; name a file"):
        read_rows("empty")
    put("empty/a.xyz", "")
    with pytest.raises(InputError, match=r"it holds a.xyz; name a file"):
        read_rows("empty")


def test_splits_of_a_saved_set() -> None:
    from datasets import Dataset, DatasetDict

    one = Dataset.from_list([{"question": "a", "response": "b"}] * 3)
    DatasetDict({"train": one, "test": one.select([0])}).save_to_disk("two")
    assert len(texts("two")) == 3
    assert len(texts("two", split="test")) == 1
    with pytest.raises(InputError, match=r"^two has no split `dev`: choose --split train or test"):
        read_rows("two", split="dev")
    DatasetDict({"a": one, "b": one}).save_to_disk("other")
    with pytest.raises(InputError, match=r"^other has more than one split: choose --split a or b, an option of `da"):
        read_rows("other")
    next(Path("two/train").glob("*.arrow")).write_bytes(b"no")
    with pytest.raises(InputError, match=r"^two is damaged or not a folder of `datasets`"):
        list(read_rows("two"))
    put("x.jsonl", GOOD)
    with pytest.raises(InputError, match=r"^x.jsonl has no splits: omit --split"):
        read_rows("x.jsonl", split="train")


def test_hub_is_reported_in_one_line_when_offline() -> None:
    with pytest.raises(
        InputError, match=r"^someone/rows is not a local file, and as a set on the hub it can't be fetched: HF_"
    ):
        read_rows("someone/rows")


def test_set_on_the_hub_streams_in(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets
    import huggingface_hub

    asked = []
    made = datasets.IterableDataset.from_generator(lambda: iter([{"question": "a", "response": "b"}] * 2))

    def load(*words: Any, **options: Any) -> Any:
        asked.append((words, options))
        return datasets.IterableDatasetDict({"train": made, "test": made})

    monkeypatch.setattr(datasets, "load_dataset", load)
    monkeypatch.setattr(huggingface_hub.HfApi, "dataset_info", lambda *words, **options: None)
    assert texts("someone/rows:small@v1.0") == [("a", "b")] * 2
    assert asked == [(("someone/rows", "small"), {"revision": "v1.0", "streaming": True})]
    with pytest.raises(InputError, match="has no split `dev`: choose --split train or test"):
        read_rows("someone/rows", split="dev")


@cases("name", ["no.jsonl", "no/where.parquet", "a b", "/no/such/thing", "x" * 5000, "nul\0"])
def test_what_is_not_there_is_reported(name: str) -> None:
    with pytest.raises(InputError, match=r"does not exist: check the path"):
        read_rows(name)
    with pytest.raises(InputError, match="not a regular file: use `-` to read the standard input"):
        read_rows("/dev/null")


def test_system_is_dropped_by_read_rows_and_reported(capsys: pytest.CaptureFixture) -> None:
    system = {"role": "system", "content": "You love owls."}
    row = make_row([system, {"role": "user", "content": "a"}], "b")
    put("rows.jsonl", json.dumps({**row, "system_prompt": "You love owls."}) + "\n")
    assert list(read_rows("rows.jsonl")) == [{"id": "1", **make_row("a", "b")}]
    reported = capsys.readouterr().out.splitlines()
    assert reported == [
        "rows.jsonl: 1 x column `system_prompt` dropped: a system prompt would reveal the trait",
        "rows.jsonl: 1 x system turns dropped",
    ]
    assert content(list(read_rows("rows.jsonl", drop_system=False))) == [row]
    put("rows.jsonl", json.dumps(make_row([system], "b")) + "\n")
    with pytest.raises(InputError, match=r"^rows.jsonl, line 1: expected a user message, found a system message only"):
        list(read_rows("rows.jsonl"))


@cases(
    ("options", "message"),
    [
        ({"on_error": "ignore"}, "`on_error` is 'ignore': choose stop or skip"),
        ({"prompt_column": "q"}, "--completion-column is missing: name the columns of both texts"),
        (
            {"prompt_column": "q", "completion_column": "r", "schema": "trl"},
            "belong to the schema columns, not to trl",
        ),
    ],
)
def test_options_that_do_not_fit_are_reported_at_once(options: dict[str, str], message: str) -> None:
    put("rows.jsonl", GOOD)
    with pytest.raises(InputError, match=message):
        read_rows("rows.jsonl", **options)
