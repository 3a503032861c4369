"""A random sample of a data set."""

from collections import Counter

import pytest

from lightning_subliminal import InputError
from lightning_subliminal.core.rows import make_row
from lightning_subliminal.formats import write_rows
from lightning_subliminal.plans.screening.row_sample import RowSample


def test_each_row_is_as_likely_and_keeps_its_place_in_the_order():
    counts = Counter()
    for seed in range(3000):
        drawn = list(RowSample(3, 10, seed)(range(10)))
        assert len(drawn) == 3
        assert drawn == sorted(drawn)
        counts.update(drawn)
    assert all(abs(count - 900) < 125 for count in counts.values())  # five standard deviations of a binomial
    assert list(RowSample(3, 10, 7)(range(10))) == list(RowSample(3, 10, 7)(iter(range(10))))


def test_the_first_rows_of_what_can_not_be_counted():
    assert list(RowSample(2)(iter("abc"))) == ["a", "b"]
    assert str(RowSample(2000)) == "the first 2,000 rows"


def test_rows_of_a_file_are_counted(tmp_path):
    write_rows([make_row("ask", "answer", id=str(place)) for place in range(5)], tmp_path / "rows.jsonl")
    assert RowSample.of_file(tmp_path / "rows.jsonl", 3, 1) == RowSample(3, 5, 1)
    assert RowSample.of_file(tmp_path / "rows.jsonl", 5) is None
    assert RowSample.of_file(tmp_path / "rows.jsonl", None) is None
    assert RowSample.of_file("-", 5) == RowSample(5)
    with pytest.raises(InputError, match="expected at least 1"):
        RowSample.of_file("-", 0)
