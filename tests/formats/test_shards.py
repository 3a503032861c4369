"""Which files of a folder are read: all shards of one split, and no others."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cases import cases

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import make_row, write_parquet
from lightning_subliminal.formats import read_rows
from lightning_subliminal.formats.convert import convert
from lightning_subliminal.formats.storage import shards

from .files import put, texts

pytestmark = pytest.mark.usefixtures("stand")


def fill(*names: str) -> None:
    """Write a row in each file of a folder, whose prompt is the file's name."""
    for name in names:
        path = Path("set") / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".parquet":
            write_parquet([make_row(name, "b")], path)
        else:
            put(str(path), f'{{"prompt": "{name}", "completion": "b"}}\n')


def read(**options: str) -> list[str]:
    return [prompt for prompt, _ in texts("set", **options)]


@cases(
    ("names", "split", "expected"),
    [
        (["train.jsonl", "test.jsonl"], None, ["train.jsonl"]),
        (["train.jsonl", "test.jsonl"], "test", ["test.jsonl"]),
        (["rows-dev-0.jsonl", "rows_train-1.jsonl", "rows-train-2.jsonl"], "validation", ["rows-dev-0.jsonl"]),
        (["a.JSONL", "b.ndjson", ".hidden.jsonl"], None, ["a.JSONL", "b.ndjson"]),
        (["contest.jsonl", "latest.jsonl"], None, ["contest.jsonl", "latest.jsonl"]),
        (["val.jsonl", "val-more.jsonl"], None, ["val-more.jsonl", "val.jsonl"]),
        (
            ["train-00000-of-00002-0a1b2c3d4e.parquet", "train-00001-of-00002-ffeeddccbb.parquet"],
            None,
            ["train-00000-of-00002-0a1b2c3d4e.parquet", "train-00001-of-00002-ffeeddccbb.parquet"],
        ),
        (["test-00000-of-00001.parquet", "train-00000-of-00001.parquet"], None, ["train-00000-of-00001.parquet"]),
        (["en-00000-of-00001.parquet", "de-00000-of-00001.parquet"], "de", ["de-00000-of-00001.parquet"]),
    ],
)
def test_the_shards_of_one_split_are_read(names: list[str], split: str | None, expected: list[str]) -> None:
    fill(*names)
    assert read(**({"split": split} if split else {})) == expected
    shutil.rmtree("set")


@cases(
    ("names", "split", "message"),
    [
        (
            ["en-00000-of-00001.parquet", "de-00000-of-00001.parquet"],
            None,
            "set has more than one split: choose --split de",
        ),
        (["train.jsonl", "test.jsonl"], "dev", "set has no split `dev`: choose --split test or train"),
        (["a.jsonl"], "train", "set has no splits: omit --split"),
        (
            ["train.jsonl", "test.jsonl", "more.jsonl"],
            None,
            r"the splits test and train, and files of none \(more.jsonl\)",
        ),
        (["a.parquet", "b.jsonl"], None, r"holds rows in several containers \(a.parquet and b.jsonl\): name a file"),
        (["a.NDJSON", "b.parquet"], None, r"several containers \(a.NDJSON and b.parquet\)"),
        (["a.jsonl", "more/b.jsonl"], None, r"holds rows in a folder below it, too \(more/b.jsonl\): name that, or a"),
        (["a.jsonl", "a.jsonl.gz"], None, r"several containers \(a.jsonl and a.jsonl.gz\)"),
        (
            ["train-00000-of-00003.jsonl", "train-00002-of-00003.jsonl"],
            None,
            "lacks a shard of 3, train-00001-of-00003",
        ),
        (["00003-of-00004.jsonl"], None, "lacks 3 of 4 shards, the first 00000-of-00004: fetch it"),
        (["x-00000-of-00001.jsonl", "x-00000-of-00002.jsonl", "x-00001-of-00002.jsonl"], None, "holds x written twice"),
    ],
)
def test_what_is_no_single_set_is_reported(names: list[str], split: str | None, message: str) -> None:
    fill(*names)
    with pytest.raises(InputError, match=message):
        read_rows("set", split=split)
    shutil.rmtree("set")


def test_rows_that_a_conversion_left_out_are_not_read_with_the_others() -> None:
    put("wrong.jsonl", '{"prompt": "a", "completion": "b"}\n{"prompt": "a"}\n')
    Path("set").mkdir()
    convert("wrong.jsonl", "set/rows.jsonl", on_error="skip")
    assert Path("set/rows.jsonl.bad.jsonl").exists()
    assert read() == ["a"]


@cases(
    ("names", "links", "expected", "left_out"),
    [
        (["a.jsonl"], {"b.jsonl": "a.jsonl"}, ["a.jsonl"], "b.jsonl"),
        (["b.jsonl", "c.jsonl"], {"a.jsonl": "b.jsonl"}, ["b.jsonl", "c.jsonl"], "a.jsonl"),
        (["train.jsonl", "test.jsonl"], {"latest.jsonl": "train.jsonl"}, ["train.jsonl"], "latest.jsonl"),
        (["train-00000-of-00001.parquet"], {"all.parquet": "train-00000-of-00001.parquet"}, ["train-00000"], "all"),
        (["data/train.jsonl"], {"train.jsonl": "data/train.jsonl"}, ["data/train.jsonl"], ""),
        ([".blobs/0a"], {"one.jsonl": ".blobs/0a", "two.jsonl": ".blobs/0a"}, [".blobs/0a"], "two.jsonl"),
    ],
)
@cases("link", [os.link, os.symlink], ids=["hard", "symbolic"])
def test_a_file_of_several_names_is_read_once(
    names: list[str],
    links: dict[str, str],
    expected: list[str],
    left_out: str,
    link: Callable[..., None],
    capsys: pytest.CaptureFixture,
) -> None:
    fill(*names)
    for name, target in links.items():
        link(Path("set", target).absolute(), Path("set", name))
    for _ in range(2):
        found = read()
        assert len(found) == len(expected)
        assert all(map(str.startswith, found, expected))
    said = [line for line in capsys.readouterr().err.splitlines() if "left out" in line]
    shutil.rmtree("set")
    shards._say_once.cache_clear()
    assert len(said) == bool(left_out)
    if left_out and link is os.symlink:
        assert said[0].startswith(f"note      set: {left_out}")
