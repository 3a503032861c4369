"""A small run of benchmarks/fuzz_filters.py, and of its own eyes: it must see what goes wrong."""

import importlib
import sys
from pathlib import Path

import pytest

from lightning_subliminal.core.rows import make_row
from lightning_subliminal.filters import Filter


@pytest.fixture(scope="module")
def fuzzing():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
        yield importlib.import_module("fuzz_filters")
    for name in ("fuzz_filters", "fuzz_strings"):
        sys.modules.pop(name, None)


@pytest.mark.slow
def test_three_thousand_strings(fuzzing):
    for tallies in (fuzzing.fuzz(3_000, seed=1), fuzzing.fuzz(2, seed=1, long=True)):
        assert not list(fuzzing.faults(tallies))
        assert {tally.strings for tally in tallies.values()} in ({3_000}, {2})
        for tally in tallies.values():
            assert (tally.exceptions, tally.slow, tally.hangs, tally.crashes) == (0, 0, 0, 0)


def test_strings_are_of_all_kinds_and_the_same_again(fuzzing):
    strings = [fuzzing.make(0, place) for place in range(320)]
    assert strings == [fuzzing.make(0, place) for place in range(320)]
    assert len(set(strings)) > 300
    assert not any("\ud800" <= char <= "\udfff" for text in strings for char in text)
    assert max(map(len, strings)) >= 9_999
    judges = list(fuzzing.filters().values())
    both = {"".join(judge.reasons(make_row("", text)))[:5] for text in strings for judge in judges}
    assert {"", "names", "does ", "no th", "not a", "false"} <= both  # kept and dropped, for many reasons


def test_it_sees_what_goes_wrong(fuzzing):
    class Bad(Filter):
        def reasons(self, row):
            raise KeyError("owl")

    class Odd(Filter):
        def reasons(self, row):
            return [""]

    for judge in (Bad(), Odd()):
        tally = fuzzing.Tally()
        fuzzing.attempt(judge, make_row("", "x"), 1, 5, tally, timing=True)
        assert tally.exceptions == 1
        assert tally.notes[0].startswith("string 5: ")
