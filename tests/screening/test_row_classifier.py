"""Can a text classifier tell two sources apart, row by row and in bags?"""

import random
import sys

import pytest
from cases import cases

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.screening.row_classifier import auc_interval, bag_auc

KINDS = ("naive Bayes", "logistic regression")
NASTY = ["", "???", "\ud800 \x00", "²٣", "a" * 9999]


def lists(count: int, seed: int, loved: int = 0) -> list[str]:
    """Make lists of eight numbers; the number 7 is ``loved`` times likelier than the others, besides its own share."""
    rng = random.Random(seed)
    weights = [1 + loved * (number == 7) for number in range(100)]
    return [", ".join(map(str, rng.choices(range(100), weights, k=8))) for _ in range(count)]


@cases("classifier", KINDS)
def test_one_population_is_not_distinguished(classifier):
    found = [
        bag_auc(lists(400, 2 * seed), lists(400, 2 * seed + 1), (1,), seed=seed, classifier=classifier)[1]
        for seed in range(20)
    ]
    assert sum(each.low <= 0.5 <= each.high for each in found) >= 16  # fewer by chance 3 times in 1,000
    assert abs(sum(each.auc for each in found) / 20 - 0.5) < 0.025  # four standard errors


@cases("classifier", KINDS)
def test_a_planted_difference_adds_up_over_bags(classifier):
    found = bag_auc(lists(1200, 0, loved=8), lists(1000, 1), (1, 8, 16), classifier=classifier)
    assert [each.bags for each in found.values()] == [500, 62, 31]  # the longer source is cut
    single, few, many = found.values()
    assert single.low > 0.5
    assert single.auc + 0.1 < few.auc <= many.auc
    assert all(each.low < each.auc <= each.high for each in found.values())
    assert many.low < 0.97  # 31 bags can't make it sure


def test_the_order_of_the_sources_mirrors_nothing_else():
    one, other = bag_auc(lists(400, 0, 8), lists(400, 1), (4,)), bag_auc(lists(400, 1), lists(400, 0, 8), (4,))
    assert one[4].auc > 0.7
    assert other[4].auc > 0.7
    assert one == bag_auc(lists(400, 0, 8), lists(400, 1), (4,))


def test_twins_stay_on_one_side_of_the_split():
    rows = lists(1000, 0)
    assert bag_auc(rows, rows, (1, 8))[8].auc == pytest.approx(0.5, abs=0.13)
    order = random.Random(1).sample(range(1000), 1000)
    moved = [rows[place] for place in order]
    assert bag_auc(rows, moved, (8,))[8].high < 0.5  # what went wrong without ids: the twin's label is learnt
    kept = bag_auc(rows, moved, (8,), ids=(range(1000), order))[8]
    assert kept.low <= 0.5 <= kept.high


def test_any_text_is_taken():
    assert bag_auc(["?"] * 16, [""] * 16, (1,))[1].auc == 0.5  # no words at all
    for kind in KINDS:
        assert 0 <= bag_auc(NASTY * 8, lists(48, 0), (1, 8), classifier=kind)[1].auc <= 1


def test_the_interval_is_newcombes():
    for auc, first, second in ((0.5, 50, 50), (0.8, 20, 40), (0.97, 30, 30)):
        for theta in auc_interval(auc, first, second):
            more = (first + second) / 2 - 1  # Hanley & McNeil by Q1 = θ/(2-θ), Q2 = 2θ²/(1+θ), both with N
            spread = theta * (1 - theta) + more * (theta / (2 - theta) + 2 * theta**2 / (1 + theta) - 2 * theta**2)
            assert abs(auc - theta) == pytest.approx(1.959964 * (spread / (first * second)) ** 0.5, rel=1e-5)
    assert auc_interval(1.0, 30, 30)[1] == 1.0
    assert 0.9 < auc_interval(1.0, 30, 30)[0] < 0.96
    low, high = auc_interval(0.0, 30, 30)
    assert low == 0.0
    assert high == pytest.approx(1 - auc_interval(1.0, 30, 30)[0])


def test_what_cannot_be_judged_is_reported(monkeypatch):
    rows = lists(40, 0)
    with pytest.raises(InputError, match="20 rows per source are left to score, but bags of 16 need 32"):
        bag_auc(rows, rows, (1, 16))
    with pytest.raises(InputError, match="expected sizes of at least 1"):
        bag_auc(rows, rows, (0,))
    with pytest.raises(InputError, match="expected one per row"):
        bag_auc(rows, rows, (1,), ids=([1], [2]))
    with pytest.raises(InputError, match="expected one of naive Bayes"):
        bag_auc(rows, rows, (1,), classifier="forest")
    monkeypatch.setitem(sys.modules, "sklearn.naive_bayes", None)
    with pytest.raises(InputError, match=r"pip install 'lightning-subliminal\[report\]'"):
        bag_auc(rows, rows, (1,))
