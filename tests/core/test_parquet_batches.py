"""How many rows of a Parquet file are read at once: all that fit, and no more."""

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cases import cases

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.bounds import Bound, Expansion
from lightning_subliminal.core.rows import parquet_batches, read_parquet
from lightning_subliminal.formats import read_rows
from lightning_subliminal.formats.storage.stream import Report

KIB = 1 << 10  # bounds are this much of what they are, so that files are small


@pytest.fixture(autouse=True)
def _small_bounds(monkeypatch):
    for module in ("bounds", "rows"):
        monkeypatch.setattr(f"lightning_subliminal.{module}.MAX_UNPACKED", Bound("MAX_UNPACKED", 256 * KIB))


@pytest.fixture
def sizes(monkeypatch):
    """Return the bytes of each batch that is read."""
    found, add = [0], Expansion.add
    monkeypatch.setattr(Expansion, "add", lambda self, size: (found.append(size), add(self, size)))
    return found


def texts(count, size):
    """Return texts of about ``size`` characters that don't shrink much."""
    return [
        " ".join(str((place * 7919 + each * 104729) % 99991) for each in range(size // 6)) for place in range(count)
    ]


def batches(path, table, **options):
    pq.write_table(table, path, **options)
    return [batch.num_rows for batch in parquet_batches(path, path.name)]


LONG = texts(4000, 120)
ORDINARY = {
    "pandas' one group": ({"prompt": LONG, "completion": LONG[::-1]}, {}),
    "without dictionaries": ({"prompt": LONG, "completion": LONG[::-1]}, {"use_dictionary": False}),
    "messages": ({"messages": [[{"role": "user", "content": each}] for each in LONG]}, {}),
    "few texts, each many times": ({"prompt": LONG[:100] * 40, "completion": LONG}, {}),
    "zstd, large texts": (pa.table({"text": pa.array(LONG, pa.large_string())}), {"compression": "zstd"}),
    "numbers beside": ({"text": LONG, "score": list(range(4000)), "kept": [True] * 4000}, {}),
}


@cases(("columns", "options"), ORDINARY.values(), ids=ORDINARY)
def test_ordinary_rows_of_one_large_group_are_read_many_at_once(columns, options, tmp_path):
    table = columns if isinstance(columns, pa.Table) else pa.table(columns)
    found = batches(tmp_path / "a.parquet", table, **options)
    assert pq.ParquetFile(tmp_path / "a.parquet").metadata.row_group(0).total_byte_size > 256 * KIB
    assert max(found) == 1024
    assert sum(found) == 4000


def same(text, count):
    return pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), [text])


ONCE = same("a" * 16 * KIB, 2000)
BOMBS = {
    "a dictionary that Arrow keeps": pa.table({"prompt": ONCE, "completion": ["b"] * 2000}),
    "a dictionary": pa.table({"prompt": ONCE.cast(pa.large_string()), "completion": ["b"] * 2000}),
    "late": pa.table(
        {
            "prompt": pa.concat_arrays([pa.array(["a"] * 1500, pa.large_string()), ONCE[:500].cast(pa.large_string())]),
            "completion": ["b"] * 2000,
        }
    ),
    "inside a list": pa.table(
        {
            "prompt": ["a"] * 2000,
            "completion": pa.ListArray.from_arrays(list(range(2001)), ONCE.cast(pa.string())),
        }
    ),
    "fixed": pa.table({"prompt": ["a"] * 500, "completion": pa.array([b"a" * 16 * KIB] * 500, pa.binary(16 * KIB))}),
}


@pytest.mark.parametrize("table", BOMBS.values(), ids=BOMBS)
def test_a_bomb_is_refused_before_it_fills_the_memory(table, sizes, tmp_path):
    pq.write_table(table, tmp_path / "bomb.parquet", compression="zstd")
    with pytest.raises(InputError, match=r"bomb.parquet unpacks to more than 200 times"):
        list(read_rows(tmp_path / "bomb.parquet", "trl-plain", on_error="skip", report=Report()))
    assert max(sizes) <= 512 * KIB


@pytest.mark.parametrize("encoding", ["PLAIN", "DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY"])
def test_texts_that_shrink_as_none_do_are_read_a_few_at_a_time(encoding, sizes, tmp_path):
    table = pa.table({"prompt": [f"{'a' * 10_000}{place}" for place in range(500)], "completion": ["b"] * 500})
    coded = {"use_dictionary": False, "column_encoding": {"prompt": encoding, "completion": "PLAIN"}}
    pq.write_table(table, tmp_path / "a.parquet", compression="zstd", **coded)
    with pytest.raises(InputError, match="unpacks to more than 200 times"):
        list(read_rows(tmp_path / "a.parquet"))
    assert max(sizes) <= 512 * KIB


def test_empty_groups_and_columns_of_nothing_are_read(tmp_path):
    table = pa.table({"prompt": pa.array([None] * 3, pa.string()), "x": pa.array([None] * 3), "y": [[], [], []]})
    assert batches(tmp_path / "a.parquet", table) == [3]
    assert batches(tmp_path / "b.parquet", table[:0]) == []
    assert read_parquet(tmp_path / "b.parquet") == []
