"""Containers: what is read though it is odd, and what is wrong is reported by file, line and field."""

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
from lightning_subliminal.core.rows import make_row
from lightning_subliminal.formats import Report, read_rows, write_rows
from lightning_subliminal.formats.row_errors import Fault
from lightning_subliminal.formats.storage.json_text import Decoder
from lightning_subliminal.formats.storage.readers import open_source

from .files import GOOD, put, texts
from .nasty import content, nasty_rows, nasty_talks

pytestmark = pytest.mark.usefixtures("stand")
CUT = gzip.compress(random.Random(0).randbytes(5000), mtime=0)[:-100]
LIST = '[{"prompt": "a", "completion": "b"}'


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
    *(  # which Python 3.12 and later can read
        [('{"prompt": "a", "completion": "b", "n": ' + "[" * 900 + "]" * 900 + "}", "one nested too deep to read")]
        if sys.version_info < (3, 12)
        else []
    ),
    ('{"prompt": "a\t", "completion": "b"}', "not valid JSON: a control character in a text"),
    ("\0\0\0", "not valid JSON: no value"),
]


@cases(("line", "message"), WRONG_LINES)
def test_wrong_line_is_reported_by_number_or_skipped(line: str, message: str) -> None:
    put("rows.jsonl", f"{GOOD}\n{line}\n{GOOD}")
    with pytest.raises(InputError, match=rf"^rows\.jsonl, line 3[,:].*{message}") as caught:
        list(read_rows("rows.jsonl"))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250
    report = Report()
    assert [row["id"] for row in read_rows("rows.jsonl", on_error="skip", report=report)] == ["1", "4"]
    assert (report.rows, report.num_bad) == (2, 1)


def test_bytes_that_are_no_utf8_are_reported_by_line_and_place() -> None:
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
def test_wrong_file_is_reported(name: str, data: str | bytes, message: str) -> None:
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
