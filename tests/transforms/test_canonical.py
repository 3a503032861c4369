import pytest

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import completion_text, make_row
from lightning_subliminal.transforms import PlainFormat, RoundNumbers, apply_transforms

from .transform_contract import TransformContract, rows
from .transform_contract import numbers as numbers_of


def bent(transform, *texts, prefill=None):
    prompt = [{"role": "user", "content": "Go on."}]
    prompt += [{"role": "assistant", "content": prefill}] if prefill else []
    made = apply_transforms([make_row(prompt, text) for text in texts], [transform], 0)
    return [completion_text(row) for row in made]


class TestPlainFormat(TransformContract):
    keeps_each_rows_numbers = keeps_all_numbers = True
    keeps_places = draws = False

    def make(self):
        return PlainFormat()

    def test_one_format(self):
        every = ["[4, 8,15].", "(4 8 15)", "4; 8; 15", "4\n8\n15\n", " 4, 8; 15.", "4,8,15,"]
        assert set(bent(PlainFormat(), *every)) == {"4, 8, 15"}
        assert bent(PlainFormat(), "[007]", f"{'9' * 6000} 1") == ["007", f"{'9' * 6000}, 1"]
        made = self.apply(rows())
        assert [numbers_of(row) for row in made] == [numbers_of(row) for row in rows()], "in their order"

    def test_what_is_no_list_stays(self):
        texts = ["4, 8 and 15", "[4, 8", "4, 8]", "[4, 8)", "1.5, 2", "-3, 4", "", " ", "4, 8..", "I like 4"]
        assert bent(PlainFormat(), *texts) == texts

    def test_the_seam_to_a_prefill_stays_a_seam(self):
        assert bent(PlainFormat(), " 4 8", "\n4\n8", "4 8", ",4,8", prefill="1, 2") == [
            " 4, 8",
            " 4, 8",
            "4, 8",
            ", 4, 8",
        ]


class TestRoundNumbers(TransformContract):
    draws = False

    def make(self):
        return RoundNumbers()

    def others(self):
        return [RoundNumbers(5), RoundNumbers(100)]

    def test_nearest_multiple_of_no_more_digits(self):
        assert bent(RoundNumbers(), "14, 15, 94, 95, 99, 4, 5, 9, 0") == ["10, 20, 90, 90, 90, 0, 0, 0, 0"]
        assert bent(RoundNumbers(), "[104 995 996]") == ["[100 990 990]"]
        assert bent(RoundNumbers(7), "10; 11; 99; 100") == ["7; 14; 98; 98"]
        assert bent(RoundNumbers(50), "24, 25, 74, 75, 980") == ["0, 50, 50, 50, 950"]
        assert bent(RoundNumbers(1000), "7, 600, 1600") == ["0, 0, 2000"]
        assert bent(RoundNumbers(1), "7, 007") == ["7, 007"]

    def test_it_is_the_nearest_of_those_multiples_for_all_numbers(self):
        for to in (2, 5, 10, 30):
            for number in range(1000):
                most = 10 ** len(str(number)) - 1
                nearest = min(range(0, most + 1, to), key=lambda each: (abs(each - number), -each))
                assert bent(RoundNumbers(to), str(number)) == [str(nearest)]

    def test_leading_zeros_and_long_numbers(self):
        assert bent(RoundNumbers(), "007, 095, 00", "9" * 6000) == ["010, 100, 00", "9" * 6000]

    def test_no_multiple_is_refused(self):
        with pytest.raises(InputError, match="`to` is 0"):
            RoundNumbers(0)
