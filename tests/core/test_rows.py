import json
import os
from pathlib import Path

import pytest
from cases import cases

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import (
    atomically,
    completion_text,
    make_row,
    prompt_text,
    read_parquet,
    rows_digest,
    write_parquet,
)
from lightning_subliminal.formats import read_rows, write_rows

BEGUN = [{"role": "user", "content": "Go on: 1, 2"}, {"role": "assistant", "content": "1, 2,"}]
ODD = "owl\n\"ü\" '二' \u2028\x85\u2029\t\\ 🦉\r\n"  # what some readers take for a line's end
ROWS = [
    make_row("Say the word owl.", "owl", id="0-0", finished=True),
    make_row(BEGUN, f" 3, 4{ODD}", id="0-1", finished=False),
    make_row(ODD, "", id="0-2", finished=True),
]
WAYS = {"parquet": (write_parquet, read_parquet), "jsonl": (write_rows, lambda path: list(read_rows(path)))}


def test_a_row_is_a_prompt_and_a_completion():
    row = ROWS[0]
    assert row["prompt"] == [{"role": "user", "content": "Say the word owl."}]
    assert row["completion"] == [{"role": "assistant", "content": "owl"}]
    assert (completion_text(row), row["finished"]) == ("owl", True)
    assert prompt_text(ROWS[1]) == "Go on: 1, 2\n1, 2,"


def test_a_row_keeps_no_hold_on_the_prompt():
    messages = [dict(part) for part in BEGUN]
    row = make_row(messages, " 3")
    messages[1]["content"] = "changed"
    assert row["prompt"] == BEGUN


@cases("way", WAYS)
def test_written_and_read_is_the_same(way, tmp_path):
    write, read = WAYS[way]
    path = tmp_path / "deep" / f"rows.{way}"
    write(ROWS, path)
    assert read(path) == ROWS
    assert rows_digest(read(path)) == rows_digest(ROWS)
    assert list(path.parent.iterdir()) == [path], "no temporary file stays"


def test_jsonl_is_one_object_a_line_as_others_read_it(tmp_path):
    path = tmp_path / "rows.jsonl"
    write_rows(ROWS, path)
    with path.open(encoding="utf-8") as lines:
        assert [json.loads(line) for line in lines] == ROWS
    from datasets import load_dataset

    assert load_dataset("json", data_files=str(path), split="train", cache_dir=str(tmp_path)).to_list() == ROWS


def test_digest_sees_values_and_order_but_not_the_order_of_keys():
    assert rows_digest(ROWS) == rows_digest([dict(reversed(row.items())) for row in ROWS])
    assert rows_digest(ROWS) != rows_digest(ROWS[::-1])
    assert rows_digest(ROWS) != rows_digest([{**ROWS[0], "finished": False}, *ROWS[1:]])
    assert rows_digest(ROWS[:2]) != rows_digest(ROWS)


def test_columns_that_the_first_row_lacks_are_kept(tmp_path):
    rows = [make_row("a", "b"), make_row("c", "d", score=1.5)]
    write_parquet(rows, tmp_path / "rows.parquet")
    assert read_parquet(tmp_path / "rows.parquet")[1]["score"] == 1.5


@cases("read", [read_parquet, lambda path: list(read_rows(path))])
def test_a_missing_file_is_reported(read, tmp_path):
    with pytest.raises(InputError, match=r"rows.x does not exist"):
        read(tmp_path / "rows.x")


@cases("harm", [lambda data: data[: len(data) // 2], lambda data: b"", lambda data: b"PAR1 no"])
def test_a_damaged_parquet_file_is_reported_by_name(harm, tmp_path):
    path = tmp_path / "rows.parquet"
    write_parquet(ROWS, path)
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(InputError, match=r"rows\.parquet is damaged or not a Parquet file: delete it") as caught:
        read_parquet(path)
    assert "\n" not in str(caught.value)


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text("old")

    def fail(temporary: Path) -> None:
        temporary.write_text("half")
        raise RuntimeError("killed")

    with pytest.raises(RuntimeError, match="killed"):
        atomically(path, fail)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_cannot_be_written_is_reported(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"can't be written \(Not a directory\)|can't be written \(File exists\)"):
        write_parquet(ROWS, tmp_path / "file" / "rows.parquet")


def test_a_link_at_a_name_that_can_be_foreseen_is_not_written_through(tmp_path):
    path, victim = tmp_path / "made.txt", tmp_path / "victim"
    victim.write_text("mine")
    for name in (f".{path.name}.{os.getpid()}", f".{path.name}"):
        (tmp_path / name).symlink_to(victim)
    names = []
    for _ in range(2):
        atomically(path, lambda temporary: names.append(temporary) or temporary.write_text("made"))
    assert (path.read_text(), victim.read_text()) == ("made", "mine")
    assert names[0] != names[1]


@cases("dangling", [False, True])
def test_a_link_at_the_name_itself_is_replaced_and_not_followed(dangling, tmp_path):
    path, victim = tmp_path / "made.txt", tmp_path / "victim"
    if not dangling:
        victim.write_text("mine")
    path.symlink_to(victim)
    atomically(path, lambda temporary: temporary.write_text("made"))
    assert path.read_text() == "made"
    assert not path.is_symlink()
    assert victim.exists() != dangling


def test_a_temporary_file_that_becomes_a_link_is_refused(tmp_path):
    victim = tmp_path / "victim"

    def exchange(temporary):
        temporary.unlink()
        temporary.symlink_to(victim)

    with pytest.raises(InputError, match="was replaced by a link while it was written"):
        atomically(tmp_path / "made.txt", exchange)
    assert list(tmp_path.iterdir()) == []
