"""Where rows are written to, and what a container cannot hold."""

import gzip
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from cases import cases

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import make_row
from lightning_subliminal.formats import read_rows, write_rows

from .files import put, texts

pytestmark = pytest.mark.usefixtures("stand")


@cases(
    ("out", "schema", "message"),
    [
        ("rows.xyz", None, "^rows.xyz: unknown extension"),
        ("rows.txt", "trl", "^rows.txt: a .txt holds the schema text, not trl"),
        ("rows.csv", "openai", "^rows.csv: CSV holds trl-plain, alpaca, text, columns, not openai"),
        ("file.jsonl/x.jsonl", None, "can't be written, since .*file.jsonl is not a folder"),
        ("full", None, "^full holds other files: name a new folder, or a file in it"),
        ("full.jsonl", None, "^full.jsonl is a folder: name a file"),
        ("file", None, "^file is a file: give it a known extension, or name a folder"),
        ("/dev/null", None, "not a regular file: use `-` to write to the standard output"),
        ("rows.jsonl", "opnai", "`opnai` is not a schema"),
        ("/proc/nowhere/rows.jsonl", None, r"/proc/nowhere/rows.jsonl can't be written"),
    ],
)
def test_place_that_cannot_be_written_is_reported_before_any_work(
    out: str, schema: str | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    put("file.jsonl", "")
    put("file", "")
    for folder in ("full", "full.jsonl"):
        Path(folder).mkdir()
        put(f"{folder}/mine", "")
    with pytest.raises(InputError, match=message):
        write_rows([make_row("a", "b")], out, schema)
    assert sorted(path.name for path in Path().iterdir()) == ["file", "file.jsonl", "full", "full.jsonl"]


@cases("out", ["rows.jsonl", "rows.jsonl.gz", "rows.json", "rows.txt", "rows.csv", "rows.parquet", "rows"])
def test_failed_write_leaves_the_old_file_and_no_other(
    out: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("lightning_subliminal.formats.storage.table_writer._ROWS", 1)
    write_rows([make_row("old", "b")], out)

    def rows() -> Any:
        yield make_row("a", "b")
        yield make_row("a", "b", late=1)
        yield {"prompt": [], "completion": 3}

    with pytest.raises(InputError, match=r"^rows, row 3, prompt|^rows, row 3, completion"):
        write_rows(rows(), out)
    with pytest.raises(InputError, match=r"^rows holds no rows"):
        write_rows([], out)
    assert texts(out) == [("old", "b")]
    assert [path.name for path in Path().iterdir()] == [out]


def test_gzip_tells_neither_time_nor_name() -> None:
    write_rows([make_row("a", "b")], "one.jsonl.gz")
    head = Path("one.jsonl.gz").read_bytes()
    assert head[3] == 0, "no flags: no name"
    assert head[4:8] == bytes(4), "no time"
    with gzip.open("one.jsonl.gz") as stream:
        assert json.loads(stream.read()) == make_row("a", "b")


def test_values_that_json_has_no_word_for() -> None:
    import datetime

    rows = [make_row("a", "b", x=float("nan"), y=[float("inf")], z=datetime.date(2025, 1, 2), raw=b"\xff", many=(1, 2))]
    written = write_rows(rows, "rows.jsonl")
    expected = {"x": None, "y": [None], "z": "2025-01-02", "raw": None, "many": [1, 2], **make_row("a", "b")}
    assert json.loads(Path("rows.jsonl").read_text()) == expected
    assert sum(written.notices.values()) == 3
    write_rows([rows[0] | {"x": float("nan")}], "rows.parquet")
    assert next(read_rows("rows.parquet"))["z"] == datetime.date(2025, 1, 2)


def test_values_that_csv_cannot_hold() -> None:
    rows = [make_row("a", "b", n=1), make_row("a", "b", more=True)]
    written = write_rows(rows, "rows.csv")
    assert list(read_rows("rows.csv")) == [
        {"id": "2", "n": "1"} | make_row("a", "b"),
        {"id": "3", "n": ""} | make_row("a", "b"),
    ]
    assert written.notices == {
        "column `n`: CSV returns its values as text": 1,
        "column `more`: CSV returns its values as text": 1,
        "column `more` dropped: the first row lacks it, and a CSV's columns are fixed": 1,
    }
    with pytest.raises(InputError, match=r"^rows, row 1, tags: expected one value, as CSV holds, found a list of 1"):
        write_rows([make_row("a", "b", tags=["x"])], "rows.csv")


def test_half_of_a_surrogate_pair_in_python_rows_is_reported() -> None:
    with pytest.raises(InputError, match=r"^rows, row 1, completion\[0\]\.content: .*half of a surrogate pair"):
        write_rows([make_row("a", "\ud800")], "rows.jsonl")
    with pytest.raises(
        InputError, match=r"^rows, row 1: expected text, found half of a surrogate pair in a meta column"
    ):
        write_rows([make_row("a", "b", x="\ud800")], "rows.jsonl")
    write_rows([make_row("a", "b", x="\ud800")], "rows.parquet")


def test_a_nul_in_csv_is_written_or_refused_in_one_line() -> None:
    rows = [make_row([{"role": "user", "content": "a"}], "b\0")]
    if sys.version_info >= (3, 11):
        write_rows(rows, "a.csv", "trl-plain")
        assert next(iter(read_rows("a.csv")))["completion"][0]["content"] == "b\0"
    else:
        with pytest.raises(InputError, match=r"^a.csv: a row can't be written to CSV .* name a .jsonl file"):
            write_rows(rows, "a.csv", "trl-plain")
        assert not Path("a.csv").exists()
