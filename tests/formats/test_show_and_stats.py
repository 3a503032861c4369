"""What is shown of rows, and what is counted of a set."""

from collections import Counter

import numpy as np
import pytest
from cases import cases
from rich.console import Console

from lightning_subliminal.core.rows import Row, make_row
from lightning_subliminal.formats import content_digest
from lightning_subliminal.formats.layouts.schemas import Trl
from lightning_subliminal.formats.show import draw, panel, visible
from lightning_subliminal.formats.stats import count_rows
from lightning_subliminal.formats.storage.readers import RowSource
from lightning_subliminal.formats.storage.records import Found
from lightning_subliminal.formats.storage.stream import RowStream

from .nasty import nasty_talks


def stream(rows: list[Row]) -> RowStream:
    found = (Found("rows.jsonl", "line", number, row) for number, row in enumerate(rows, start=1))
    return RowStream(RowSource("rows.jsonl", "jsonl", found), Trl())


# --- show -------------------------------------------------------------------------------------------------------------


@cases(
    ("text", "shown"),
    [
        ("plain text, 'quoted' [/red] 1 2", "plain text, 'quoted' [/red] 1 2"),
        (" a  b ", "·a··b·"),
        ("a \n b\n", "a·\n·b↵\n"),
        ("\n\na\n\n", "↵\n↵\na↵\n↵\n"),
        ("a\tb\r\n", "a⇥\tb␍↵\n"),
        ("\x00\x1b[31m\x7f\x85", "␀␛[31m␡<U+0085>"),
        ("a\u200bb\u202ec\u2028d\ufeff\u00a0", "a<U+200B>b<U+202E>c<U+2028>d<U+FEFF><U+00A0>"),
        ("owl\ufe0f\U000e0101\U000e0041", "owl<U+FE0F><U+E0101><U+E0041>"),
        ("ü 二 🦉 é", "ü 二 🦉 é"),
        ("", ""),
    ],
)
def test_what_hides_in_a_text_is_visible(text: str, shown: str) -> None:
    assert visible(text).plain == shown


def test_input_that_the_prompt_shows_is_not_shown_again() -> None:
    console = Console(width=100)
    for prompt, shown in (("Say\nwater", False), ("Say", True)):
        with console.capture() as capture:
            console.print(
                panel(Found("a", "line", 1, None), {**make_row(prompt, "b"), "input": "water", "id": "7"}, 100)
            )
        assert "id='7'" in capture.get()
        assert ("input='water'" in capture.get()) == shown


def test_no_text_reaches_the_terminal_as_a_command() -> None:
    rows = [{**row, "note": "\x1b]0;owned\x07"} for row in nasty_talks(100)]
    console = Console(force_terminal=False, width=100, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    for number, row in enumerate(rows):
        console.print(panel(Found("a\x1b[2J", "line", number, None), row, 100))
    reported = console.export_text()
    assert not {"\x1b", "\x00", "\x07", "\u202e", "\r"} & set(reported)
    assert "system" in reported


def test_prefill_and_length_are_reported() -> None:
    row = make_row([{"role": "user", "content": "x" * 50}, {"role": "assistant", "content": "1,"}], "", id="0-1")
    console = Console(width=60, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(panel(Found("rows.jsonl", "line", 3, None), row, 10))
    reported = console.export_text()
    for part in ("rows.jsonl, line 3", "xxxxxxxxxx … 50 characters", "assistant (prefill)", "(empty)", "id='0-1'"):
        assert part in reported


def test_first_rows_or_some_at_random() -> None:
    rows = [make_row(str(place), "b") for place in range(20)]

    def drawn(count: int, seed: int | None) -> list[int]:
        return [found.number for found, _ in draw(stream(rows), count, seed)]

    assert drawn(3, None) == [1, 2, 3]
    assert drawn(3, 0) == drawn(3, 0) == sorted(drawn(3, 0))
    assert drawn(50, 0) == drawn(50, None) == list(range(1, 21))
    counts = Counter(number for seed in range(2000) for number in drawn(5, seed))
    assert len(counts) == 20
    assert all(abs(count - 500) < 100 for count in counts.values()), "5 standard deviations"


def test_first_rows_are_shown_though_a_later_one_is_wrong() -> None:
    rows = [make_row("a", "b"), make_row("a", "b"), {"prompt": 3}]
    assert len(draw(stream(rows), 2, None)) == 2


# --- stats ------------------------------------------------------------------------------------------------------------


def test_figures_equal_a_count_by_hand() -> None:
    rows = [
        make_row("one two", "1, 2, 3", finished=True),
        make_row("one two", "owl owl", finished=False),
        make_row([{"role": "system", "content": "s"}, {"role": "user", "content": "one two"}], "owl"),
        make_row([{"role": "user", "content": "x"}, {"role": "assistant", "content": "1,"}], " \n"),
        make_row("one two", "1, 2, 3", score=1.0),
    ]
    figures = count_rows(stream(rows))
    assert figures["rows"] == 5
    assert (figures["schema"], figures["container"], figures["source"]) == ("trl", "jsonl", "rows.jsonl")
    assert figures["messages a row"] == {"2": 3, "3": 2}
    assert (figures["rows with a system turn"], figures["rows with a prefill"], figures["rows cut off"]) == (1, 1, 1)
    assert figures["columns"] == {"finished": 2, "score": 1}
    assert figures["repeated"] == {"prompts": 2 / 5, "completions": 1 / 5, "rows": 1 / 5}
    assert (figures["empty completions"], figures["number lists"]) == (1 / 5, 2 / 5)
    assert figures["first words"] == {"1,": 2 / 5, "owl": 2 / 5}
    assert figures["lengths"]["prompt words"]["max"] == 3
    assert figures["lengths"]["completion characters"] == {
        **{"min": 2, "10 %": 2, "median": 7},
        **{"90 %": 7, "99 %": 7, "max": 7},
    }
    assert figures["digest"] == content_digest(rows)


def test_quantiles_are_lengths_of_rows() -> None:
    lengths = list(np.random.default_rng(0).integers(0, 500, 301))
    figures = count_rows(stream([make_row("a", "x" * length) for length in lengths]))["lengths"]
    ordered = sorted(lengths)
    assert figures["completion characters"] == {
        "min": ordered[0],
        "10 %": ordered[30],
        "median": ordered[150],
        "90 %": ordered[270],
        "99 %": ordered[297],
        "max": ordered[300],
    }


def test_first_words_stay_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("lightning_subliminal.formats.stats._MOST_WORDS", 50)
    rows = [make_row("a", "owl") for _ in range(30)] + [make_row("a", f"{place} x") for place in range(200)]
    assert count_rows(stream(rows))["first words"]["owl"] == 30 / 230


def test_no_rows_give_no_shares() -> None:
    figures = count_rows(stream([]))
    assert (figures["rows"], figures["empty completions"], figures["lengths"]) == (0, None, {})
