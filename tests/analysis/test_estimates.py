"""Cells to estimates: the unit is the right one, differences are paired, and verdicts follow one rule."""

import math

import numpy as np
import pytest
from cases import cases

from lightning_subliminal.analysis.cells import CellResult, cell_pairs, grouped, matrix_of, select
from lightning_subliminal.analysis.claims import Claim, read_claim, verdict
from lightning_subliminal.analysis.estimates import claim_estimate, group_estimate
from lightning_subliminal.analysis.figures import make_figure
from lightning_subliminal.analysis.resampling import beyond_other_rows, rank_correlation
from lightning_subliminal.analysis.statistics import Estimate, mean_estimate, required_seeds
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.plans.report_data import settling

VALUES = {("owl", 0): 1.0, ("owl", 1): 1.2, ("wolf", 0): 2.0, ("wolf", 1): 2.4, ("oak", 0): 0.5, ("oak", 1): 0.9}


def cell(arm, axes, seed, **numbers):
    return CellResult("toy", arm, axes, seed, numbers, {}, (f"evaluation-{arm}-{seed}",))


@pytest.fixture
def cells():
    same = [cell("same", {"target": target}, seed, transfer=value) for (target, seed), value in VALUES.items()]
    other = [cell("other", {"target": target}, seed, transfer=value / 10) for (target, seed), value in VALUES.items()]
    return same + other


def test_the_unit_is_the_target_where_there_are_several(cells):
    groups, unit = grouped(select(cells, "same"), "transfer", "target")
    found = group_estimate(groups, unit)
    expected = mean_estimate([1.1, 2.2, 0.7], "targets")
    assert (found.unit, found.count) == ("targets", 3)
    assert (found.value, found.low, found.high) == pytest.approx((expected.value, expected.low, expected.high))


def test_one_target_leaves_the_seeds(cells):
    groups, unit = grouped(select(cells, "same", {"target": "owl"}), "transfer", "target")
    found = group_estimate(groups, unit)
    assert (found.unit, found.count, found.value) == ("seeds", 2, pytest.approx(1.1))


def test_lists_hold_a_value_a_unit():
    groups, unit = grouped([cell("digits", {}, 0, accuracy=[40.0, 50.0, 60.0])], "accuracy", "target")
    found = group_estimate(groups, unit)
    assert (found.unit, found.count, found.value) == ("seeds", 3, 50.0)


def test_a_difference_is_paired_by_target_and_seed(cells):
    claim = Claim("gap", "", arm="same", less={"arm": "other"}, low=0.1)
    found, keys = claim_estimate(claim, cells)
    expected = mean_estimate([0.99, 1.98, 0.63], "targets")
    assert (found.value, found.low) == pytest.approx((expected.value, expected.low))
    assert len(keys) == 4


def test_a_difference_of_two_places_on_an_axis(cells):
    cells = [cell("rows", {"rows": rows}, seed, transfer=rows * (1 + seed)) for rows in (1, 4) for seed in range(4)]
    claim = Claim("more", "", arm="rows", where={"rows": 4}, less={"where": {"rows": 1}}, low=0.1)
    found, _ = claim_estimate(claim, cells)
    assert (found.unit, found.value) == ("seeds", pytest.approx(np.mean([3, 6, 9, 12])))


def test_without_common_units_it_is_welchs(cells):
    cells = [cell("a", {}, seed, transfer=1.0 + seed) for seed in range(3)]
    cells += [cell("b", {}, seed, transfer=0.1 * seed) for seed in range(5, 9)]
    found, _ = claim_estimate(Claim("gap", "", arm="a", less={"arm": "b"}), cells)
    assert "Welch" in found.method
    assert found.value == pytest.approx(2.0 - 0.65)


def test_same_as_and_other_than():
    bases = ("a", "b", "c")
    cells = [
        cell("pair", {"teacher": t, "student": s}, 0, transfer=2.0 if t == s else 0.0) for t in bases for s in bases
    ]
    assert len(select(cells, "pair", {"student": {"same_as": "teacher"}})) == 3
    assert len(select(cells, "pair", {"teacher": ["a", "b"], "student": {"other_than": "teacher"}})) == 4
    assert (
        len(select(cells, "pair", {"teacher": ["a", "b"], "student": {"in": ["a", "b"], "other_than": "teacher"}})) == 2
    )
    with pytest.raises(InputError, match="expected a value, a list, in, same_as or other_than"):
        select(cells, "pair", {"student": {"unlike": "teacher"}})
    values, rows, columns = matrix_of(cells, "teacher", "student", "transfer")
    assert values.tolist() == (2 * np.eye(3)).tolist()
    assert rows == columns == list(bases)
    found, _ = claim_estimate(Claim("diagonal", "", arm="pair", statistic="matrix", low=0.1), cells)
    assert found.value == pytest.approx(2 - 2 / 3)
    assert found.p == pytest.approx(2 / 6), "twice the least that permuting three columns can give"
    backwards, _ = claim_estimate(Claim("diagonal", "", arm="pair", statistic="matrix", low=0.1), cells[::-1])
    assert backwards.value == pytest.approx(found.value), "whichever cell comes first"
    with pytest.raises(InputError, match="the matrix is not whole"):
        claim_estimate(Claim("diagonal", "", arm="pair", statistic="matrix"), cells[1:])


ANSWERS = {"owl": (3.0, 1.0, 0.5), "oak": (0.5, 2.0, 0.1)}  # by target: the change of owl, of oak, of elm


def answering():
    return [
        cell(
            "same",
            {"target": target},
            seed,
            **{f"change of {name}": reported for name, reported in zip(NAMES, each, strict=True)},
        )
        for target, each in ANSWERS.items()
        for seed in range(2)
    ]


NAMES = ("owl", "oak", "elm")


def test_a_matrix_of_targets_by_answers_and_what_is_beyond_each_column():
    cells = answering()
    values, rows, columns = matrix_of(cells, "target", "answer", "transfer")
    assert rows == columns == ["owl", "oak"], "an answer that is no target has no place on the diagonal"
    assert values.tolist() == [[3.0, 1.0], [0.5, 2.0]]
    assert beyond_other_rows(values).tolist() == [2.5, 1.0]
    of = {"arm": "same", "over": ["target", "answer"]}
    found, keys = claim_estimate(Claim("own", "", statistic="columns", **of), cells)
    expected = mean_estimate([2.5, 1.0], "targets")
    assert (found.value, found.low, found.unit) == (expected.value, expected.low, "targets")
    assert keys == ["evaluation-same-0", "evaluation-same-1"]
    whole, _ = claim_estimate(Claim("own", "", statistic="matrix", **of), cells)
    assert whole.value == pytest.approx(2.5 - 6.5 / 4)
    figure = make_figure({"kind": "matrix", "rows": "target", "columns": "answer", "arm": "same"}, cells)
    assert figure["values"] == [[3.0, 1.0], [0.5, 2.0]]
    assert "less the other cells +1.75 [" in figure["statistic"]
    assert "in the other rows: owl +2.50, oak +1.00; mean +1.75" in figure["statistic"]


def test_a_matrix_with_holes_or_one_row_has_no_statistic():
    cells = answering()
    spec = {"kind": "matrix", "rows": "target", "columns": "answer", "arm": "same"}
    assert make_figure(spec, cells[:2])["statistic"] is None, "one row"
    assert make_figure(spec | {"arm": "none"}, cells)["rows"] == [], "of an arm that was not run"
    del cells[0].numbers["change of oak"], cells[1].numbers["change of oak"]
    assert make_figure(spec, cells)["statistic"] is None
    with pytest.raises(InputError, match="the matrix is not whole"):
        claim_estimate(Claim("own", "", arm="same", statistic="columns", over=["target", "answer"]), cells)


def test_questions_within_seeds():
    rng = np.random.default_rng(0)
    made = []
    for seed in range(6):
        control = rng.normal(0, 0.1, 20)
        vectors = {"student": (control + 1).tolist(), "control": control.tolist()}
        made.append(CellResult("toy", "same", {"target": "owl"}, seed, {"transfer": 1.0}, vectors, ()))
    for statistic in ("bootstrap", "mixed model"):
        found, _ = claim_estimate(Claim("x", "", arm="same", statistic=statistic), made)
        assert found.value == pytest.approx(1.0)
    with pytest.raises(InputError, match="is of `transfer` alone"):
        claim_estimate(Claim("x", "", arm="same", statistic="bootstrap", value="student"), made)


def test_p_is_against_what_no_effect_is():
    made = [cell("classifier", {}, seed, auc=0.5 + 0.01 * (seed - 1)) for seed in range(3)]
    found, _ = claim_estimate(Claim("x", "", arm="classifier", value="auc", null=0.5), made)
    assert found.p == pytest.approx(1.0)


def test_a_pair_is_of_an_arm_with_its_axes():
    reported = [("same", "owl", 0, 1.0, 5.0), ("same", "owl", 1, 3.0, 7.0), ("same", "wolf", 0, 4.0, [1.0, 2.0])]
    reported += [("other", "owl", 0, 9.0, 8.0)]
    cells = [
        cell(arm, {"target": target, "of": ["a", "b"]}, seed, predicted=x, transfer=y)
        for arm, target, seed, x, y in reported
    ]
    cells += [cell("same", {"target": "oak"}, 0, transfer=1.0)]  # was not predicted
    cells += [cell("same", {"target": "elm"}, 0, predicted=1.0, transfer=math.inf)]
    of = (("of", ("a", "b")),)
    assert cell_pairs(cells, "predicted", "transfer") == [
        (2.0, 6.0, ("owl",), ("same", of)),
        (4.0, 1.5, ("wolf",), ("same", of)),
        (9.0, 8.0, ("owl",), ("other", of)),
    ]


def test_a_rank_correlation_draws_whole_targets_and_whole_conditions():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(2, 6, 2, 2))  # arms, targets, seeds, numbers
    cells = [
        cell(arm, {"target": target}, seed, predicted=table[a, target, seed, 0], transfer=table[a, target, seed, 1])
        for a, arm in enumerate(("same", "other"))
        for target in range(6)
        for seed in range(2)
    ]
    far = [cell("far", {"target": target}, 0, predicted=target, transfer=100 - target) for target in range(6)]
    reported = {"id": "r", "says": "x", "statistic": "rank correlation", "beside": "predicted", "above": 0.7}
    claim = read_claim({**reported, "arms": ["same", "other"]}, "toy", ["same", "other", "far"])
    assert claim.of_arms == ("same", "other")
    found, keys = claim_estimate(claim, cells + far)
    means = table.mean(2).reshape(12, 2)
    levels = {"targets": [*range(6), *range(6)], "conditions": [0] * 6 + [1] * 6}
    expected = rank_correlation(means[:, 0], means[:, 1], levels)
    assert (found.value, found.count, found.unit) == (expected.value, 12, "cells (6 targets x 2 conditions)")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=0.15)  # labels in another order
    assert math.isnan(found.p)
    assert keys == sorted({key for each in cells for key in each.lineage})
    some = read_claim({**reported, "arms": ["same"], "where": {"target": [0, 1, 2, 3]}}, "toy", ["same"])
    assert claim_estimate(some, cells)[0].unit == "cells (4 targets x 1 conditions)"
    none = read_claim({**reported, "arms": ["same"], "beside": "points"}, "toy", ["same"])
    assert claim_estimate(none, cells)[0] is None
    assert claim_estimate(claim, far)[0] is None


@cases(
    ("changes", "says"),
    [
        ({"beside": None}, "needs `beside` and `arms`, and takes no `arm`"),
        ({"arms": None}, "needs `beside` and `arms`"),
        ({"arm": "same"}, "and takes no `arm`"),
        ({"less": {"arm": "same"}}, "needs `beside` and `arms`"),
        ({"statistic": "mean"}, "needs `beside` and `arms`"),
        ({"arms": []}, r"`arms` is \[\]: expected a list of arms"),
        ({"arms": "same"}, "`arms` is 'same': expected a list of arms"),
        ({"arms": ["same", "smae"]}, "there is no arm 'smae'; did you mean `same`"),
    ],
)
def test_keys_of_a_rank_correlation(changes, says):
    reported = {
        "id": "r",
        "says": "x",
        "statistic": "rank correlation",
        "beside": "predicted",
        "arms": ["same"],
        "above": 0,
    }
    reported = {key: value for key, value in {**reported, **changes}.items() if value is not None}
    with pytest.raises(InputError, match=says) as err:
        read_claim(reported, "toy", ["same", "other"])
    assert "\n" not in str(err.value)


def test_nothing_measured(cells):
    found, _ = claim_estimate(Claim("x", "", arm="nobody", low=0.1), cells)
    assert found is None
    assert verdict(found, Claim("x", "", low=0.1)) == "not measured"


@cases(
    ("low", "high", "expected"),
    [
        (0.2, 0.4, "reproduced"),
        (-0.2, 0.05, "not reproduced"),
        (0.0, 0.4, "inconclusive"),
        (math.nan, math.nan, "inconclusive"),
    ],
)
def test_the_rule_for_an_effect(low, high, expected):
    claim = read_claim({"id": "x", "says": "x", "arm": "a", "above": 0.1, "published": True}, "toy", {"a"})
    assert verdict(Estimate(0.3, low, high, "seeds", 3, 0.01, 0.0, "t"), claim) == expected


@cases(
    ("low", "high", "expected"),
    [
        (-0.2, 0.2, "reproduced"),
        (0.4, 0.9, "not reproduced"),
        (-0.9, -0.4, "not reproduced"),
        (-0.1, 0.4, "inconclusive"),
    ],
)
def test_the_rule_for_no_effect(low, high, expected):
    claim = read_claim({"id": "x", "says": "x", "arm": "a", "within": 0.3}, "toy", {"a"}, published=True)
    assert verdict(Estimate(0.0, low, high, "seeds", 3, 0.5, 0.0, "t"), claim) == expected


def test_figures_hold_points_and_intervals(cells):
    bars = make_figure({"kind": "bars", "title": "T", "caption": "C", "arms": ["same", "other"]}, cells)
    assert [bar["label"] for bar in bars["bars"]] == ["same", "other"]
    assert [point["label"] for point in bars["bars"][0]["points"]] == ["owl", "wolf", "oak"]
    by = make_figure({"kind": "bars", "arms": ["same"], "by": "target"}, cells)
    assert next((bar["label"], bar["count"], bar["unit"]) for bar in by["bars"]) == ("owl", 2, "seeds")
    scatter = make_figure({"kind": "scatter", "x": "transfer", "y": "transfer"}, cells)
    assert len(scatter["points"]) == 2
    assert scatter["points"][0]["x"] == scatter["points"][0]["y"]
    rows = [cell("rows", {"rows": rows}, 0, transfer=rows / 2) for rows in (4, 1)]
    curves = make_figure({"kind": "curves", "x": "rows", "curves": [{"label": "l", "arm": "rows"}]}, rows)
    assert [(point["x"], point["value"]) for point in curves["curves"][0]["points"]] == [(1.0, 0.5), (4.0, 2.0)]
    chain = make_figure({"kind": "curves", "x": "arm", "curves": [{"arms": {1: "same", 2: "other"}}]}, cells)
    assert [point["x"] for point in chain["curves"][0]["points"]] == [1.0, 2.0]


def test_an_inconclusive_claim_says_what_would_settle_it():
    claim = read_claim({"id": "x", "says": "x", "arm": "a", "above": 0.1}, "toy", {"a"})
    seen = mean_estimate([0.0, 0.2, 0.4, 0.6, 0.1], "targets")
    reported = settling(claim, seen)
    assert reported.startswith("about ")
    assert reported.endswith(" targets would settle it if the estimate is true")
    needed = int(reported.split()[1])
    spread, away = np.std([0.0, 0.2, 0.4, 0.6, 0.1], ddof=1), 0.26 - 0.1
    assert needed == required_seeds(away, spread) > 5
    assert settling(claim, mean_estimate([0.5, 0.51, 0.52], "targets")) is None
    assert settling(claim, None) is None
