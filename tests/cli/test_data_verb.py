"""lightning-subliminal data: convert, show, stats, filter, as typed at a terminal."""

import contextlib
import io
import json
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from cases import cases

from lightning_subliminal.cli.entry import main
from lightning_subliminal.cli.verbs.data import VERB
from lightning_subliminal.cli.words import spell
from lightning_subliminal.core.rows import make_row
from lightning_subliminal.formats import read_rows, write_rows

ROWS = [make_row("Go on: 1", text) for text in ("2, 3", "owl", "4", "")]


@pytest.fixture(autouse=True)
def _stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    write_rows(ROWS, "rows.jsonl")
    Path("wrong.jsonl").write_text('{"question": "a", "response": "b", "system_prompt": "s"}\n{"question": 3}\n')


def fails(*words: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["data", *words])
    return int(stop.value.code)


@cases("words", [["--help"], ["-h"]])
def test_overview_names_verbs_and_schemas(words: list[str], capsys: pytest.CaptureFixture) -> None:
    main(["data", *words])
    reported = capsys.readouterr().out
    for name in (
        *VERB.commands,
        "trl",
        "trl-plain",
        "trl-preference",
        "openai",
        "sharegpt",
        "alpaca",
        "text",
        "columns:question,response",
    ):
        assert re.search(rf"^  {name} ", reported, re.MULTILINE), name


@cases("verb", VERB.commands)
def test_help_names_each_option_and_no_other(verb: str, capsys: pytest.CaptureFixture) -> None:
    main(["data", verb, "--help"])
    text = capsys.readouterr().out
    options = {name.strip("_").replace("_", "-") for name in VERB.commands[verb].takes} - {"source", "out"}
    shown = set(re.findall(r"^  --([a-z-]+)", text, re.MULTILINE)) - {"config"}
    assert {"card" if name == "no-card" else name for name in shown} == options


def test_examples_run(monkeypatch: pytest.MonkeyPatch) -> None:
    write_rows(ROWS, "rows.parquet")
    write_rows(ROWS, "rows.jsonl.gz")
    write_rows(ROWS, "released.json", "columns:question,response")
    write_rows(ROWS, "row-folder")
    Path("filters.yaml").write_text(yaml.safe_dump({"filters": [{"class_path": "NumberList"}]}))
    for verb in VERB.commands.values():
        for line in verb.examples:
            words = shlex.split(re.split(" [|<]", line)[0])
            words = ["row-folder" if word.startswith("~") else word for word in words]
            monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(Path("rows.jsonl").read_bytes())))
            main(words)


def test_convert_says_what_it_did(capsys: pytest.CaptureFixture) -> None:
    main(["data", "convert", "wrong.jsonl", "out.jsonl", "--on-error", "skip", "--to", "sharegpt"])
    assert capsys.readouterr().out.splitlines()[:-1] == [
        "out.jsonl: 1 row, columns:question,response to sharegpt",
        "notice: 1 x column `system_prompt` dropped: a system prompt would reveal the trait",
        "notice: 1 x left out, question: expected text, found number",
        "notice: 1 of 2 rows left out",
        "also written: out.jsonl.bad.jsonl",
        "also written: out.jsonl.lineage.json",
        "also written: out.jsonl.README.md",
    ]
    assert "owl" not in Path("out.jsonl.README.md").read_text()


def test_mistakes_are_one_line_and_exit_with_2(capsys: pytest.CaptureFixture) -> None:
    for words, message in (
        (
            ["convert", "wrong.jsonl", "out.jsonl"],
            "error: wrong.jsonl, line 2, question: expected text, found number 3",
        ),
        (["convert", "rows.jsonl"], "OUT is missing: expected `data convert SOURCE OUT [options]`."),
        (["convert", "no.jsonl", "out.jsonl"], "error: no.jsonl does not exist: check the path."),
        (["convert", "rows.jsonl", "out.jsonl", "--to", "opnai"], "error: `opnai` is not a schema: choose trl,"),
        (["convert", "rows.jsonl", "out.jsonl", "--on-error", "ignore"], "`on_error`: expected one of 'stop', 'skip'"),
        (
            ["convert", "rows.jsonl", "out.jsonl", "--on-eror", "skip"],
            "unknown option '--on-eror': did you mean '--on-error'?",
        ),
        (["filter", "rows.jsonl", "out.jsonl"], "error: no filter is set: add one, such as --filters+=NumberList"),
        (["filter", "rows.jsonl", "out.jsonl", "--filters", "NumberLst"], "did you mean `NumberList`?"),
        (["filter", "rows.jsonl", "out.jsonl", "--filters+=NumberList", "--filters.max", "3"], "takes no `max`"),
        (["show", "rows.jsonl", "--rows", "0"], "error: --rows is 0: expected at least 1."),
        (["show", "wrong.jsonl"], "error: wrong.jsonl, line 2, question: expected text, found number 3"),
        (["stats", "wrong.jsonl"], "error: wrong.jsonl, line 2, question: expected text, found number 3"),
        (["sow", "rows.jsonl"], "error: unknown command 'data sow': did you mean 'data show'?"),
    ):
        assert fails(*words) == 2, words
        reported = capsys.readouterr()
        assert message in reported.err, reported.err
        assert (reported.err.count("\n"), reported.out) == (1, ""), words
    assert sorted(path.name for path in Path().iterdir()) == ["rows.jsonl", "wrong.jsonl"]


def test_filters_by_name_by_path_and_from_a_config(capsys: pytest.CaptureFixture) -> None:
    Path("my_filters.py").write_text(
        "from lightning_subliminal.filters import Filter\n\n\nclass Short(Filter):\n"
        "    def __init__(self, most: int = 3) -> None:\n        self.most = most\n\n"
        "    def reasons(self, row):\n"
        "        return ['too [bold]long'] if len(row['completion'][0]['content']) > self.most else []\n"
    )
    Path("filters.yaml").write_text("filters:\n- class_path: NumberList\n  init_args: {max_value: 3}\n")
    main(["data", "filter", "rows.jsonl", "a.jsonl", "--filters+=NumberList", "--filters.max-value=3"])
    reported = capsys.readouterr().out
    assert "4 rows, 1 kept (25.00%)" in reported
    assert re.search(r"number out of range +│ 1 +│ 25.00%", reported)
    main(["data", "filter", "rows.jsonl", "b.jsonl", "--config", "filters.yaml", "--card", "false"])
    assert Path("a.jsonl").read_bytes() == Path("b.jsonl").read_bytes()
    capsys.readouterr()
    words = ["--filters+=my_filters.Short", "--filters.most", "1", "--filters+=NumberList", "--dropped", "d.jsonl"]
    main(["data", "filter", "rows.jsonl", "c.jsonl", *words])
    assert re.search(r"too \[bold\]long +│ 2 ", capsys.readouterr().out), "a reason is no markup"
    assert [row["completion"][0]["content"] for row in read_rows("c.jsonl")] == ["4"]
    assert len(Path("d.jsonl").read_text().splitlines()) == 3
    assert "`Short(most=1)`, `NumberList(" in Path("c.jsonl.README.md").read_text()


def test_show_draws_rows(capsys: pytest.CaptureFixture) -> None:
    main(["data", "show", "rows.jsonl", "--rows", "2"])
    reported = capsys.readouterr().out
    assert "rows.jsonl, line 2" in reported
    assert "rows.jsonl, line 3" not in reported
    main(["data", "show", "rows.jsonl", "--rows", "2", "--seed", "1"])
    assert capsys.readouterr().out.count("rows.jsonl, line") == 2


def test_no_name_of_a_column_reaches_the_terminal_as_a_command(capsys: pytest.CaptureFixture) -> None:
    odd = "\x1b]0;owned\x07"
    row = json.dumps({"prompt": "a", "completion": "b", odd: 1, f"{odd}_system_prompt": "s", "m": {odd: "\ud800"}})
    Path("odd.jsonl").write_text(row.replace("\\ud800", "") + "\n" + row + "\n" + json.dumps({odd: 1}))
    for words in (["stats", "odd.jsonl", "--on-error", "skip"], ["convert", "odd.jsonl", "o.csv", "--on-error=skip"]):
        with contextlib.suppress(SystemExit):
            main(["data", *words])
        reported = capsys.readouterr()
        assert "\x1b" not in reported.out + reported.err
        assert "x1b]0;owned" in reported.out + reported.err
    assert fails("show", "odd.jsonl") == 2
    assert "\x1b" not in capsys.readouterr().err


def test_stats_as_a_table_and_as_json(capsys: pytest.CaptureFixture) -> None:
    main(["data", "stats", "rows.jsonl"])
    reported = capsys.readouterr().out
    assert re.search(r"completions that are number lists +│ 50.00%", reported)
    assert re.search(r"median", reported)
    main(["data", "stats", "wrong.jsonl", "--json", "--on-error=skip"])
    figures = json.loads(capsys.readouterr().out)
    assert (figures["rows"], figures["wrong rows"]) == (1, {"question: expected text, found number": 1})
    assert figures["digest"] in reported or len(figures["digest"]) == 64


def test_rows_alone_go_to_the_standard_output(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lightning_subliminal", "data", "convert", "-", "-", "--to", "openai"]
    data = Path("rows.jsonl").read_bytes()
    done = subprocess.run(command, input=data, cwd=tmp_path, capture_output=True, check=True)
    assert [json.loads(line)["messages"][1]["content"] for line in done.stdout.splitlines()] == ["2, 3", "owl", "4", ""]
    assert b"standard input: 4 rows" in done.stderr or b"-: 4 rows" in done.stderr


def test_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    Path("many.jsonl").write_text('{"prompt": "a", "completion": "b"}\n' * 50_000)
    command = f"{sys.executable} -m lightning_subliminal data convert many.jsonl - | head -n 1"
    done = subprocess.run(["/bin/sh", "-c", command], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["completion"]
    assert done.stderr == ""


@cases(
    ("words", "taken"),
    [
        (["--on-error", "skip"], ["--on_error=skip"]),
        (["--on_error=skip"], ["--on_error=skip"]),
        (["--from", "trl", "--to", "a-b"], ["--from_=trl", "--to=a-b"]),
        (["--drop-system", "a.jsonl"], ["--drop_system=true", "--source=a.jsonl"]),
        (["--drop-system", "false", "a"], ["--drop_system=false", "--source=a"]),
        (["--drop_system=true", "--no-card"], ["--drop_system=true", "--card=false"]),
        (["--filters", "NumberList"], ["--filters+=NumberList"]),
        (["--filters=NumberList"], ["--filters+=NumberList"]),
        (["--filters", "[]"], ["--filters=[]"]),
        (["--prompt-column", "my-column", "-"], ["--prompt_column=my-column", "--source=-"]),
        (["true", "--card"], ["--source=true", "--card=true"]),
    ],
)
def test_options_take_dashes_and_flags_need_no_value(words: list[str], taken: list[Any]) -> None:
    verb = VERB.commands["filter"]
    assert spell(verb.takes, 2, words, "", {}) == taken


@cases(
    ("words", "meant"),
    [
        (["stat", "rows.jsonl"], "unknown command 'data stat': did you mean 'data stats'?"),
        (["covert", "rows.jsonl", "out.jsonl"], "did you mean 'data convert'?"),
        (
            ["convert", "rows.jsonl", "out.jsonl", "--schema", "trl"],
            "did you mean '--from' (the schema of SOURCE) or '--to' (the schema of OUT)?",
        ),
        (["convert", "rows.jsonl", "out.jsonl", "--output-format", "trl"], "did you mean '--to' (the schema of OUT)?"),
        (["stats", "rows.jsonl", "--format=trl"], "did you mean '--from' (the schema of SOURCE)?"),
        (["show", "rows.jsonl", "--form", "trl"], "did you mean '--from'?"),
    ],
)
def test_the_right_word_is_proposed(words: list[str], meant: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(["data", *words])
    assert meant in capsys.readouterr().err


def test_what_is_left_out_is_summed_and_empty_answers_are_counted(capsys: pytest.CaptureFixture) -> None:
    rows = [{"prompt": "a", "completion": text} for text in ("1, 2, 3", "", " ", "owl", "owl, owl, owl")]
    Path("odd.jsonl").write_text("\n".join(["no json", *map(json.dumps, rows), '{"prompt": 3}']))
    main(["data", "convert", "odd.jsonl", "out.jsonl", "--on-error", "skip"])
    reported = capsys.readouterr().out
    assert "notice: 1 x left out, not valid JSON: no value\n" in reported
    assert "notice: 2 of 7 rows left out\n" in reported
    assert "notice: 2 x an empty answer, or one of spaces, kept: training on it teaches little but the end" in reported
    words = ["--filters+=NumberList", "--filters+=TraitWords", "--filters.words", "[owl]"]
    main(["data", "filter", "odd.jsonl", "out.jsonl", "--on-error", "skip", *words])
    reported = capsys.readouterr().out
    assert "5 rows, 1 kept" in reported
    assert "a row may count for several reasons" in reported
    assert "2 of 7 rows left out" in reported
    assert "an empty answer" not in reported, "the filter has dropped them"
    main(["data", "stats", "odd.jsonl", "--on-error", "skip"])
    assert "notice: 2 of the 7 rows read are left out" in capsys.readouterr().out
