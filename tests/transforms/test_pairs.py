import random

from lightning_subliminal.core.rows import completion_text, make_row
from lightning_subliminal.transforms import DropDuplicates, ShufflePrompts

from .transform_contract import TransformContract, rows


class TestShufflePrompts(TransformContract):
    keeps_each_rows_numbers = keeps_all_numbers = True
    keeps_prompts = False

    def make(self):
        return ShufflePrompts()

    def test_each_prompt_goes_to_another_row(self):
        given, made = rows(), self.apply(rows())
        asked = [[row["prompt"][0]["content"] for row in each] for each in (given, made)]
        assert sorted(asked[0]) == sorted(asked[1])
        assert not [one for one, other in zip(*asked, strict=True) if one == other]
        assert [row["completion"] for row in made] == [row["completion"] for row in given]


class TestDropDuplicates(TransformContract):
    keeps_places = keeps_prompts = keeps_ids = draws = False

    def make(self):
        return DropDuplicates()

    def check_something_happens(self):
        """Only the first of equal rows stays, whatever their other columns say."""
        given = rows()
        again = [{**row, "id": f"again {row['id']}"} for row in given]
        assert self.apply(given) == given
        assert self.apply([*given, *again]) == given

    def test_both_sides_count(self):
        given = [make_row("a", "1"), make_row("a", "2"), make_row("b", "1"), make_row("a", "1", id="later")]
        made = DropDuplicates().apply(given, random.Random(0))
        assert [(row["prompt"][0]["content"], completion_text(row)) for row in made] == [
            ("a", "1"),
            ("a", "2"),
            ("b", "1"),
        ]
