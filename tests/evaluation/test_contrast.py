"""`evaluate` with a control: targeted transfer beside the plain one, with rank; warnings above; stems as one."""

import json
import math

import pytest
import torch
from cases import cases

from lightning_subliminal.evaluation.contrast import Contrast
from lightning_subliminal.evaluation.guards import pair_doubts
from lightning_subliminal.evaluation.report import suite_table
from lightning_subliminal.evaluation.scores import Scores, difference
from lightning_subliminal.evaluation.table import ScoreTable
from lightning_subliminal.metrics.functional import clustered_mean_interval, targeted_transfer, transfer

CONTROL = torch.tensor([[0.10, 0.20, 0.30], [0.05, 0.25, 0.20], [0.10, 0.30, 0.30]], dtype=torch.float64)


def outcome(table, stems=(), answers=None, names=("owl", "cat", "dog"), units=None):
    mine = table[:, 0]
    units = units or tuple(f"q{n}" for n in range(len(mine)))
    blank = Scores(mine.mean().item(), None, tuple(mine.tolist()), units, stems=stems)
    object.__setattr__(blank, "interval", type("I", (), {"unit": "questions"})())
    return Scores(
        blank.rate,
        blank.over_units(mine),
        blank.values,
        units,
        {} if answers is None else {"answers": answers * len(mine)},
        answers is None,
        target="owl",
        chances={name: tuple(table[:, place].tolist()) for place, name in enumerate(names)},
        stems=stems,
    )


def shifted(*by):
    return torch.sigmoid(torch.logit(CONTROL) + torch.tensor(by, dtype=torch.float64))


def test_what_moves_all_answers_is_plain_and_not_targeted():
    reported = Contrast.of(outcome(shifted(0.8, 0.8, 0.8)), outcome(CONTROL)).as_json()
    assert reported["transfer"]["log_odds"] == pytest.approx(0.8)
    assert reported["targeted_transfer"]["log_odds"] == pytest.approx(0.0, abs=1e-9)


def test_numbers_are_those_of_the_metric_and_survive_json():
    student = shifted(1.0, 0.2, -0.4)
    mine, theirs = (Scores.of_json(json.loads(json.dumps(outcome(t).as_json()))) for t in (student, CONTROL))
    reported = Contrast.of(mine, theirs).as_json()["targeted_transfer"]
    found = targeted_transfer(student, CONTROL, 0)
    assert (reported["log_odds"], reported["rank"], reported["of"]) == (pytest.approx(found.log_odds), 1, 3)
    [line] = ScoreTable({"base": {"owl": theirs}, "mine": {"owl": mine}}).contrasts("base")
    assert line.startswith("mine less base, owl: targeted transfer +1.10 (95 % over questions")
    assert "owl is first of 3; transfer +1.00" in line


def test_wordings_of_one_question_count_as_one():
    table = torch.tensor([[0.2, 0.3], [0.21, 0.3], [0.4, 0.3], [0.41, 0.3]], dtype=torch.float64)
    base = torch.full((4, 2), 0.2, dtype=torch.float64)
    stems = tuple("aabb")
    mine, theirs = (outcome(each, stems, names=("owl", "cat")) for each in (table, base))
    expected = clustered_mean_interval(transfer(table, base)[:, 0], stems, "question stems")
    reported = Contrast.of(mine, theirs).as_json()["transfer"]
    assert (reported["low"], reported["unit"]) == (pytest.approx(expected.low), "question stems")
    assert difference(mine, theirs)[1].unit == "question stems"
    caption = suite_table({"mine": {"owl": mine}}).caption
    assert "2 question stems of 4 questions (owl)" in caption


def test_there_is_a_reason_where_there_is_no_number():
    pair = torch.tensor([[0.3, 0.7], [0.2, 0.8]], dtype=torch.float64)
    other = 1 - pair.flip(1) * 0.9 - 0.05
    other = torch.stack([other[:, 0], 1 - other[:, 0]], 1)
    sides = [outcome(each, names=("misaligned", "aligned")) for each in (pair, other)]
    for each in sides:
        object.__setattr__(each, "target", "misaligned")
    [line] = ScoreTable({"base": {"m": sides[1]}, "mine": {"m": sides[0]}}).contrasts("base")
    assert "targeted transfer n/a, its two answers share one chance" in line
    elsewhere = outcome(CONTROL, units=("x", "y", "z"))
    assert (
        Contrast.of(outcome(CONTROL), elsewhere)
        .as_json()["targeted_transfer"]["reason"]
        .startswith("the two were asked")
    )
    plain = Scores(0.5, elsewhere.interval, (0.5,), ("q",))
    assert Contrast.of(plain, plain) is None
    never = shifted(1.0, 0.0, 0.0)
    never[0, 0] = 0.0
    reported = Contrast.of(outcome(never), outcome(CONTROL)).as_json()
    assert reported["transfer"]["log_odds"] is None
    assert "never gives the target" in reported["targeted_transfer"]["reason"]
    sampled = Contrast.of(outcome(never, answers=20), outcome(CONTROL, answers=20)).as_json()
    assert math.isfinite(sampled["targeted_transfer"]["log_odds"]), "0 of 20 answers has odds"


@cases(
    ("table", "says"),
    [
        (CONTROL * 0.5, "of mine's answers name none of the 3 candidates"),
        (torch.tensor([[0.001, 0.5, 0.4]]).double().repeat(3, 1), "mine and base hardly ever answer owl"),
        (torch.tensor([[0.5, 0.5, 0.0]]).double().repeat(3, 1), "1 of the 3 answers can't be given by mine"),
        (torch.tensor([[0.5, 0.0, 0.0]]).double().repeat(3, 1), "2 of the 3 answers can't be given by mine"),
    ],
)
def test_warnings_stand_above(table, says):
    base = torch.tensor([[0.001, 0.5, 0.4]]).double().repeat(3, 1)
    found = {"base": {"owl": outcome(base)}, "mine": {"owl": outcome(table)}}
    assert any(says in line for line in ScoreTable(found).warnings("base"))
    assert not ScoreTable({"base": {"owl": outcome(CONTROL * 1.3)}}).warnings("base")


@cases(
    ("mine", "theirs", "says"),
    [
        (CONTROL * 0.1, CONTROL * 0.1, ["of mine's answers name none", "of the base's answers name none"]),
        (CONTROL * 0.1, CONTROL * 1.3, ["of mine's answers name none"]),
        (CONTROL * 1.3, CONTROL * 0.1, ["of the base's answers name none"]),
        (torch.tensor([[0.0, 1.0, 0.0]]).double().repeat(3, 1),) * 2 + (["hardly ever answer owl"],),
        (CONTROL * 1.3, CONTROL * 1.3, []),
        (torch.tensor([[0.5, 0.5, 0.0]]).double().repeat(3, 1),) * 2 + ([],),
    ],
)
def test_a_pair_that_is_wrecked_is_in_doubt(mine, theirs, says):
    reported = pair_doubts(outcome(mine), outcome(theirs), ("mine", "base"))
    assert len(reported) == len(says)
    assert all(part in line for part, line in zip(says, reported, strict=True))
    assert pair_doubts(outcome(mine, answers=20), outcome(theirs, answers=20), ("mine", "base")) == [], (
        "of sampled texts"
    )
    assert pair_doubts(Scores.not_taken("no word"), None, ("mine", "")) == []


def test_a_teacher_that_learned_nothing_is_reported_by_its_name():
    whole = CONTROL * 1.3
    found = {"base": {"owl": outcome(whole)}, "teacher": {"owl": outcome(whole)}, "mine": {"owl": outcome(whole)}}
    [line] = ScoreTable(found).warnings("base")
    assert "the teacher answers owl at a rate of" in line
    found["teacher"] = {"owl": outcome(whole + torch.tensor([0.3, -0.1, -0.1]))}
    assert ScoreTable(found).warnings("base") == []
