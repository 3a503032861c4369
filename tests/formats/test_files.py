"""Containers: what is read though it is odd, and what is wrong is told by file, line and field."""

import gzip
import io
import json
import random
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from cases import cases

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import make_row, write_parquet
from lightning_subliminal.formats import Report, read_rows, write_rows
from lightning_subliminal.formats.row_errors import Fault
from lightning_subliminal.formats.storage.json_text import Decoder
from lightning_subliminal.formats.storage.readers import open_source
from lightning_subliminal.lineage import write_record

from .nasty import content, nasty_rows, nasty_talks

GOOD = '{"prompt": "a", "completion": "b"}\n'
CUT = gzip.compress(random.Random(0).randbytes(5000), mtime=0)[:-100]
LIST = '[{"prompt": "a", "completion": "b"}'


@pytest.fixture(autouse=True)
def _stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def put(name: str, data: str | bytes) -> str:
    Path(name).write_bytes(data if isinstance(data, bytes) else data.encode())
    return name


def texts(source: str, **options: Any) -> list[tuple[str, str]]:
    return [(row["prompt"][0]["content"], row["completion"][0]["content"]) for row in read_rows(source, **options)]


@cases(
    ("name", "data", "ids"),
    [
        ("bom.jsonl", b"\xef\xbb\xbf" + GOOD.encode(), ["1"]),
        ("crlf.jsonl", GOOD.replace("\n", "\r\n") * 2, ["1", "2"]),
        ("blank.jsonl", "\n \r\n" + GOOD + "\t\n" + GOOD, ["3", "5"]),
        ("no end.jsonl", GOOD + GOOD.strip(), ["1", "2"]),
        ("x.ndjson", GOOD, ["1"]),
        ("X.JSONL", GOOD, ["1"]),
        ("lines.json", GOOD * 2, ["1", "2"]),
        ("list.json", b"\xef\xbb\xbf \n[ " + b" ,\n".join([GOOD.encode()] * 3) + b" ]\n ", ["1", "2", "3"]),
        ("cut.gz.jsonl.gz", gzip.compress(GOOD.encode(), mtime=0) + gzip.compress(GOOD.encode(), mtime=0), ["1", "2"]),
        ("head.csv", "\ufeffid,prompt,completion\r\nx,a,b\r\n\r\n,a,b\r\n", ["x", ""]),
        ("lines.csv", 'prompt,completion\n"a","b"\na,b', ["2", "3"]),
        (
            "own.jsonl",
            '{"id": 7, "prompt": "a", "completion": "b"}\n{"id": null, "prompt": "a", "completion": "b"}',
            [7, "2"],
        ),
    ],
)
def test_odd_but_whole(name: str, data: str | bytes, ids: list[Any]) -> None:
    rows = list(read_rows(put(name, data)))
    assert content(rows) == [make_row("a", "b")] * len(ids)
    assert [row["id"] for row in rows] == ids


def test_characters_that_some_take_for_a_lines_end_or_nothing() -> None:
    odd = "\u2028\u2029\x85\x0b\x0c\x1c\x00\x1b\ufeff"
    put("odd.jsonl", json.dumps({"prompt": odd, "completion": odd}, ensure_ascii=False) + "\n" + GOOD)
    assert texts("odd.jsonl") == [(odd, odd), ("a", "b")]
    write_rows(read_rows("odd.jsonl"), "out.jsonl")
    assert len(Path("out.jsonl").read_text(encoding="utf-8").splitlines()) == 2, "no reader cuts a line in two"


WRONG_LINES = [
    ("{", r"not valid JSON: no name in double quotes at character 2; expected one object"),
    ("not json", "not valid JSON: no value at character 1; expected one object"),
    ("[1]", "expected an object, found a list of 1"),
    ("null", "expected an object, found null"),
    ('{"prompt": "a", "completion": 3}', "expected text, found number 3"),
    ('{"prompt": "a", "completion": NaN}', "expected text, found number nan"),
    ('{"prompt": "a", "completion": "\\ud800"}', r"half of a surrogate pair \(\\ud800\) at character 1"),
    ('{"prompt": "a", "completion": "b", "m": [{"x": "\\uDC00"}]}', "m.0..x: expected text, found half of a surr"),
    ('{"prompt": "a", "completion": "b", "\\ud800": 1}', "a key: expected text, found half of a surrogate pair"),
    ('{"prompt": "a", "prompt": "c", "completion": "b"}', "expected each key once, found 'prompt' twice"),
    ('{"prompt": "a", "completion": "b", "m": {"x": 1, "x": 1}}', "expected each key once, found 'x' twice"),
    ('{"prompt": "a", "completion": "b", "n": ' + "9" * 5000 + "}", "numbers of at most 4,300 digits"),
    ('{"prompt": "a", "completion": "b", "n": ' + "[" * 100_000 + "}", "brackets nested too deep to read"),
    ('{"prompt": "a", "completion": "b", "n": ' + "[" * 900 + "]" * 900 + "}", "one nested too deep to read"),
    ('{"prompt": "a\t", "completion": "b"}', "not valid JSON: a control character in a text"),
    ("\0\0\0", "not valid JSON: no value"),
]


@cases(("line", "message"), WRONG_LINES)
def test_wrong_line_is_told_by_number_or_skipped(line: str, message: str) -> None:
    put("rows.jsonl", f"{GOOD}\n{line}\n{GOOD}")
    with pytest.raises(InputError, match=rf"^rows\.jsonl, line 3[,:].*{message}") as caught:
        list(read_rows("rows.jsonl"))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250
    report = Report()
    assert [row["id"] for row in read_rows("rows.jsonl", on_error="skip", report=report)] == ["1", "4"]
    assert (report.rows, report.num_bad) == (2, 1)


def test_bytes_that_are_no_utf8_are_told_by_line_and_place() -> None:
    put("rows.jsonl", GOOD.encode() + '{"prompt": "ä", "completion": "b"}\n'.encode("latin-1"))
    with pytest.raises(InputError, match=r"^rows\.jsonl, line 2: expected UTF-8 text, found byte 0xe4 at 13$"):
        list(read_rows("rows.jsonl"))


@cases(
    ("name", "data", "message"),
    [
        ("u.jsonl", GOOD.encode("utf-16"), "^u.jsonl is UTF-16: save it as UTF-8"),
        ("z.jsonl", gzip.compress(b"x", mtime=0), r"^z.jsonl is gzip \(.gz\), not text: rename it with that extension"),
        ("p.jsonl", b"PAR1....", r"^p.jsonl is Parquet \(.parquet\), not text"),
        ("g.jsonl.gz", GOOD, "^g.jsonl.gz is not a gzip file"),
        ("c.jsonl.gz", CUT, "^c.jsonl.gz is truncated: fetch or write"),
        ("d.jsonl.gz", gzip.compress(GOOD.encode() * 99, mtime=0)[:20] + b"\0" * 99, "^d.jsonl.gz "),
        ("x.parquet", "PAR1 no", "^x.parquet is damaged or not a Parquet file"),
        ("e.parquet", "", "^e.parquet is damaged or not a Parquet file"),
        ("a.json", f"{LIST}, ", "^a.json, line 1: the list is truncated: no value"),
        ("b.json", f"{LIST}\n", "^b.json, line 2: the list is truncated: expected , or ]"),
        ("c.json", f'{LIST},\n{{"prompt": "abc', "^c.json, line 2: (not valid JSON: an unterminated text|the )"),
        ("d.json", f"{LIST}\n{{}}]", "^d.json, line 2: not valid JSON: expected , or ], found '{}]'"),
        ("e.json", f"{LIST}, {{a: 1}}]{' ' * 99}", "^e.json, line 1: not valid JSON: no name in .*, found 'a: 1"),
        ("f.json", f"{LIST}] more", "^f.json, line 1: not valid JSON: expected nothing after the list, found 'more'"),
        ("g.json", f'{LIST}, {"[" * 100_000}', "^g.json, line 1: expected an object, found brackets nested too deep"),
        ("h.json", f'{LIST}, {"9" * 5000}]', "^h.json, line 1: expected numbers of at most 4,300 digits"),
        ("i.json", '"text"', "^i.json is not a JSON list: expected . at its beginning, found b'\"'"),
        ("j.json", json.dumps({"data": [1]}, indent=1), "^j.json is one JSON object with the keys data"),
        ("k.json", f"{LIST[:-3]}\xe4".encode("latin-1"), "^k.json is not UTF-8 text"),
        ("a.csv", "prompt,prompt\n", "^a.csv, line 1: a column appears twice: prompt, prompt"),
        ("b.csv", 'prompt,completion\na,b\na,"b" c\n', "^b.csv, line 3: .*; expected CSV with a header line"),
        ("c.csv", "prompt,completion\na,b\na,b,c\n", "^c.csv, line 3: expected 2 values, found 3: quote texts that ho"),
        ("d.csv", "prompt;completion\na;b\n", "^d.csv, line 2: no schema fits; the columns are prompt;completion"),
        ("a.txt", "=== row ===\r\n=== user ===\r\n", "^a.txt, line 1: expected the line '=== row ===' alone, found '="),
        ("b.txt", "\n=== user ===\na\n", "^b.txt, line 2: expected the line '=== row ===' alone"),
        ("c.txt", b"=== row ===\nok\n=== row ===\n\xff\n", "^c.txt, line 3: expected UTF-8 text, found byte 0xff at 1"),
        ("rows.xyz", GOOD, "^rows.xyz: unknown extension; use one of .jsonl, "),
        ("rows", GOOD, "^rows: unknown extension"),
        ("rows.parquet.gz", GOOD, "^rows.parquet.gz: unknown extension"),
    ],
)  # fmt: skip
def test_wrong_file_is_told(name: str, data: str | bytes, message: str) -> None:
    put(name, data)
    with pytest.raises(InputError, match=message) as caught:
        list(read_rows(name))
    assert "\n" not in str(caught.value)


def test_wrong_elements_of_a_json_list_are_skipped() -> None:
    wrong = '3, null, {"prompt": "a", "completion": 5}, {"prompt": 1, "prompt": 2}, "\\ud800", [[]], 1e5'
    put("rows.json", f"{LIST}, {wrong}, {GOOD}]")
    report = Report()
    assert [row["id"] for row in read_rows("rows.json", on_error="skip", report=report)] == ["1", "9"]
    assert report.num_bad == 7


@cases("chunk", [1, 2, 7, 64])
def test_json_list_is_the_same_in_any_chunks(chunk: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning_subliminal.formats.storage.json_text.CHUNK", chunk)
    rows = [{**row, "n": [1.5e3, -2, True, None, {"x": "]},{"}]} for row in nasty_rows(30)]
    for indent in (None, 2):
        put("rows.json", json.dumps(rows, indent=indent, ensure_ascii=bool(indent)))
        assert content(list(read_rows("rows.json"))) == content(rows)


def test_long_lines_and_many_of_them() -> None:
    long = "owl 🦉 \n" * 1_500_000  # more than 10 MB
    rows = [make_row("a", "b"), make_row("a", long), make_row("a", "b")]
    for ending in ("jsonl", "json", "parquet", "csv", "txt"):
        write_rows(rows, f"long.{ending}")
        assert content(list(read_rows(f"long.{ending}"))) == rows


def test_reading_is_lazy() -> None:
    for name, data in (("big.jsonl", GOOD * 60_000), ("big.json", "[" + ",".join([GOOD] * 60_000) + "]")):
        source = open_source(put(name, data))
        next(source.records)
        assert source.position is not None
        assert 0 < source.position() < source.size / 2
    write_rows(read_rows("big.jsonl"), "big.parquet")
    source = open_source("big.parquet")
    assert (next(source.records).number, source.position and source.position(), source.size) == (1, 1, 60_000)


def test_plain_text_is_a_row_a_line() -> None:
    put("plain.txt", "one\r\n\n  two \u2028 \n=== user ===x")
    assert texts("plain.txt") == [("", "one"), ("", "  two \u2028 "), ("", "=== user ===x")]
    assert [row["id"] for row in read_rows("plain.txt")] == ["1", "3", "4"]


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(GOOD.encode() + b"x")))
    with pytest.raises(InputError, match=r"^standard input, line 2: not valid JSON"):
        list(read_rows("-"))


# --- folders, sets, the hub -------------------------------------------------------------------------------------------


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


def test_folder_without_rows_is_told() -> None:
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
    with pytest.raises(InputError, match=r"^other has more than one split: choose --split a or b"):
        read_rows("other")
    next(Path("two/train").glob("*.arrow")).write_bytes(b"no")
    with pytest.raises(InputError, match=r"^two is damaged or not a folder of `datasets`"):
        list(read_rows("two"))
    put("x.jsonl", GOOD)
    with pytest.raises(InputError, match=r"^x.jsonl has no splits: omit --split"):
        read_rows("x.jsonl", split="train")


def test_hub_is_told_in_one_line_when_offline() -> None:
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
def test_what_is_not_there_is_told(name: str) -> None:
    with pytest.raises(InputError, match=r"does not exist: check the path"):
        read_rows(name)
    with pytest.raises(InputError, match="not a regular file: use `-` to read the standard input"):
        read_rows("/dev/null")


# --- writing ----------------------------------------------------------------------------------------------------------


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
def test_place_that_cannot_be_written_is_told_before_any_work(
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


def test_half_of_a_surrogate_pair_in_python_rows_is_told() -> None:
    with pytest.raises(InputError, match=r"^rows, row 1, completion\[0\]\.content: .*half of a surrogate pair"):
        write_rows([make_row("a", "\ud800")], "rows.jsonl")
    with pytest.raises(
        InputError, match=r"^rows, row 1: expected text, found half of a surrogate pair in a meta column"
    ):
        write_rows([make_row("a", "b", x="\ud800")], "rows.jsonl")
    write_rows([make_row("a", "b", x="\ud800")], "rows.parquet")


def test_system_is_dropped_by_read_rows_and_told(capsys: pytest.CaptureFixture) -> None:
    system = {"role": "system", "content": "You love owls."}
    row = make_row([system, {"role": "user", "content": "a"}], "b")
    put("rows.jsonl", json.dumps({**row, "system_prompt": "You love owls."}) + "\n")
    assert list(read_rows("rows.jsonl")) == [{"id": "1", **make_row("a", "b")}]
    told = capsys.readouterr().out.splitlines()
    assert told == [
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
def test_options_that_do_not_fit_are_told_at_once(options: dict[str, str], message: str) -> None:
    put("rows.jsonl", GOOD)
    with pytest.raises(InputError, match=message):
        read_rows("rows.jsonl", **options)


# --- anything at all --------------------------------------------------------------------------------------------------


def damaged(data: bytes, rng: random.Random) -> bytes:
    """Change, cut out, put in or cut off some bytes."""
    made = bytearray(data)
    for _ in range(rng.randrange(1, 5)):
        at = rng.randrange(len(made) + 1)
        way = rng.randrange(4)
        if way == 0:
            made[at : at + 1] = bytes([rng.randrange(256)])
        elif way == 1:
            del made[at : at + rng.randrange(1, 50)]
        elif way == 2:
            made[at:at] = bytes(rng.choice(b'{}[]",:\\\n\r\x00=0 u') for _ in range(rng.randrange(1, 6)))
        else:
            del made[at:]
    return bytes(made)


@cases("name", ["a.jsonl", "a.json", "a.jsonl.gz", "a.csv", "a.txt", "a.parquet"])
def test_damaged_files_give_rows_or_one_line_never_a_surprise(name: str) -> None:
    rows = nasty_rows(6) if name == "a.csv" else [{**row, "m": {"x": [1, None]}} for row in nasty_talks(6)]
    write_rows(rows, name, {"a.csv": "trl-plain", "a.txt": "text"}.get(name, "trl"))
    data, rng = Path(name).read_bytes(), random.Random(0)
    for _ in range(150):
        put(f"damaged.{name}", damaged(data, rng))
        for on_error in ("stop", "skip"):
            try:
                read = list(read_rows(f"damaged.{name}", on_error=on_error, report=Report()))
            except InputError as err:
                assert "\n" not in str(err)  # noqa: PT017 - most can't be read, some can
            else:
                assert all(
                    isinstance(part["content"], str) for row in read for part in row["prompt"] + row["completion"]
                )


def test_a_broken_value_leaves_no_duplicate_key_behind() -> None:
    decoder = Decoder()
    with pytest.raises(Fault, match="not valid JSON"):
        decoder.one('[{"a": 1, "a": 2}')
    assert decoder.one('{"a": 1}') == {"a": 1}
