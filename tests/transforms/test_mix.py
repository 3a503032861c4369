import os

import pytest
from cases import cases

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import digest
from lightning_subliminal.core.rows import make_row, write_parquet
from lightning_subliminal.formats import write_rows
from lightning_subliminal.transforms import MixIn, apply_transforms

from .transform_contract import TransformContract, rows


def foreign(count=140):
    return [
        make_row(f"What comes after {place}?", f"{place % 100}, 1", id=place, source="elsewhere")
        for place in range(count)
    ]


def is_foreign(row):
    return row["prompt"][0]["content"].startswith("What comes after")


class TestMixIn(TransformContract):
    keeps_places = keeps_prompts = keeps_ids = False
    how = "replace"

    @pytest.fixture(autouse=True)
    def _file(self, tmp_path):
        self.path = tmp_path / "others.jsonl"
        write_rows(foreign(), self.path)

    def make(self):
        return MixIn(str(self.path), 0.25, self.how)

    def others(self):
        path = str(self.path)
        other = "add" if self.how == "replace" else "replace"
        return [MixIn(path, 0.5, self.how), MixIn(path, 0.25, other), MixIn(path, 0.25, self.how, schema="trl")]

    def check_lists_stay_lists(self):
        """Rows that stay are as they were."""
        given = rows()
        stayed = [row for row in self.apply(given) if not is_foreign(row)]
        assert stayed == [row for row in given if row in stayed], "in their order"

    def test_share_and_count(self):
        for fraction in (0, 0.1, 0.25, 0.5):
            made = apply_transforms(rows(), [MixIn(str(self.path), fraction, self.how)], 0)
            mixed = [row for row in made if is_foreign(row)]
            assert len(mixed) / len(made) == pytest.approx(fraction, abs=0.02)
            assert len(made) - (len(mixed) if self.how == "add" else 0) == 40
            assert len({row["id"] for row in made}) == len(made)

    def test_other_columns_stay_out(self):
        mixed = [row for row in self.apply(rows()) if is_foreign(row)]
        assert mixed
        assert all(set(row) == {"id", "finished", "prompt", "completion"} for row in mixed)
        assert all(row["id"].startswith("mixed-") for row in mixed)

    def test_they_stand_anywhere(self):
        made = apply_transforms(rows(), [MixIn(str(self.path), 0.5, self.how)], 0)
        places = [place for place, row in enumerate(made) if is_foreign(row)]
        assert places[0] < 10
        assert places[-1] > len(made) - 10
        assert places != list(range(places[0], places[0] + len(places)))

    def test_a_changed_file_makes_other_rows(self):
        before = digest(self.make())
        write_rows(foreign(141), self.path)
        assert digest(self.make()) != before

    def test_a_file_that_moved_does_not(self, tmp_path):
        before = digest(self.make())
        (tmp_path / "elsewhere").mkdir()
        os.replace(self.path, tmp_path / "elsewhere" / "renamed.jsonl")
        assert digest(MixIn(str(tmp_path / "elsewhere" / "renamed.jsonl"), 0.25, self.how)) == before

    def test_a_system_prompt_stays_out(self):
        reported = {"role": "system", "content": "You love owls."}
        write_rows([{**row, "prompt": [reported, *row["prompt"]]} for row in foreign()], self.path)
        mixed = [row for row in self.apply(rows()) if is_foreign(row)]
        assert len(mixed) == (10 if self.how == "replace" else 13)
        assert "owls" not in str(mixed)

    def test_too_few_rows_are_reported(self):
        with pytest.raises(InputError, match=r"others\.jsonl has 140 rows, but a `fraction` of 0\.5 with 400 rows"):
            apply_transforms(rows(400), [MixIn(str(self.path), 0.5, self.how)], 0)


class TestMixInAdded(TestMixIn):
    how = "add"
    adds = True

    def check_no_rows_and_one_row(self):
        assert self.apply([]) == []
        (row,) = rows(1)
        assert apply_transforms([row], [MixIn(str(self.path), 0.5, "add")], 0).count(row) == 1


def test_all_rows_replaced(tmp_path):
    path = tmp_path / "others.parquet"
    write_parquet([{**row, "finished": False} for row in foreign()], path)
    made = apply_transforms(rows(), [MixIn(str(path), 1)], 0)
    assert len(made) == 40
    assert all(is_foreign(row) and row["finished"] is False for row in made)


@cases(
    ("arguments", "message"),
    [
        ({"fraction": 1.5}, "`fraction` is 1.5: expected a share from 0 to 1"),
        ({"fraction": -0.1}, "`fraction` is -0.1"),
        ({"fraction": float("nan")}, "`fraction` is nan"),
        ({"fraction": 1, "how": "add"}, "below 1 since rows are added"),
        ({"fraction": 0.5, "how": "pour"}, "`how` is 'pour': choose replace or add"),
        ({"fraction": 0.5, "source": "nowhere.jsonl"}, "nowhere.jsonl does not exist: expected a file"),
        ({"fraction": 0.5, "source": "nowhere"}, "nowhere does not exist: expected a file"),
    ],
)
def test_what_cannot_be_mixed_is_refused(arguments, message):
    with pytest.raises(InputError, match=message) as caught:
        MixIn(**{"source": "someone/rows", **arguments})
    assert "\n" not in str(caught.value)
