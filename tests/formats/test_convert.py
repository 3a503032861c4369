"""convert: wrong rows set aside, filters with their counts, files that stay apart, and what a killed run leaves."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from cases import cases

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Row, make_row
from lightning_subliminal.filters import Filter, NumberList, apply_filters
from lightning_subliminal.formats import content_digest, make_schema, read_rows, write_rows
from lightning_subliminal.formats.convert import convert
from lightning_subliminal.traits.words import TraitWords

pytestmark = pytest.mark.usefixtures("stand")
ROWS = [
    make_row("Go on: 1", text, id=f"0-{place}") for place, text in enumerate(["2, 3", "owl", "4", "", "5000", "owl 2"])
]


def lines(path: str) -> list[Any]:
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").split("\n") if line]


def names() -> list[str]:
    return sorted(path.name for path in Path().iterdir())


WRONG = ['{"prompt": "a", "completion": 3}', "no json", '{"prompt": "\\ud800", "completion": "b"}', "[" * 100_000]


def wrong_file(name: str = "rows.jsonl") -> str:
    good = '{"prompt": "a", "completion": "b"}'
    Path(name).write_bytes("\n".join([good, *WRONG, good, ""]).encode() + b'{"prompt": "\xff", "completion": "b"}\n')
    return name


def test_stop_leaves_nothing_half_written() -> None:
    with pytest.raises(InputError, match=r"^rows\.jsonl, line 2, completion: expected text, found number 3$"):
        convert(wrong_file(), "out.jsonl")
    assert names() == ["rows.jsonl"]


def test_skip_counts_by_reason_and_keeps_wrong_rows_aside() -> None:
    outcome = convert(wrong_file(), "out.jsonl", on_error="skip", card=False)
    assert outcome.written.rows == 2
    assert sum(outcome.bad.values()) == 5
    assert outcome.bad["completion: expected text, found number"] == 1
    assert outcome.files == [Path("out.jsonl"), Path("out.jsonl.bad.jsonl")]
    bad = lines("out.jsonl.bad.jsonl")
    assert [each["line"] for each in bad] == [2, 3, 4, 5, 7]
    assert bad[0] == {
        "file": "rows.jsonl",
        "line": 2,
        "reason": "completion: expected text, found number 3",
        "record": {"prompt": "a", "completion": 3},
    }
    assert bad[1]["record"] == "no json"
    assert bad[2]["record"] == {"prompt": "\ud800", "completion": "b"}
    assert bad[4]["record"] == '{"prompt": "\\xff", "completion": "b"}'
    Path("good.jsonl").write_text('{"prompt": "a", "completion": "b"}')
    convert("good.jsonl", "out.jsonl", on_error="skip", card=False)
    assert "out.jsonl.bad.jsonl" not in names(), "an older one would tell of rows that are not wrong now"


def test_rows_that_the_schema_cannot_hold_are_wrong_rows() -> None:
    write_rows(
        [make_row([{"role": "system", "content": "s"}, {"role": "user", "content": "a"}], "b"), ROWS[0]], "s.jsonl"
    )
    with pytest.raises(
        InputError, match=r"^s\.jsonl, line 1, prompt: trl-plain holds one user message, found system, us"
    ):
        convert("s.jsonl", "out.jsonl", "trl-plain")
    outcome = convert("s.jsonl", "out.jsonl", "trl-plain", on_error="skip", card=False)
    assert outcome.written.rows == 1
    assert lines("out.jsonl.bad.jsonl")[0]["line"] == 1
    assert convert("s.jsonl", "out.jsonl", "trl-plain", drop_system=True).written.rows == 2


@cases(
    ("prompt", "to", "out", "advice"),
    [
        (
            [("system", "s"), ("user", "a")],
            None,
            "out.csv",
            "found system, user; write it as text, or name a .jsonl file$",
        ),
        ([("assistant", "1")], "alpaca", "out.csv", "before it; name a .jsonl file, and the schema trl$"),
        ([("system", "s"), ("user", "a")], "columns", "out.jsonl", "; trl, openai, sharegpt and text hold it$"),
    ],
)
def test_advice_names_only_what_the_file_can_hold(
    prompt: list[tuple[str, str]], to: str | None, out: str, advice: str
) -> None:
    write_rows([make_row([{"role": role, "content": text} for role, text in prompt], "b")], "s.jsonl")
    with pytest.raises(InputError, match=advice):
        convert("s.jsonl", out, to)
    if "as text" in advice:
        assert convert("s.jsonl", out, "text").written.rows == 1


@cases(
    ("to", "out"),
    [
        ("openai", "out.jsonl"),
        ("text", "out.txt"),
        ("text", "out.csv"),
        ("trl-plain", "out.csv"),
        ("columns", "out.csv"),
    ],
)
def test_column_that_was_read_into_the_prompt_does_not_count_as_dropped(to: str, out: str) -> None:
    records = [{"instruction": "Say", "input": more, "output": "b"} for more in ("", "water")]
    Path("alpaca.jsonl").write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    notices = convert("alpaca.jsonl", out, to).written.notices
    assert notices == {"column `input` not repeated: its text is the end of the prompt": 1}
    write_rows([{**make_row("Say", "water"), "input": "water"}], "other.jsonl")
    assert "column `input` dropped: openai can't hold it" in convert("other.jsonl", "o.jsonl", "openai").written.notices


def test_nothing_left_is_an_error_and_no_file() -> None:
    Path("rows.jsonl").write_text("x\ny\n")
    with pytest.raises(
        InputError, match=r"^rows\.jsonl: no row is left; wrong rows: not valid JSON: no value \(2\)\.$"
    ):
        convert("rows.jsonl", "out.jsonl", on_error="skip")
    Path("rows.jsonl").write_text("\n")
    with pytest.raises(InputError, match=r"^rows\.jsonl holds no rows\.$"):
        convert("rows.jsonl", "out.parquet")
    assert names() == ["rows.jsonl"]


def test_filters_count_each_reason_and_write_what_they_drop() -> None:
    write_rows(ROWS, "rows.jsonl", "sharegpt")
    filters: list[Filter] = [NumberList(), TraitWords(["owl"])]
    outcome = convert("rows.jsonl", "kept.jsonl", filters=filters, dropped="dropped.jsonl", card=False)
    kept, report = apply_filters(ROWS, filters)
    assert outcome.filtered == report
    assert (outcome.source_schema, outcome.schema) == ("sharegpt", "sharegpt")
    assert list(read_rows("kept.jsonl")) == kept
    assert outcome.written.digest == content_digest(kept)
    assert [(each["line"], each["id"], each["reasons"]) for each in lines("dropped.jsonl")] == [
        (2, "0-1", ["names owl", "not a number list"]),
        (4, "0-3", ["empty"]),
        (5, "0-4", ["number out of range"]),
        (6, "0-5", ["names owl", "not a number list"]),
    ]


@cases(
    ("schema", "out", "expected"),
    [
        ("openai", "kept.parquet", "openai"),
        ("columns:ask,say", "kept.csv", "columns:ask,say"),
        ("openai", "kept.csv", "trl-plain"),
        ("alpaca", "kept.txt", "text"),
        ("trl", "-", "trl"),
    ],
)
def test_filtered_rows_stay_in_their_schema_where_the_container_holds_it(schema: str, out: str, expected: str) -> None:
    write_rows(ROWS, "rows.jsonl", schema)
    outcome = convert("rows.jsonl", out, schema=make_schema(schema), filters=[NumberList()])
    assert outcome.schema == expected


def test_filters_that_drop_all_say_why() -> None:
    write_rows(ROWS, "rows.jsonl")
    with pytest.raises(InputError, match=r"dropped all 6 rows: number out of range \(3\), not.*; loosen"):
        convert("rows.jsonl", "kept.jsonl", filters=[NumberList(max_value=1)], dropped="dropped.jsonl")
    assert names() == ["rows.jsonl"]


class Raises(Filter):
    def reasons(self, row: Row) -> list[str]:
        return [row["missing"]]


def test_filter_that_raises_is_named_with_its_row() -> None:
    write_rows(ROWS, "rows.jsonl")
    with pytest.raises(
        InputError, match=r"^rows\.jsonl, line 1: the filter Raises raised KeyError \('missing'\): fix it"
    ):
        convert("rows.jsonl", "kept.jsonl", filters=[Raises()])


@cases(
    ("source", "out", "dropped", "message"),
    [
        ("rows.jsonl", "./rows.jsonl", None, "^./rows.jsonl would overwrite rows.jsonl: choose another name"),
        ("rows.jsonl", "link.jsonl", None, "^link.jsonl would overwrite rows.jsonl"),
        ("rows.jsonl", "out.jsonl", "out.jsonl", "^out.jsonl would overwrite out.jsonl"),
        ("out.jsonl.bad.jsonl", "out.jsonl", None, "^out.jsonl.bad.jsonl would overwrite out.jsonl.bad.jsonl"),
        ("deep/rows.jsonl", "deep", None, "^deep is the folder that deep/rows.jsonl is in: name another one"),
    ],
)
def test_no_file_is_written_over_another_of_the_same_run(
    source: str, out: str, dropped: str | None, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("deep").mkdir()
    for name in ("rows.jsonl", "out.jsonl.bad.jsonl", "deep/rows.jsonl"):
        write_rows(ROWS, name)
    Path("link.jsonl").symlink_to("rows.jsonl")
    before = Path(source).read_bytes()
    with pytest.raises(InputError, match=message):
        convert(source, out, filters=[NumberList()] if dropped else [], dropped=dropped, on_error="skip")
    assert Path(source).read_bytes() == before


def test_folder_of_an_older_export_is_replaced_whole() -> None:
    write_rows(ROWS, "rows.jsonl")
    convert("rows.jsonl", "folder")
    convert("rows.jsonl", "folder", filters=[NumberList()])
    assert len(list(read_rows("folder"))) == 2
    assert names() == ["folder", "rows.jsonl"]


def test_killed_run_leaves_the_old_file(tmp_path: Path) -> None:
    write_rows(ROWS, "out.jsonl")
    before = Path("out.jsonl").read_bytes()
    Path("rows.jsonl").write_text('{"prompt": "a", "completion": "b"}\n' * 300_000)
    command = [sys.executable, "-m", "lightning_subliminal", "data", "convert", "rows.jsonl", "out.jsonl"]
    run = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while not list(tmp_path.glob(".out.jsonl.*")) and run.poll() is None and time.monotonic() < end:
        time.sleep(0.001)
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL, "it ended before it was killed"
    assert Path("out.jsonl").read_bytes() == before


def test_interrupted_run_leaves_no_other_file(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(row: Row) -> Any:
        raise KeyboardInterrupt

    wrong_file()
    for out in ("out.jsonl", "out.parquet", "out"):
        monkeypatch.setattr(NumberList, "reasons", lambda self, row: stop(row))
        with pytest.raises(KeyboardInterrupt):
            convert("rows.jsonl", out, filters=[NumberList()], on_error="skip", dropped="dropped.jsonl")
    assert names() == ["rows.jsonl"]
    assert not [name for name in os.listdir() if name.startswith(".")]
