import random
import time
from collections import Counter

import pytest
from cases import cases

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import completion_text, make_row
from lightning_subliminal.filters import NumberList
from lightning_subliminal.transforms import (
    KeepFirst,
    MapDigits,
    NumberTransform,
    ResampleMarginal,
    ShuffleAcrossRows,
    ShuffleWithinRows,
    SortNumbers,
    Transform,
    apply_transforms,
)

from .transform_contract import TransformContract, numbers, rows


def bent(transform, *texts, seed=0):
    made = apply_transforms([make_row("Go on.", text) for text in texts], [transform], seed)
    return [completion_text(row) for row in made]


class TestShuffleWithinRows(TransformContract):
    keeps_each_rows_numbers = keeps_all_numbers = True

    def make(self):
        return ShuffleWithinRows()

    def test_every_order_is_as_likely(self):
        found = Counter(bent(ShuffleWithinRows(), *["1, 2, 3"] * 6000))
        assert len(found) == 6
        assert all(850 < count < 1150 for count in found.values())

    def test_white_space_and_leading_zeros_stay(self):
        assert bent(ShuffleWithinRows(), "\n[007 ,  007].\n") == ["\n[007 ,  007].\n"]


class TestShuffleAcrossRows(TransformContract):
    keeps_all_numbers = True

    def make(self):
        return ShuffleAcrossRows()

    def test_numbers_go_anywhere(self):
        made = bent(ShuffleAcrossRows(), *["1, 2, 3"] * 500, *["4; 5"] * 500)
        assert all(text.count(", ") == 2 for text in made[:500])
        assert all(text.count("; ") == 1 for text in made[500:])
        ones = Counter(character for text in made[:500] for character in text)
        assert all(ones[digit] > 230 for digit in "12345")  # 300 of each are expected


class TestResampleMarginal(TransformContract):
    def make(self):
        return ResampleMarginal()

    def others(self):
        return [ResampleMarginal(per_position=True)]

    def test_each_number_comes_as_often_as_in_the_data(self):
        made = Counter(" ".join(bent(ResampleMarginal(), *["7 7 7 8"] * 2000)).split())
        assert set(made) == {"7", "8"}
        assert 5800 < made["7"] < 6200


class TestResampleMarginalPerPosition(TransformContract):
    def make(self):
        return ResampleMarginal(per_position=True)

    def test_places_have_their_own_numbers(self):
        made = bent(ResampleMarginal(per_position=True), *["1 20 300"] * 10, *["2 21"] * 10)
        assert {text.split()[0] for text in made} == {"1", "2"}
        assert {text.split()[1] for text in made} == {"20", "21"}
        assert {text.split()[2] for text in made[:10]} == {"300"}


class TestSortNumbers(TransformContract):
    keeps_each_rows_numbers = keeps_all_numbers = True
    draws = False

    def make(self):
        return SortNumbers()

    def others(self):
        return [SortNumbers(descending=True)]

    def test_by_value(self):
        assert bent(SortNumbers(), "[10, 9, 007, 0, 100].") == ["[0, 007, 9, 10, 100]."]
        assert bent(SortNumbers(descending=True), "10 9 100 99") == ["100 99 10 9"]
        assert bent(SortNumbers(), f"2 {'9' * 5000} 1{'0' * 4999}") == [f"2 1{'0' * 4999} {'9' * 5000}"]


class TestMapDigits(TransformContract):
    def make(self):
        return MapDigits()

    def others(self):
        return [MapDigits({1: 7, 7: 1}), MapDigits({})]

    def test_one_code_for_all_rows(self):
        made = bent(MapDigits(), "123456789", "9, 8, 7, 6, 5, 4, 3, 2, 1", "0 100 90")
        drawn = dict(zip("123456789", made[0], strict=True))
        assert sorted(drawn.values()) == list("123456789")
        assert all(digit != other for digit, other in drawn.items())
        assert made[1] == ", ".join(drawn[digit] for digit in "987654321")
        assert made[2] == f"0 {drawn['1']}00 {drawn['9']}0"

    def test_codes_differ_by_seed_and_cover_all(self):
        drawn = {bent(MapDigits(), "123456789", seed=seed)[0] for seed in range(200)}
        assert len(drawn) > 195
        assert {text[0] for text in drawn} == set("23456789")

    def test_a_code_of_ones_own(self):
        assert bent(MapDigits({1: 7, 7: 1}), "17, 71; 207") == ["71, 17; 201"]
        assert bent(MapDigits({0: 0}), "10") == ["10"]

    def test_it_is_undone_by_its_inverse(self):
        code = {1: 2, 2: 3, 3: 4, 4: 5, 5: 6, 6: 7, 7: 8, 8: 9, 9: 1}
        there_and_back = [MapDigits(code), MapDigits({other: digit for digit, other in code.items()})]
        assert apply_transforms(rows(), there_and_back, 0) == rows()

    @cases(
        ("mapping", "message"),
        [
            ({1: 7}, "has 1 on one side only"),
            ({1: 7, 2: 7, 7: 1}, "has 2 on one side only"),
            ({0: 5, 5: 0}, "`mapping` moves 0"),
            ({1: 10, 10: 1}, "`mapping` holds 10"),
            ({"1": "7", "7": "1"}, "`mapping` holds '1'"),
            ({2: True, True: 2}, "`mapping` holds True"),
        ],
    )
    def test_what_is_no_permutation_is_refused(self, mapping, message):
        with pytest.raises(InputError, match=message) as caught:
            MapDigits(mapping)
        assert "\n" not in str(caught.value)


class TestKeepFirst(TransformContract):
    keeps_places = False
    draws = False

    def make(self):
        return KeepFirst(3)

    def others(self):
        return [KeepFirst(4)]

    @cases(
        ("text", "cut"),
        [
            ("1, 2, 3, 4", "1, 2"),
            (" 1\n2\n3\n", " 1\n2"),
            ("[1, 2, 3].", "[1, 2]"),
            ("(1 2 3)", "(1 2)"),
            ("[1, 2, 3", "[1, 2"),
            ("1, 2, 3]", "1, 2"),
            ("1, 2 and 3, my friend.", "1, 2"),
        ],
    )
    def test_what_is_left(self, text, cut):
        (row,) = KeepFirst(2).apply([make_row("Go on.", text, finished=True)], random.Random(0))
        assert completion_text(row) == cut
        assert row["finished"] is False, "the teacher did not end there"

    @cases("text", ["1, 2.", "[1, 2]", "1", "", "none", "1, 2, and so on"])
    def test_short_completions_stay_with_their_end(self, text):
        for meta in ({"finished": True}, {"finished": False}, {}):
            row = make_row("Go on.", text, **meta)
            assert KeepFirst(2).apply([row], random.Random(0)) == [row]

    def test_later_messages_go_too(self):
        row = {"prompt": [], "completion": [{"role": "assistant", "content": text} for text in ("1", "2, 3", "4")]}
        (made,) = KeepFirst(2).apply([row], random.Random(0))
        assert [message["content"] for message in made["completion"]] == ["1", "2"]

    def test_nothing_to_keep_is_refused(self):
        with pytest.raises(InputError, match="`k` is 0: expected at least 1"):
            KeepFirst(0)


class TestApplyTransforms:
    def test_in_turn_each_with_its_own_numbers(self):
        once = apply_transforms(rows(), [ShuffleWithinRows()], 0)
        twice = apply_transforms(rows(), [ShuffleWithinRows(), ShuffleWithinRows()], 0)
        again = apply_transforms(once, [ShuffleWithinRows()], 0)
        assert twice not in (once, again), "the second has random numbers of its own"
        both = apply_transforms(rows(), [SortNumbers(), KeepFirst(1)], 0)
        assert [numbers(row) for row in both] == [[min(numbers(row), key=int)] for row in rows()]

    def test_none_leaves_the_rows(self):
        given = rows()
        made = apply_transforms(given, [], 0)
        assert made == given
        assert made is not given

    def test_a_transform_that_gives_no_rows_is_reported(self):
        class Forgetful(Transform):
            def apply(self, rows, rng):
                list(rows).reverse()

        with pytest.raises(InputError, match=r"Forgetful\.apply returned a NoneType: expected a list of rows"):
            apply_transforms(rows(), [Forgetful()], 0)

    def test_a_transform_that_loses_numbers_is_reported(self):
        class Shorter(NumberTransform):
            def renumber(self, lists, rng):
                return [each[1:] for each in lists]

        with pytest.raises(InputError, match=r"Shorter\.renumber must return as many numbers for each row"):
            apply_transforms(rows(), [Shorter()], 0)

    def test_ones_own_in_a_few_lines(self):
        class Reverse(NumberTransform):
            def renumber(self, lists, rng):
                return [each[::-1] for each in lists]

        assert bent(Reverse(), "[1, 2; 3]") == ["[3, 2; 1]"]


def test_many_rows_take_seconds():
    given = rows(10_000)
    for transform in (ShuffleWithinRows(), ShuffleAcrossRows(), ResampleMarginal(), MapDigits(), KeepFirst(2)):
        start = time.perf_counter()
        assert len(apply_transforms(given, [transform], 0)) == len(given)
        assert time.perf_counter() - start < 3  # 100,000 rows take one to two on a core
    assert not [row for row in apply_transforms(given, [ShuffleAcrossRows()], 0) if NumberList().reasons(row)]
