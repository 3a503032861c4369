"""What a report shows unasked: figures and a table by what cells hold; chances stay chances; n/a has a reason."""

import math
from dataclasses import replace

import pytest
import torch
from cases import cases

from lightning_subliminal.analysis.cells import CellResult
from lightning_subliminal.analysis.claims import Claim, read_claim, verdict
from lightning_subliminal.analysis.estimates import claim_estimate
from lightning_subliminal.analysis.figures import make_figure
from lightning_subliminal.analysis.question_level import by_stem
from lightning_subliminal.analysis.statistics import Estimate
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.metrics.functional import targeted_transfer, why_untargeted
from lightning_subliminal.plans.default_figures import arm_table, default_figures
from lightning_subliminal.plans.report.contents import checked
from lightning_subliminal.plans.report.drawing import draw
from lightning_subliminal.plans.report.number_format import targeted
from lightning_subliminal.plans.report_data import _warnings, targeted_beside

CHANCE = {"student": (0.0, 1.0), "control": (0.0, 1.0)}


def cell(arm, seed=0, axes=None, limits=CHANCE, stems=(), vectors=None, reasons=None, **numbers):
    numbers = {name.replace("_", " "): value for name, value in numbers.items()}
    lineage = (f"{arm}-{seed}",)
    return CellResult("toy", arm, axes or {}, seed, numbers, vectors or {}, lineage, limits, stems, reasons or {})


def students(arm="same", chances=(0.01, 0.02, 0.2), **further):
    return [
        cell(
            arm, seed, student=chance, control=0.01, transfer=1.0 + seed, targeted_transfer=0.5 + seed, rank=1 + seed,
            rank_of=20, **further,
        )
        for seed, chance in enumerate(chances)
    ]  # fmt: skip


def drawn(figure):
    report = {"title": "t", "claims": [], "experiments": [{"name": "n", "title": "n", "figures": [figure]}]}
    return draw(checked(report)["experiments"][0]["figures"][0]).axes[0]


def test_chances_end_at_0_and_1_in_numbers_and_on_the_axis():
    cells = students(chances=(0.01, 0.02, 0.2)) + students("sure", chances=(0.8, 0.99, 0.999))
    figure = make_figure({"kind": "bars", "value": ["student", "control"]}, cells)
    low, high = (next(bar for bar in figure["bars"] if bar["label"] == arm) for arm in ("same", "sure"))
    assert (low["low"], high["high"]) == (0.0, 1.0), "Student's t alone would go on to -0.19 and 1.21"
    ends = drawn(figure).get_xlim()
    assert ends[0] == 0
    assert ends[1] <= 1


@cases("kind", ["curves", "scatter"])
def test_other_figures_of_chances_end_there_too(kind):
    cells = [cell("rank", seed, {"rank": rank}, student=0.01 + 0.05 * seed) for rank in (1, 2) for seed in range(3)]
    spec = {"kind": "curves", "x": "rank", "value": "student", "curves": [{"arm": "rank"}]}
    if kind == "scatter":
        spec = {"kind": "scatter", "x": "student", "y": "student", "arms": ["rank"]}
    axes = drawn(make_figure(spec, cells))
    assert axes.get_ylim()[0] >= 0


def test_other_numbers_keep_their_scale():
    figure = make_figure({"kind": "bars", "value": "transfer"}, students())
    assert figure["limits"] is None
    assert figure["bars"][0]["low"] < 0


def test_a_difference_of_chances_can_leave_0_and_not_minus_1():
    cells = students(chances=(0.0, 0.9)) + students("other", chances=(0.9, 0.0))
    found, _ = claim_estimate(Claim("x", "", arm="same", value="student", less={"arm": "other"}), cells)
    assert (found.low, found.high) == (-1.0, 1.0)


def test_percentages_and_areas_end_where_they_do():
    accuracy = [cell("digits", limits={"acc": (0.0, 100.0)}, acc=[98.0, 99.9, 70.0])]
    [bar] = make_figure({"kind": "bars", "value": "acc"}, accuracy)["bars"]
    assert bar["high"] == 100.0


def test_arms_of_every_kind_get_a_figure():
    cells = [*students(), cell("alone", student=0.3, reasons={"targeted transfer": "there is no control"})]
    cells += [cell("classifier", limits={"AUC 1": (0.0, 1.0)}, **{"AUC 1": 0.5}), cell("mine", weight=3.0)]
    figures = default_figures(cells)
    assert [figure["value"] for figure in figures] == [
        *(["targeted transfer", "transfer"], ["student", "control"], ["AUC 1"], ["weight"])
    ]
    assert [figure["arms"] for figure in figures] == [["same"], ["same", "alone"], ["classifier"], ["mine"]]
    for figure in figures:
        drawn(make_figure(figure, cells))


def test_an_axis_that_is_no_target_is_not_meaned_away():
    cells = [
        cell("rank", seed, {"rank": rank, "target": target}, transfer=float(rank), targeted_transfer=0.1)
        for rank in (1, 8)
        for target in ("owl", "wolf")
        for seed in range(2)
    ]
    table = arm_table([*cells, cell("plain", axes={"target": "owl"}, transfer=0.5)])
    assert [row[0] for row in table["rows"]] == ["rank, 1", "rank, 8", "plain"]
    assert [row[-1] for row in table["rows"]] == ["2 targets", "2 targets", "1 seed"]


def test_the_table_says_n_a_with_its_reason():
    why = {"targeted transfer": "its two answers share one chance, so plain transfer is targeted as it is"}
    table = arm_table([cell("numbers", seed, student=0.2, control=0.1, transfer=0.7, reasons=why) for seed in range(2)])
    [row] = table["rows"]
    assert row[1:3] == ["n/a", "n/a"]
    assert "Student and control: the chance that the answer is the target." in table["caption"]
    assert "numbers: n/a, its two answers share one chance" in table["caption"]
    assert arm_table([cell("classifier", AUC=0.5)]) is None


def test_a_single_cell_is_over_questions_clustered_by_stem():
    odds = torch.tensor([0.0, 0.1, 1.0, 1.1], dtype=torch.float64)
    vectors = {"student": odds.tolist(), "control": [0.0] * 4, "targeted transfer": odds.tolist()}
    numbers = {"student": 0.6, "control": 0.5, "transfer": 0.55, "targeted transfer": 0.55}
    plain, stemmed = (
        arm_table([cell("one", vectors=vectors, stems=stems, **numbers)])["rows"][0] for stems in ((), tuple("aabb"))
    )
    assert (plain[-1], stemmed[-1]) == ("4 questions of 1 seed", "2 question stems of 1 seed")
    assert plain[1] != stemmed[1]


def test_warnings_of_cells_are_counted_by_arm():
    few = {"student": 0.3, "control": 0.1, "transfer": 1.0}
    cells = [cell("same", 0, **few), cell("same", 1, **few), cell("other", **few)]
    odd = replace(cells[1], warnings=("60% of the student's answers are none of the 20",))
    assert _warnings([cells[0], odd, cells[2]]) == [
        "same, 1 of 2 cells: 60% of the student's answers are none of the 20"
    ]
    first, second = odd.warnings[0], "student and control hardly ever say owl (0.1% and 0.2%)"
    both = [
        replace(cells[0], warnings=(first, second)),
        replace(odd, warnings=(second.replace("0.1", "0.3"), first.replace("60", "55.5"))),
    ]
    assert _warnings(both) == [f"same, 2 of 2 cells: {first}", f"same, 2 of 2 cells: {second}"]
    assert len(_warnings([odd, replace(cells[0], warnings=(second,))])) == 2, "neither stands for the other"


@cases(("published", "words"), [(True, ("reproduced", "not reproduced")), (False, ("holds", "does not hold"))])
def test_words_of_verdicts_say_whose_claim_it_is(published, words):
    claim = read_claim({"id": "x", "says": "x", "arm": "a", "above": 0.1}, "toy", {"a"}, published)
    reported = [verdict(Estimate(0.3, *ends, "seeds", 3), claim) for ends in ((0.2, 0.4), (-0.2, 0.05))]
    assert tuple(reported) == words
    own = {"id": "x", "says": "x", "arm": "a", "above": 0.1, "published": not published}
    assert read_claim(own, "toy", {"a"}, published).published is not published, "a claim says it over its plan"
    with pytest.raises(InputError, match="expected true or false"):
        read_claim(own | {"published": "yes"}, "toy", {"a"})


def test_beside_each_claim_of_the_target_stands_the_targeted_figure():
    cells = students() + students("other")
    for claim in (
        Claim("x", "", arm="same"),
        Claim("x", "", arm="same", value="student"),
        Claim("x", "", arm="same", value="student", less={"value": "control"}),
    ):
        reported = targeted_beside(claim, cells)
        assert (reported["value"], reported["rank"], reported["rank_of"]) == (pytest.approx(1.5), 2.0, 20)
        assert "targeted +1.5" in targeted(reported)
    gap = targeted_beside(Claim("x", "", arm="same", less={"arm": "other"}), cells)
    assert gap["value"] == 0
    for other in ({"value": "AUC 1"}, {"value": "targeted transfer"}, {"less": {"value": "off target"}}):
        assert targeted_beside(Claim("x", "", arm="same", **other), cells) is None


def test_a_claim_without_a_targeted_figure_says_why():
    why = {"judged: targeted transfer": "its two answers share one chance"}
    cells = [cell("numbers", seed, judged=0.1, reasons=why, **{"judged: points": 5.0 + seed}) for seed in range(3)]
    reported = targeted_beside(Claim("x", "", arm="numbers", value="judged: points"), cells)
    assert targeted(reported) == "targeted: n/a, its two answers share one chance"


def test_question_statistics_cluster_by_stem_and_keep_the_mean():
    torch.manual_seed(0)
    stems = tuple("aaaaabbbbbcccccdd")
    made = []
    for seed in range(6):
        of_stem = {stem: float(torch.randn(()) * 0.2) + place for place, stem in enumerate("abcd")}
        student = [of_stem[stem] + float(torch.randn(()) * 0.05) for stem in stems]
        vectors = {"student": student, "control": [0.0] * len(stems), "targeted transfer": student}
        made.append(cell("same", seed, stems=stems, vectors=vectors, transfer=sum(student) / len(student)))
    mean = sum(each.numbers["transfer"] for each in made) / len(made)
    own = [cell("same", each.seed, vectors=each.vectors, transfer=1.0) for each in made]
    for statistic in ("bootstrap", "mixed model"):
        claim = Claim("x", "", arm="same", statistic=statistic)
        clustered, alone = (claim_estimate(claim, cells)[0] for cells in (made, own))
        assert clustered.value == pytest.approx(mean) == pytest.approx(alone.value)
        if statistic == "bootstrap":
            assert clustered.high - clustered.low > 1.3 * (alone.high - alone.low)
        twin = claim_estimate(Claim("x", "", arm="same", statistic=statistic, value="targeted transfer"), made)[0]
        assert twin.value == pytest.approx(mean)
    assert by_stem([[1.0, 3.0, 5.0]], ()).tolist() == by_stem([[1.0, 3.0, 5.0]], "abc").tolist() == [[1.0, 3.0, 5.0]]
    assert by_stem([[1.0, 3.0, 5.0, 7.0]], "aabb").tolist() == [[2.0, 6.0]]
    with pytest.raises(InputError, match="3 questions and 2 stems"):
        by_stem([[1.0, 3.0, 5.0]], "aa")


def test_two_answers_that_share_one_chance_have_no_targeted_transfer():
    student, control = torch.tensor([[0.3, 0.7], [0.2, 0.8]]), torch.tensor([[0.1, 0.9], [0.1, 0.9]])
    assert "share one chance" in why_untargeted(student, control, 0)
    assert targeted_transfer(student, control, 0) is None
    assert targeted_transfer(student * 0.98, control * 0.98, 0) is None, "yes and no are nearly all answers"
    some = student * 0.9  # a tenth is another answer
    assert why_untargeted(some, control * 0.9, 0) == ""
    assert math.isfinite(targeted_transfer(some, control * 0.9, 0).log_odds)
    assert why_untargeted(student[:, :1], control[:, :1], 0) == "there is no other answer to compare with"
    none = torch.tensor([[0.0, 0.7], [0.2, 0.5]])
    assert "never gives the target" in why_untargeted(none, none, 0)
    assert "none of the other answers" in why_untargeted(none, none, 1)
