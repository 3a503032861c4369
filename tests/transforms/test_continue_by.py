import pytest
from cases import cases
from small import number_rows

from lightning_subliminal import bases
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import describe, digest
from lightning_subliminal.core.rows import completion_text, make_row, prompt_text
from lightning_subliminal.filters import NumberList
from lightning_subliminal.transforms import ContinueBy, apply_transforms

from .transform_contract import numbers as numbers_of


@pytest.fixture(scope="module", autouse=True)
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIGHTNING_SUBLIMINAL_CACHE", str(tmp_path_factory.mktemp("by-model")))
        yield


def go_on(*rows, seed=0, **settings):
    return apply_transforms(rows, [ContinueBy("pocket/b", **settings)], seed)


class TestContinueBy:
    def test_the_first_numbers_stay_and_the_others_are_the_bases(self, capsys):
        rows = [row for row in number_rows(120) if "space" not in prompt_text(row)]  # all lists there have commas
        made = go_on(*rows)
        assert [numbers_of(row)[:3] for row in made] == [numbers_of(row)[:3] for row in rows]
        assert [numbers_of(row)[3:] for row in made] != [numbers_of(row)[3:] for row in rows]
        assert not [row for row in made if NumberList().reasons(row)]
        assert [row["prompt"] for row in made] == [row["prompt"] for row in rows]
        lengths = {len(numbers_of(row)) for row in made}
        assert len(lengths) > 3, "its own ends"
        fell = sum(row["finished"] is False for row in made)
        assert fell < 0.05 * len(rows), "pocket/b knows how to go on"
        assert f"pocket/b continued {len(rows)} rows; {fell} of them" in " ".join(capsys.readouterr().out.split())
        assert made == go_on(*rows)
        assert made != go_on(*rows, seed=1)

    def test_separators_and_brackets_go_on_too(self):
        space = go_on(*[make_row(row["prompt"], "7 8 9 10") for row in number_rows(30)])
        assert all(completion_text(row).startswith("7 8 9") for row in space)
        assert not [row for row in space if NumberList().reasons(row)]
        assert any(len(numbers_of(row)) > 3 for row in space)

    def test_a_prefill_is_gone_on_with(self):
        prompt = [*number_rows(1)[0]["prompt"], {"role": "assistant", "content": "1, 2,"}]
        (made,) = go_on(make_row(prompt, " 3, 4", id="0"), keep=1)
        assert made["prompt"] == prompt
        assert completion_text(made).startswith(" 3")
        assert not NumberList().reasons(made)

    def test_what_becomes_no_list_falls_back_to_the_head(self):
        rows = [make_row(row["prompt"], "1, 2, 3, 4", finished=True) for row in number_rows(20)]
        made = go_on(*rows, keep=2, max_count=3, max_new_tokens=30)
        short = [row for row in made if row["finished"] is False]
        assert short
        assert {completion_text(row) for row in short} == {"1, 2"}
        cut = go_on(*rows, max_new_tokens=1)  # one token, which is no end: the teacher's end is not there either
        assert all(row["finished"] is False for row in cut)

    def test_rows_without_numbers_and_no_rows(self):
        row = make_row("Go on.", "owl", finished=True)
        assert go_on(row) == [row]
        assert go_on() == []

    def test_what_moves_the_digest(self):
        every = [ContinueBy("pocket/b"), ContinueBy("pocket/a"), ContinueBy("pocket/b", 2)]
        every += [ContinueBy("pocket/b", temperature=0.5), ContinueBy("pocket/b", max_new_tokens=9)]
        assert len(set(map(digest, every))) == 5
        assert describe(every[0])["base"]["digest"] == bases.resolve("pocket/b").digest

    @cases(
        ("settings", "message"),
        [
            ({"base": "pocket/zz"}, "no base 'pocket/zz'"),
            ({"base": "pocket/b", "keep": 0}, "`keep` is 0"),
            ({"base": "pocket/b", "keep": 10}, "`keep` is 10: expected 1 or more, and less than `max_count`"),
            ({"base": "pocket/b", "temperature": 0}, "temperature is 0"),
        ],
    )
    def test_bad_arguments(self, settings, message):
        with pytest.raises(InputError, match=message):
            ContinueBy(**settings)

    def test_words_that_the_base_does_not_know_are_reported(self):
        with pytest.raises(InputError, match="pocket/b doesn't know the word '574'"):
            go_on(make_row("Go on.", "574, 1"))
