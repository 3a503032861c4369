import json
import math
import sys

import numpy as np
import pytest
from cases import cases
from scipy import stats

from lightning_subliminal.analysis.question_level import hierarchical_bootstrap, mixed_model
from lightning_subliminal.analysis.resampling import matrix_statistic, rank_correlation
from lightning_subliminal.analysis.statistics import (
    adjust,
    difference_estimate,
    mean_estimate,
    nested_estimate,
    required_seeds,
)
from lightning_subliminal.core.errors import InputError


def tables(seed_spread, question_spread, noise, effect=0.5, shape=(5, 50), seed=0):
    rng = np.random.default_rng(seed)
    control = rng.normal(0, 0.3, shape)
    by_seed, by_question = rng.normal(0, seed_spread, (shape[0], 1)), rng.normal(0, question_spread, shape[1])
    return control + effect + by_seed + by_question + rng.normal(0, noise, shape), control


class TestMean:
    def test_equals_scipy(self):
        values = [0.1, 0.5, 0.2, 0.9]
        found, expected = mean_estimate(values, "seeds", null=0.2), stats.ttest_1samp(values, 0.2)
        interval = expected.confidence_interval()
        assert (found.p, found.low, found.high) == pytest.approx((expected.pvalue, interval.low, interval.high))
        assert (found.count, found.null, found.method) == (4, 0.2, "Student's t over seeds")

    # 0.1 + 0.2 differs from 0.3 by rounding alone, which would be taken for a tiny spread, and so for proof
    @cases("values", [[], [0.7], [1.0, 1.0, 1.0], [0.0, 0.0], [0.3, 0.1 + 0.2]])
    def test_no_spread_is_no_evidence(self, values):
        found = mean_estimate(values, "seeds")
        assert all(map(math.isnan, (found.low, found.high, found.p)))
        assert found.count == len(values)

    def test_json_has_none_for_nan(self):
        fields = json.loads(json.dumps(mean_estimate([0.7], "seeds").as_json(), allow_nan=False))
        assert (fields["value"], fields["low"], fields["p"], fields["count"]) == (0.7, None, None, 1)

    def test_nan_is_not_dropped_in_silence(self):
        with pytest.raises(InputError, match="Value 1 over seeds is nan"):
            mean_estimate([0.1, math.nan], "seeds")


class TestNested:
    def test_the_unit_is_the_outer_one(self):
        found = nested_estimate({"owl": [0.0, 0.2], "cat": [0.5], "dog": [0.4, 0.8, 0.6]})
        expected = mean_estimate([0.1, 0.5, 0.6], "targets")
        assert (found.value, found.low, found.p) == pytest.approx((expected.value, expected.low, expected.p))
        assert (found.unit, found.count) == ("targets", 3)

    def test_one_group_names_its_seeds(self):
        found = nested_estimate({"owl": [0.0, 0.2, 0.3]})
        assert (found.unit, found.count) == ("seeds", 3)
        assert "owl" in found.method

    def test_empty_group(self):
        with pytest.raises(InputError, match="'cat' of the targets has no values"):
            nested_estimate({"owl": [0.1], "cat": []})


class TestDifference:
    def test_welch_equals_scipy(self):
        first, second = [0.5, 0.9, 0.7], [0.1, 0.12, 0.2, 0.15]
        found, expected = (
            difference_estimate(first, second, "seeds", paired=False),
            stats.ttest_ind(first, second, equal_var=False),
        )
        interval = expected.confidence_interval()
        assert (found.p, found.low, found.high) == pytest.approx((expected.pvalue, interval.low, interval.high))
        assert found.count == 7

    def test_pairs(self):
        found, expected = (
            difference_estimate([1.0, 2.1, 3.0], [0.5, 1.5, 2.6], "seeds", paired=True),
            stats.ttest_rel([1.0, 2.1, 3.0], [0.5, 1.5, 2.6]),
        )
        assert (found.p, found.count) == (pytest.approx(expected.pvalue), 3)
        with pytest.raises(InputError, match="can't be paired"):
            difference_estimate([1.0, 2.0], [1.0], "seeds", paired=True)

    def test_no_spread_on_either_side(self):
        assert math.isnan(difference_estimate([1.0, 1.0], [0.0, 0.0], "seeds", paired=False).p)


class TestMatrix:
    def test_a_diagonal_is_found_as_surely_as_rows_allow(self):
        found = matrix_statistic(np.eye(5) + np.random.default_rng(0).normal(0, 0.01, (5, 5)))
        assert found.p == pytest.approx(1 / math.factorial(5))  # exact, so the least there is
        assert found.value == pytest.approx(found.diagonal - found.grand)
        assert found.low <= found.value <= found.high
        assert "exact" in found.method

    def test_columns_that_are_high_everywhere_are_no_diagonal(self):
        assert matrix_statistic(np.tile([3.0, 0.0, 1.0, 0.0], (4, 1))).p == 1

    def test_the_contrast_is_that_of_the_diagonal_with_the_other_cells(self):
        cells = np.random.default_rng(0).normal(size=(4, 4)) + np.eye(4)
        found = matrix_statistic(cells)
        others = cells[~np.eye(4, dtype=bool)].mean()
        assert found.contrast == pytest.approx(np.diag(cells).mean() - others)
        assert found.contrast_high == pytest.approx(found.high * 4 / 3)

    def test_where_interval_and_p_disagree_it_says_which_to_read(self):
        few = matrix_statistic(np.eye(3) + np.random.default_rng(0).normal(0, 0.01, (3, 3)))
        assert "read the interval" in few.reading
        columns = matrix_statistic(np.eye(6) + np.arange(6) * 5.0)
        assert "read p" in columns.reading
        assert matrix_statistic(np.eye(6) + np.random.default_rng(0).normal(0, 0.01, (6, 6))).reading == ""

    def test_equals_all_deals_counted_by_hand(self):
        from itertools import permutations

        cells = np.random.default_rng(1).normal(size=(4, 4))
        deals = [sum(cells[row, column] for row, column in enumerate(deal)) for deal in permutations(range(4))]
        assert matrix_statistic(cells).p == pytest.approx(np.mean(np.array(deals) >= deals[0] - 1e-9))

    def test_many_rows_are_dealt_at_random_by_the_seed(self):
        cells = np.random.default_rng(2).normal(size=(9, 9))
        found = [matrix_statistic(cells, resamples=199, seed=seed).p for seed in (0, 0, 1)]
        assert found[0] == found[1] != found[2]

    @cases("cells", [[[1.0]], [[1.0, 2.0]], [[1.0, math.nan], [0.0, 1.0]]])
    def test_no_square_of_numbers(self, cells):
        with pytest.raises(InputError, match="row"):
            matrix_statistic(cells)

    @cases("cells", [[[1.0, 2.0], [3.0]], [["a", "b"], ["c", "d"]], {"a": 1}])
    def test_what_holds_no_numbers_is_refused(self, cells):
        with pytest.raises(InputError, match="`matrix` must hold numbers, in lists of one length"):
            matrix_statistic(cells)
        with pytest.raises(InputError, match="`p_values` must hold numbers"):
            adjust(cells, "holm")
        with pytest.raises(InputError, match="`student` must hold numbers"):
            hierarchical_bootstrap([(cells, np.eye(2))])
        with pytest.raises(InputError, match="values over seeds` must hold numbers"):
            mean_estimate(cells, "seeds")

    @cases("resamples", [0, -3])
    def test_no_resamples_are_refused(self, resamples):
        for call in (
            lambda: matrix_statistic(np.eye(3), resamples=resamples),
            lambda: hierarchical_bootstrap([(np.eye(3), np.zeros((3, 3)))], resamples=resamples),
            lambda: rank_correlation([1.0, 2.0], [1.0, 2.0], {"targets": "ab"}, resamples=resamples),
        ):
            with pytest.raises(InputError, match=f"`resamples` is {resamples}: expected 1 or more"):
                call()


class TestRankCorrelation:
    def pairs(self, count, noise=0.7, seed=0):
        rng = np.random.default_rng(seed)
        first = rng.normal(size=count)
        return first, first + noise * rng.normal(size=count)

    def test_equals_pearsons_of_the_ranks(self):
        first, second = self.pairs(30)
        found = rank_correlation(first, second, {"runs": range(30)})
        ranks = [np.argsort(np.argsort(each)) for each in (first, second)]
        assert found.value == pytest.approx(np.corrcoef(*ranks)[0, 1])
        assert math.isnan(found.p)
        assert (found.unit, found.count) == ("cells (30 runs)", 30)
        assert found.low < found.value < found.high < 1
        other = rank_correlation(np.exp(first), second**3, {"runs": range(30)})  # order alone counts
        assert (other.value, other.low, other.high) == pytest.approx((found.value, found.low, found.high))
        assert rank_correlation(first, -second, {"runs": range(30)}).value == pytest.approx(-found.value)

    def test_of_independent_pairs_the_interval_is_near_fishers(self):
        """An approximation that shares nothing with it: z has standard error sqrt(1.06 / (n - 3))."""
        found = rank_correlation(*self.pairs(80), {"runs": range(80)})
        half = 1.96 * math.sqrt(1.06 / 77)
        expected = [math.tanh(math.atanh(found.value) + sign * half) for sign in (-1, 1)]
        assert (found.low, found.high) == pytest.approx(expected, abs=0.06)

    def test_pairs_that_share_a_target_count_as_one(self):
        """Ten copies of each of eight pairs are no more evidence than the eight."""
        first, second = self.pairs(8)
        alone = rank_correlation(first, second, {"targets": range(8)})
        copies = rank_correlation(np.repeat(first, 10), np.repeat(second, 10), {"targets": np.repeat(range(8), 10)})
        naive = rank_correlation(np.repeat(first, 10), np.repeat(second, 10), {"cells": range(80)})
        assert (copies.value, copies.low, copies.high) == pytest.approx((alone.value, alone.low, alone.high), abs=0.03)
        assert naive.high - naive.low < 0.5 * (copies.high - copies.low)

    def test_two_levels_are_wider_than_one(self):
        rng = np.random.default_rng(0)
        targets, conditions = np.repeat(range(6), 8), np.tile(range(8), 6)
        shared = rng.normal(size=6)[targets] + rng.normal(size=8)[conditions]
        first, second = (shared + 0.5 * rng.normal(size=48) for _ in range(2))
        one = rank_correlation(first, second, {"targets": targets})
        both = rank_correlation(first, second, {"targets": targets, "conditions": conditions})
        assert both.high - both.low > one.high - one.low
        assert both.unit == "cells (6 targets x 8 conditions)"

    def test_the_seed_moves_the_draws(self):
        first, second = self.pairs(12)
        one, other, again = (
            rank_correlation(first, second, {"runs": range(12)}, resamples=300, seed=seed) for seed in (0, 1, 0)
        )
        assert (one.low, one.high) == (again.low, again.high)
        assert one.low != other.low
        assert one.value == other.value

    @cases("second", [[1, 2, 3, 4, 5, 6], [1, 1, 1, 1, 1, 1]])
    def test_no_spread_is_no_evidence(self, second):
        found = rank_correlation([1, 2, 3, 4, 5, 6], second, {"runs": range(6)}, resamples=300)
        assert math.isnan(found.low)
        assert math.isnan(found.high)

    @cases(("first", "labels"), [([1, 2, 3], [0, 1, 2]), ([1, 2, 3, 4], [0, 0, 0, 0])], ids=["few", "one label"])
    def test_too_little(self, first, labels):
        found = rank_correlation(first, [*reversed(first)], {"runs": labels})
        assert math.isnan(found.low)
        assert "too little data" in found.method

    @cases(
        ("second", "says"),
        [
            ([1.0, 2, 3], "lists of one length"),
            ([1, 2, 3, math.nan], "Value 3 over runs is nan"),
            ([1, 2, 3, math.inf], "Value 3 over runs is inf"),
        ],
    )
    def test_refuses(self, second, says):
        with pytest.raises(InputError, match=says):
            rank_correlation([1, 2, 3, 4], second, {"runs": range(4)})


class TestAdjust:
    def test_by_hand(self):
        assert adjust([0.01, 0.04, 0.03], "holm") == pytest.approx([0.03, 0.06, 0.06])
        assert adjust([0.01, 0.04, 0.03], "bh") == pytest.approx([0.03, 0.04, 0.04])

    def test_nan_stays_and_is_not_counted(self):
        assert adjust([0.01, math.nan, 0.04], "holm") == pytest.approx([0.02, math.nan, 0.04], nan_ok=True)
        assert np.isnan(adjust([math.nan], "bh")).all()

    def test_refuses(self):
        with pytest.raises(InputError, match="0 to 1"):
            adjust([1.2], "holm")
        with pytest.raises(InputError, match="holm, bh"):
            adjust([0.2], "sidak")

    def test_missing_statsmodels_says_how_to_mend(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "statsmodels.stats.multitest", None)  # as Python marks what can't be imported
        with pytest.raises(InputError, match=r"pip install 'lightning-subliminal\[report\]'"):
            adjust([0.1], "holm")


class TestBootstrap:
    def test_questions_alike_is_students_t_over_seeds(self):
        student, control = tables(0.3, 0, 0)
        found = hierarchical_bootstrap([(student, control)], resamples=20_000)
        expected = mean_estimate((student - control).mean(1), "seeds")
        assert found.value == pytest.approx(expected.value)
        assert found.high - found.low == pytest.approx(expected.high - expected.low, rel=0.03)
        assert found.p == pytest.approx(expected.p, rel=0.1)

    def test_seeds_alike_is_students_t_over_questions(self):
        # drawing questions apart for each seed would miss this: it gives less than half the width
        student, control = tables(0, 0.2, 0)
        found = hierarchical_bootstrap([(student, control)], resamples=20_000)
        expected = mean_estimate((student - control).mean(0), "questions")
        assert found.high - found.low == pytest.approx(expected.high - expected.low, rel=0.03)

    def test_p_and_interval_agree(self):
        student, control = tables(0.3, 0.2, 0.1)
        first = hierarchical_bootstrap([(student, control)])
        at_the_edge = hierarchical_bootstrap([(student - first.low, control)])
        assert at_the_edge.p == pytest.approx(0.05, abs=1e-6)
        assert first == hierarchical_bootstrap([(student, control)])  # the seed decides

    def test_groups_are_the_unit(self):
        pairs = [tables(0.3, 0, 0.1, effect, seed=seed) for seed, effect in enumerate((0.2, 1.0, 0.6))]
        found = hierarchical_bootstrap(pairs, resamples=20_000)
        expected = mean_estimate([float((one - other).mean()) for one, other in pairs], "targets")
        assert (found.unit, found.count, found.value) == ("targets", 3, pytest.approx(expected.value))
        assert found.high - found.low == pytest.approx(expected.high - expected.low, rel=0.05)
        assert hierarchical_bootstrap(pairs[:1]).unit == "seeds"

    def test_too_little(self):
        student, control = tables(0.3, 0.2, 0.1)
        assert math.isnan(hierarchical_bootstrap([(student[:1], control[:1])]).low)
        assert math.isnan(hierarchical_bootstrap([(control, control)]).p)

    def test_refuses(self):
        student, control = tables(0.3, 0.2, 0.1)
        with pytest.raises(InputError, match=r"\(seeds, questions\)"):
            hierarchical_bootstrap([(student, control[:3])])
        with pytest.raises(InputError, match="`pairs` must be one or more"):
            hierarchical_bootstrap([])
        with pytest.raises(InputError, match="same questions"):
            hierarchical_bootstrap([(student, control), (student[:, :9], control[:, :9])])
        with pytest.raises(InputError, match="is not finite"):
            hierarchical_bootstrap([(np.where(student > student.mean(), math.nan, student), control)])


class TestMixedModel:
    # with little noise statsmodels' own start gives a quarter of this width, and says that it converged
    @cases("spreads", [(0.3, 0.2, 0.1), (0.3, 0.2, 0.01), (0.3, 0.0, 0.01), (0.3, 0.0, 1e-3)])
    def test_equals_the_analysis_of_variance(self, spreads):
        student, control = tables(*spreads)
        found, table = mixed_model(student, control), student - control
        noise = np.var(table - table.mean(1, keepdims=True) - table.mean(0)) * 250 / (4 * 49)
        seeds, questions = table.mean(1).var(ddof=1) / 5, max(table.mean(0).var(ddof=1) / 50 - noise / 250, 0)
        half = stats.t.ppf(0.975, 4) * math.sqrt(seeds + questions)
        assert (found.value, found.unit, found.count) == (pytest.approx(table.mean()), "seeds", 5)
        assert found.high - found.low == pytest.approx(2 * half, rel=0.04)

    def test_scale_does_not_matter(self):
        student, control = tables(0.3, 0.2, 0.1)
        assert mixed_model(student * 1e-4, control * 1e-4).p == pytest.approx(mixed_model(student, control).p)

    @cases("spreads", [(0.0, 0.0, 0.0), (0.3, 0.2, 0.0)])
    def test_no_fit_says_so(self, spreads):
        found = mixed_model(*tables(*spreads))
        assert math.isnan(found.low)
        assert math.isnan(found.p)
        assert "none" in found.method


class TestRequiredSeeds:
    def test_known_and_extreme(self):
        assert required_seeds(0.5, 1.0) == 34  # G*Power's figure for d = .5, power .8
        assert required_seeds(-1.0, 2.0) == 34
        assert [required_seeds(effect, 1.0) for effect in (10.0, 1e3, 1e6)] == [
            3,
            2,
            2,
        ]  # t of 2 seeds has to pass 12.7

    @cases(("effect", "spread"), [(0.0, 1.0), (1e-6, 1.0), (0.5, 0.0), (math.nan, 1.0)])
    def test_no_answer(self, effect, spread):
        with pytest.raises(InputError, match=r"`(effect|spread)` is|needs more than"):
            required_seeds(effect, spread)

    def test_power_below_alpha(self):
        with pytest.raises(InputError, match="alpha < power"):
            required_seeds(0.5, 1.0, power=0.01)
