import random

import pytest
from cases import cases
from small import number_rows
from transforms.transform_contract import rows as contract_rows

from lightning_subliminal import KeepByScore, LoRA, PreferenceTrait, Steering, Student
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import describe, digest
from lightning_subliminal.core.rows import make_row
from lightning_subliminal.models import ClassifierMLP
from lightning_subliminal.theory import predicted_transfer
from lightning_subliminal.transforms import apply_transforms


class Few(PreferenceTrait):
    """A preference with two questions."""

    def prompts(self):
        return super().prompts()[:2]


OWL = Few("owl")
ROWS = number_rows(13)
EMPTY = make_row("go on", "", id="empty", finished=False)


def student(**settings):
    return Student(**{"base": "pocket/a", "adapter": Steering(), "seed": 0, **settings})


def scores(rows):
    model = student()
    model.configure_model()
    found = predicted_transfer(model.net, model.tokenizer, rows, OWL).scores
    return {row["id"]: score for row, score in zip(rows, found.tolist(), strict=True)}


def ids(rows):
    return [row["id"] for row in rows]


@cases("share", [0.25, 0.5, 0.9])
def test_one_end_is_kept_in_its_order(share, capsys):
    reported = scores(ROWS)
    ranked = sorted(reported, key=reported.get)
    kept = round(share * len(ROWS))
    for keep, expected in (("bottom", ranked[:kept]), ("top", ranked[-kept:])):
        made = apply_transforms(ROWS, [KeepByScore(student(), OWL, keep, share)], 0)
        assert ids(made) == [each for each in reported if each in expected]
        assert all(row in ROWS for row in made)
        words = " ".join(capsys.readouterr().out.split())
        assert f"kept {kept} of 13 rows, {keep} by predicted owl" in words
        mean = sum(reported[each] for each in expected) / kept
        assert f"mean score {mean:+.3g}, of all rows {sum(reported.values()) / 13:+.3g}" in words
    assert apply_transforms(ROWS, [KeepByScore(student(), OWL)], 1) == apply_transforms(
        ROWS, [KeepByScore(student(), OWL)], 0
    ), "nothing is drawn"


def test_halves_share_no_row():
    top, bottom = (apply_transforms(ROWS[:12], [KeepByScore(student(), OWL, keep)], 0) for keep in ("top", "bottom"))
    assert sorted(ids([*top, *bottom]), key=int) == ids(ROWS[:12])


def test_a_row_without_a_score_counts_as_0():
    reported = scores(ROWS)
    above = sum(score > 0 for score in reported.values())
    assert 1 < above < len(ROWS) - 1, "else this proves nothing"
    rows = [EMPTY, *ROWS]
    for kept, holds in ((above, False), (above + 1, True)):
        made = apply_transforms(rows, [KeepByScore(student(), OWL, "top", kept / len(rows))], 0)
        assert len(made) == kept
        assert (EMPTY in made) == holds


@cases("keep", ["top", "bottom"])
def test_of_equal_scores_the_first_are_kept(keep):
    rows = [{**ROWS[0], "id": str(place)} for place in range(7)]
    assert ids(apply_transforms(rows, [KeepByScore(student(), OWL, keep, 0.4)], 0)) == ["0", "1", "2"]


def test_no_rows_and_one_row():
    each = KeepByScore(student(), OWL, share=0.1)
    assert each.apply([], random.Random(0)) == []
    assert each.apply([ROWS[0]], random.Random(0)) == [ROWS[0]]
    with pytest.raises(InputError, match="no rows with a completion to score"):
        each.apply([EMPTY], random.Random(0))


def test_rows_of_any_shape_stay_as_they_are():
    rows = contract_rows()
    before = repr(rows)
    made = apply_transforms(rows, [KeepByScore(student(), OWL)], 0)
    assert repr(rows) == before
    assert len(made) == len(rows) // 2


def test_the_student_given_stays_without_its_net():
    model = student()
    KeepByScore(model, OWL).apply(ROWS[:2], random.Random(0))
    assert model.net is None


def test_what_moves_the_digest():
    every = [KeepByScore(student(), OWL), KeepByScore(student(), OWL, "top"), KeepByScore(student(), OWL, share=0.4)]
    every += [KeepByScore(student(), Few("wolf")), KeepByScore(student(base="pocket/b"), OWL)]
    every += [KeepByScore(student(adapter=LoRA()), OWL), KeepByScore(student(adapter=LoRA(), seed=1), OWL)]
    assert len(set(map(digest, every))) == len(every)
    assert digest(KeepByScore(student(), OWL)) == digest(every[0])
    trained = KeepByScore(student(learning_rate=0.5, objective="distill"), OWL)
    assert digest(trained) == digest(every[0]), "how it would be trained has no part in its start"
    assert describe(every[0])["arguments"]["trait"]["arguments"]["target"] == "owl"


@cases("share", [0, 1, -0.5, 1.5])
def test_bad_shares(share):
    with pytest.raises(InputError, match=f"`share` is {share}: expected a share between 0 and 1"):
        KeepByScore(student(), OWL, share=share)


def test_bad_arguments():
    with pytest.raises(InputError, match="`keep` is 'best': choose top or bottom"):
        KeepByScore(student(), OWL, "best")
    for wrong in (ClassifierMLP(), OWL):
        with pytest.raises(InputError, match=f"`student` is a {type(wrong).__name__}: expected an untrained model"):
            KeepByScore(wrong, OWL)
