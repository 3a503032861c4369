"""Coverage of the intervals: 2,000 simulated experiments with a known truth for each estimator.

    python benchmarks/coverage.py               # about a minute and a half of one core; mixed models 500 times
    python benchmarks/coverage.py --full        # mixed models 2,000 times too

Coverage is the share of 95 % intervals that contain the truth, false positives the share of experiments without an
effect that show one (p below .05, or 0 outside the interval). Exits with 1, naming the cases, if coverage is not within
93 to 97 %, or there are more than 6 % false positives. Rows marked * are shown for comparison and are not judged: there
the assumptions do not hold, or the method is not used in the package.
"""

import gc
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import harness
import numpy as np
import torch
from numpy.random import Generator
from numpy.typing import NDArray
from rich.progress import track
from scipy.stats import ttest_1samp

from lightning_subliminal.analysis.question_level import hierarchical_bootstrap, mixed_model
from lightning_subliminal.analysis.resampling import MatrixStatistic, matrix_statistic
from lightning_subliminal.analysis.statistics import (
    Estimate,
    adjust,
    difference_estimate,
    mean_estimate,
    nested_estimate,
)
from lightning_subliminal.core.console import console, say
from lightning_subliminal.core.seeds import derive_seed
from lightning_subliminal.metrics.functional import clustered_interval, wilson_interval

EXPERIMENTS = 2000
COVERAGE = (0.93, 0.97)
FALSE_POSITIVES = 0.06
EFFECT = 0.5
# Standard deviations between seeds, between questions, and of a cell, in log-odds.
SEED_SPREAD, QUESTION_SPREAD, NOISE = 0.3, 0.2, 0.1

Found = tuple[Estimate, float]  # an estimate and the truth


@dataclass
class Case:
    """An estimator in a setting.

    Attributes:
        estimator: its name.
        setting: the data.
        run: simulates one experiment of a given effect, and returns its estimate with the truth.
        judged: whether coverage must hold.
        tested: whether it tests an effect of 0.
        bounded: whether coverage of more than 97 % counts as a failure.
        slow: whether fewer experiments are made by default.
    """

    estimator: str
    setting: str
    run: Callable[[Generator, float], Found]
    judged: bool = True
    tested: bool = True
    bounded: bool = True
    slow: bool = False


def rates(rng: Generator, questions: int, answers: int) -> Found:
    """Answers that are independent (no questions), or clustered by question: beta-binomial, correlated by .1."""
    if questions == 0:
        rate = rng.uniform(0.05, 0.95)
        found = wilson_interval(int(rng.binomial(answers, rate)), answers)
        return Estimate(rate, found.low, found.high, found.unit, answers), rate
    rate, strength = 0.3, 1 / 0.1 - 1
    own = rng.beta(rate * strength, (1 - rate) * strength, questions)
    matches = torch.from_numpy(rng.binomial(answers, own))
    found = clustered_interval(matches, torch.full_like(matches, answers), "questions")
    return Estimate(rate, found.low, found.high, found.unit, questions), rate


def means(rng: Generator, effect: float, seeds: int, skewed: bool = False) -> Found:
    """Seeds whose values are normal, or skewed as an exponential."""
    drawn = rng.exponential(1, seeds) - 1 if skewed else rng.normal(0, 1, seeds)
    return mean_estimate(effect + SEED_SPREAD * drawn, "seeds"), effect


def nested(rng: Generator, effect: float, targets: int, seeds: int) -> Found:
    """Targets that differ by .4, with seeds that differ by .3 in each."""
    values = effect + rng.normal(0, 0.4, (targets, 1)) + rng.normal(0, SEED_SPREAD, (targets, seeds))
    return nested_estimate({number: row.tolist() for number, row in enumerate(values)}), effect


def differences(rng: Generator, effect: float, seeds: tuple[int, int], spreads: tuple[float, float]) -> Found:
    """Two independent sets of seeds."""
    first = rng.normal(effect, spreads[0], seeds[0])
    return difference_estimate(first, rng.normal(0, spreads[1], seeds[1]), "seeds", paired=False), effect


def paired(rng: Generator, effect: float, seeds: int) -> Found:
    """Students and controls that share their seed's level."""
    control = rng.normal(0, 1, seeds)
    return difference_estimate(control + rng.normal(effect, SEED_SPREAD, seeds), control, "seeds", paired=True), effect


Arms = tuple[NDArray[np.float64], NDArray[np.float64]]


def arms(
    rng: Generator,
    effect: float,
    seeds: int,
    questions: int,
    seed_spread: float = SEED_SPREAD,
    asked: NDArray[np.float64] | None = None,
    skewed: bool = False,
) -> Arms:
    """Student and control, (seeds, questions) each: seeds and questions differ in level, and in the effect."""
    level = rng.normal(0, SEED_SPREAD, (seeds, 1)) + rng.normal(0, QUESTION_SPREAD, questions)
    by_seed = rng.exponential(1, (seeds, 1)) - 1 if skewed else rng.normal(0, 1, (seeds, 1))
    by_question = rng.normal(0, QUESTION_SPREAD, questions) if asked is None else asked
    control = level + rng.normal(0, NOISE, (seeds, questions))
    student = level + effect + seed_spread * by_seed + by_question + rng.normal(0, NOISE, (seeds, questions))
    return student, control


def grouped(rng: Generator, effect: float, groups: int, seeds: int) -> Found:
    """Targets that differ by .2, asked the same questions."""
    asked = rng.normal(0, QUESTION_SPREAD, 50)
    pairs = [arms(rng, effect + rng.normal(0, 0.2), seeds, 50, asked=asked) for _ in range(groups)]
    return hierarchical_bootstrap(pairs, seed=int(rng.integers(2**31))), effect


def bootstrapped(
    rng: Generator,
    effect: float,
    seeds: int,
    questions: int,
    seed_spread: float = SEED_SPREAD,
    skewed: bool = False,
) -> Found:
    """The bootstrap of the package, of one table."""
    student, control = arms(rng, effect, seeds, questions, seed_spread, skewed=skewed)
    return hierarchical_bootstrap([(student, control)], seed=int(rng.integers(2**31))), effect


def percentile(rng: Generator, effect: float, seeds: int, questions: int, draws: int = 1000) -> Found:
    """The plain method: seeds, then questions within each, and the percentiles."""
    student, control = arms(rng, effect, seeds, questions)
    table, drawn = student - control, rng.integers(0, seeds, (draws, seeds))
    # (draws, seeds, questions) cells
    means = table[drawn[..., None], rng.integers(0, questions, (draws, seeds, questions))].mean((1, 2))
    low, high = np.quantile(means, [0.025, 0.975])
    return Estimate(float(table.mean()), float(low), float(high), "seeds", seeds), effect


def mixed(rng: Generator, effect: float, seeds: int, questions: int) -> Found:
    """A mixed model of one table."""
    return mixed_model(*arms(rng, effect, seeds, questions)), effect


def matrices(rng: Generator, effect: float, rows: int, columns_spread: float) -> Found:
    """A matrix with an effect on its diagonal."""
    cells = effect * np.eye(rows) + rng.normal(0, 0.3, (rows, rows)) + rng.normal(0, columns_spread, rows)
    return matrix_statistic(cells), effect * (1 - 1 / rows)


def cases() -> Iterator[Case]:
    """Return all estimators in all settings."""
    yield Case("Wilson", "100 answers, rates .05 to .95", lambda r, e: rates(r, 0, 100), tested=False)
    yield Case("clustered", "50 questions x 20 answers", lambda r, e: rates(r, 50, 20), tested=False)
    yield Case("clustered", "20 questions x 50 answers", lambda r, e: rates(r, 20, 50), tested=False)
    yield Case("mean", "5 seeds", lambda r, e: means(r, e, 5))
    yield Case("mean", "10 seeds", lambda r, e: means(r, e, 10))
    yield Case("mean", "5 seeds, skewed", lambda r, e: means(r, e, 5, True), judged=False)
    yield Case("nested", "10 targets x 3 seeds", lambda r, e: nested(r, e, 10, 3))
    yield Case("nested", "5 targets x 2 seeds", lambda r, e: nested(r, e, 5, 2))
    yield Case("difference, Welch", "5 and 5 seeds", lambda r, e: differences(r, e, (5, 5), (0.3, 0.3)))
    yield Case("difference, Welch", "5 and 10, .3 and .1", lambda r, e: differences(r, e, (5, 10), (0.3, 0.1)))
    yield Case("difference, paired", "5 seeds", lambda r, e: paired(r, e, 5))
    yield Case("bootstrap", "3 seeds x 50 questions", lambda r, e: bootstrapped(r, e, 3, 50))
    yield Case("bootstrap", "5 x 50", lambda r, e: bootstrapped(r, e, 5, 50))
    yield Case("bootstrap", "10 x 50", lambda r, e: bootstrapped(r, e, 10, 50))
    yield Case("bootstrap", "5 x 50, seeds differ by .03", lambda r, e: bootstrapped(r, e, 5, 50, 0.03))
    yield Case("bootstrap", "3 groups of 5 x 50", lambda r, e: grouped(r, e, 3, 5))
    yield Case("bootstrap", "5 x 50, skewed", lambda r, e: bootstrapped(r, e, 5, 50, skewed=True), judged=False)
    yield Case("plain percentile", "5 x 50", lambda r, e: percentile(r, e, 5, 50), judged=False, slow=True)
    yield Case("mixed model", "5 x 50", lambda r, e: mixed(r, e, 5, 50), slow=True)
    yield Case("mixed model", "10 x 50", lambda r, e: mixed(r, e, 10, 50), slow=True)
    yield Case("matrix", "5 rows", lambda r, e: matrices(r, e, 5, 0.0))
    # The interval includes the columns' spread, as its docstring states: wide, never narrow.
    yield Case("matrix", "5 rows, columns differ", lambda r, e: matrices(r, e, 5, 0.3), bounded=False)


def measure(case: Case, experiments: int) -> tuple[float, float, float]:
    """Return coverage, the share of false positives (nan if nothing is tested) and the mean width."""
    rng = np.random.default_rng(derive_seed(0, "coverage", case.estimator, case.setting))
    covered, widths, false = 0, 0.0, 0
    for _ in range(experiments):
        found, truth = case.run(rng, EFFECT)
        covered += found.low <= truth <= found.high  # an interval that is nan contains nothing
        widths += found.high - found.low
        if case.tested:
            found, _ = case.run(rng, 0.0)
            # the matrix's p and interval are of two kinds: the p, by permutation, is its test
            outside = not isinstance(found, MatrixStatistic) and not found.low <= 0 <= found.high
            false += found.p < 0.05 or outside
    return covered / experiments, false / experiments if case.tested else math.nan, widths / experiments


def corrections(experiments: int) -> tuple[float, float]:
    """Return Holm's family-wise error among 16 null claims, and BH's false share where 8 of 16 claims are true."""
    rng = np.random.default_rng(derive_seed(0, "coverage", "corrections"))
    null = ttest_1samp(rng.normal(0, 1, (experiments, 16, 10)), 0, axis=-1).pvalue  # (experiments, claims)
    effects = np.repeat([0.0, 1.5], 8)[:, None]
    half = ttest_1samp(effects + rng.normal(0, 1, (experiments, 16, 10)), 0, axis=-1).pvalue
    gc.freeze()  # statsmodels collects garbage in each call of Holm, .2 s with torch loaded
    family = np.mean([(adjust(p, "holm") < 0.05).any() for p in null])
    made = np.array([adjust(p, "bh") < 0.05 for p in half])
    return float(family), float((made[:, :8].sum(1) / np.maximum(made.sum(1), 1)).mean())


def main() -> None:
    """Measure each, show the table, and judge."""
    parser = harness.parser(__doc__)
    parser.add_argument("--full", action="store_true", help="as many experiments for slow estimators as for others")
    options = parser.parse_args()
    start, outside = (time.perf_counter(), time.process_time()), []
    columns = ("estimator", "setting", "experiments", "coverage", "false positives", "mean width")
    table = harness.table(*columns, title="Intervals", left=2)
    for case in track(list(cases()), "estimators", console=console, transient=True):
        experiments = 500 if case.slow and not options.full else EXPERIMENTS
        covered, false, width = measure(case, experiments)
        name = case.estimator if case.judged else f"{case.estimator} *"
        table.add_row(name, case.setting, f"{experiments:,}", f"{covered:.1%}", percent(false), f"{width:.3f}")
        if case.judged and (covered < COVERAGE[0] or (case.bounded and covered > COVERAGE[1])):
            outside.append(f"{case.estimator}, {case.setting}: coverage {covered:.1%}")
        if case.judged and false > FALSE_POSITIVES:
            outside.append(f"{case.estimator}, {case.setting}: false positives {false:.1%}")
    for name, setting, false in zip(
        ("Holm, any false claim", "BH, false share of claims"),
        ("16 claims, none true", "16 claims, 8 true"),
        corrections(EXPERIMENTS),
        strict=True,
    ):
        table.add_row(name, setting, f"{EXPERIMENTS:,}", "-", percent(false), "-")
        if false > FALSE_POSITIVES:
            outside.append(f"{name}, {setting}: {false:.1%}")
    say(table)
    clock, core = time.perf_counter() - start[0], time.process_time() - start[1]
    say(f"{core:.0f} s of one core, {clock:.0f} s by the clock; * is not judged")
    if outside:
        raise SystemExit("outside: " + "; ".join(outside))
    say(f"all within {COVERAGE[0]:.0%} to {COVERAGE[1]:.0%}, and at most {FALSE_POSITIVES:.0%} false positives")


def percent(share: float) -> str:
    """Return a share as the table shows it."""
    return "-" if math.isnan(share) else f"{share:.1%}"


if __name__ == "__main__":
    main()
