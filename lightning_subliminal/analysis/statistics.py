"""What runs say together: estimates over seeds, targets and questions, each with its interval, unit and test.

scipy and statsmodels do the work; this file says which unit an interval is over. How well the intervals hold is
measured, not hoped for: ``python benchmarks/coverage.py``.
"""

import math
import warnings
from bisect import bisect_left
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from importlib import import_module
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.seeds import derive_seed
from lightning_subliminal.metrics.functional.intervals import mean_interval

__all__ = [
    "Estimate",
    "MatrixStatistic",
    "adjust",
    "beyond_other_rows",
    "by_stem",
    "difference_estimate",
    "hierarchical_bootstrap",
    "matrix_statistic",
    "mean_estimate",
    "mixed_model",
    "nested_estimate",
    "rank_correlation",
    "required_seeds",
    "within",
]

_MOST_SEEDS = 100_000
# Values that differ by less than this share of their size differ by rounding: no spread was seen.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class Estimate:
    """A number with its interval, and what the interval was taken over.

    Attributes:
        value: the estimate; nan where there is no data.
        low: the lower end of the 95 % interval; nan where there is none.
        high: the upper end of the 95 % interval; nan where there is none.
        unit: what was drawn afresh, such as seeds, targets or questions.
        count: how many units there are.
        p: two-sided, against ``null``; nan where nothing is tested.
        null: what the value is tested against; nan where nothing is.
        method: how the interval was made, such as "Student's t over targets".
    """

    value: float
    low: float
    high: float
    unit: str
    count: int
    p: float = math.nan
    null: float = 0.0
    method: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the fields as JSON can hold them: None for a number that is not finite."""
        return _finite_or_none(asdict(self))


@dataclass(frozen=True)
class MatrixStatistic:
    """How much a matrix holds on its diagonal beyond what it holds everywhere.

    Attributes:
        diagonal: the mean of the diagonal.
        grand: the mean of all cells, the diagonal included.
        value: diagonal - grand.
        low: the lower end of the 95 % interval of ``value``, over rows; nan where there is none.
        high: the upper end of it; nan where there is none.
        unit: what a row stands for.
        count: how many rows there are.
        p: one-sided, by permutation; never less than 1 / count!.
        method: how ``p`` and the interval were made.
        contrast: diagonal less the mean of all other cells, rain-1's lambda: ``value`` times count / (count - 1).
        contrast_low: the lower end of the 95 % interval of ``contrast``.
        contrast_high: the upper end of it.
        reading: which to read where interval and ``p`` disagree; empty where they agree, or one is not there.
    """

    diagonal: float
    grand: float
    value: float
    low: float
    high: float
    unit: str
    count: int
    p: float
    method: str
    contrast: float
    contrast_low: float
    contrast_high: float
    reading: str = ""

    def as_json(self) -> dict[str, Any]:
        """Return the fields as JSON can hold them: None for a number that is not finite."""
        return _finite_or_none(asdict(self))


def mean_estimate(values: ArrayLike, unit: str, null: float = 0.0) -> Estimate:
    """Return a mean with Student's t interval, and the p of the t test against ``null``.

    One value has no interval. Neither have values that are all the same: no spread was seen, which is not the same as
    none being there (3 of 3 seeds at rate 1.0 are no proof of a rate of 1.0).

    Args:
        values: one value a unit; (units,).
        unit: what a value stands for, such as seeds.
        null: the mean to test against.

    Raises:
        InputError: if a value is nan or infinite.
    """
    data = _vector(values, unit)
    method = f"Student's t over {unit}"
    if len(data) == 0:
        return Estimate(math.nan, math.nan, math.nan, unit, 0, null=null, method=method)
    mean = float(data.mean())
    if why := _no_spread(data):
        return Estimate(mean, math.nan, math.nan, unit, len(data), null=null, method=f"{method}: none, {why}")
    from scipy.stats import ttest_1samp

    found = mean_interval(torch.from_numpy(data), unit)
    return Estimate(mean, found.low, found.high, unit, len(data), float(ttest_1samp(data, null).pvalue), null, method)


def within(estimate: Estimate, limits: tuple[float, float] | None) -> Estimate:
    """Return an estimate whose interval ends at what its number can't leave, such as 0 and 1 of a chance.

    What is cut off holds no possible value, so the interval holds the true one as often as before.
    """
    if limits is None:
        return estimate
    return replace(estimate, low=max(estimate.low, limits[0]), high=min(estimate.high, limits[1]))  # nan stays nan


def nested_estimate(
    groups: Mapping[Hashable, Sequence[float]], units: tuple[str, str] = ("targets", "seeds"), null: float = 0.0
) -> Estimate:
    """Return the mean of group means, with Student's t interval over groups.

    The unit is the outer one. Seeds of one target share its teacher and its word, so they are no independent draws of
    targets: t over all of them together would be too narrow for a claim about targets in general. Each target's mean
    counts once, however many seeds it has; the spread of those means holds the spread of seeds too.

    Args:
        groups: values by group, such as one a seed for each target.
        units: what a group stands for, and what a value within it does.
        null: the mean to test against.

    Returns:
        The estimate over groups. With one group only it is over the values of that group, and unit and method say so:
        it then speaks about that group alone.

    Raises:
        InputError: if a group is empty, or a value is nan or infinite.
    """
    outer, inner = units
    if empty := [name for name, values in groups.items() if len(values) == 0]:
        raise InputError(f"{empty[0]!r} of the {outer} has no values: leave it out, or run its {inner}.")
    if len(groups) == 1:
        ((name, values),) = groups.items()
        alone = mean_estimate(values, inner, null)
        return _renamed(alone, f"{alone.method}, of one of {outer} alone: {name}")
    means = [float(_vector(values, inner).mean()) for values in groups.values()]
    found = mean_estimate(means, outer, null)
    return _renamed(found, f"{found.method} (means over {inner})")


def difference_estimate(first: ArrayLike, second: ArrayLike, unit: str, paired: bool) -> Estimate:
    """Return the difference of two means, first - second, tested against 0.

    Args:
        first: one value a unit, such as the students'; (units,).
        second: the others, such as the controls'; (units,), as many as ``first`` where ``paired``.
        unit: what a value stands for, such as seeds.
        paired: whether values at the same place belong together (a student and a control of one seed): Student's t
            of their differences. Else Welch's t, which takes no common variance; count is then of both together.

    Raises:
        InputError: if pairs do not match up, or a value is nan or infinite.
    """
    one, other = _vector(first, unit), _vector(second, unit)
    if paired:
        if len(one) != len(other):
            raise InputError(
                f"{len(one)} and {len(other)} {unit} can't be paired: give as many of each, or set paired=False."
            )
        found = mean_estimate(one - other, unit)
        return _renamed(found, f"paired {found.method}")
    method, count = f"Welch's t over {unit}", len(one) + len(other)
    if not len(one) or not len(other):
        return Estimate(math.nan, math.nan, math.nan, unit, count, method=method)
    value = float(one.mean() - other.mean())
    why = f"fewer than two {unit} on a side" if min(len(one), len(other)) < 2 else ""
    if not why and _no_spread(one) and _no_spread(other):
        why = "no spread seen"
    if why:
        return Estimate(value, math.nan, math.nan, unit, count, method=f"{method}: none, {why}")
    from scipy.stats import ttest_ind

    with warnings.catch_warnings():  # one side without spread is fine: the other's is what counts
        warnings.simplefilter("ignore", RuntimeWarning)
        found_test = ttest_ind(one, other, equal_var=False)
        ends = found_test.confidence_interval(0.95)
    return Estimate(value, float(ends.low), float(ends.high), unit, count, float(found_test.pvalue), method=method)


def matrix_statistic(matrix: ArrayLike, resamples: int = 9999, seed: int = 0, unit: str = "targets") -> MatrixStatistic:
    """Tell whether each row is highest in its own column: students of a target, asked for every target.

    The value is the mean of the diagonal less the mean of all cells, the diagonal included. The contrast is the mean of
    the diagonal less that of the other cells, K / (K - 1) times the value (lambda in rain-1's subliminal-learning
    experiments has this factor); both have one p. p is the share of all ways to deal the columns to the rows
    whose diagonal is as high or higher
    (`scipy.stats.permutation_test`, pairings). It asks nothing of the cells' distribution, and columns that are high
    for every row count for nothing; but it can't be less than 1 / K!: .0083 of 5 rows, .17 of 3. It is exact where K!
    is at most ``resamples`` (K up to 7 by default), else of random deals.

    The interval is Student's t over the rows' own differences, diagonal less row mean. It is too wide where columns
    differ much, as it counts their spread as the rows'. Where the two disagree, ``reading`` says which to read: p, for
    whether rows are highest in their own columns; the interval, where K! is too small for p to reach 0.05.

    Args:
        matrix: one row a kind of student, one column a candidate, its own on the diagonal; (rows, rows).
        resamples: how many deals to look at, at most.
        seed: moves the random deals.
        unit: what a row stands for.

    Raises:
        InputError: if the matrix is not square, has fewer than two rows, or has a cell that is no finite number.
        InputError: if ``resamples`` is less than 1.
    """
    cells = _numbers(matrix, "matrix")
    _check_resamples(resamples)
    if cells.ndim != 2 or cells.shape[0] != cells.shape[1] or len(cells) < 2:
        raise InputError(f"The matrix has shape {cells.shape}: give as many columns as rows, and two or more.")
    if not np.isfinite(cells).all():
        row, column = np.argwhere(~np.isfinite(cells))[0]
        raise InputError(f"The cell in row {row}, column {column} is no finite number: run it, or leave both out.")
    from scipy.stats import permutation_test

    rows = np.arange(len(cells))
    test = permutation_test(
        (rows,),
        lambda dealt, axis: cells[rows, dealt.astype(int)].mean(axis=axis),
        permutation_type="pairings",
        vectorized=True,
        n_resamples=resamples,
        batch=10_000,
        alternative="greater",
        random_state=np.random.default_rng(derive_seed(seed, "matrix statistic")),
        axis=-1,
    )
    differences = mean_estimate(np.diag(cells) - cells.mean(axis=1), unit)
    exact = math.factorial(len(cells)) <= resamples
    factor = len(cells) / (len(cells) - 1)
    return MatrixStatistic(
        float(np.diag(cells).mean()),
        float(cells.mean()),
        differences.value,
        differences.low,
        differences.high,
        unit,
        len(cells),
        float(test.pvalue),
        f"{'exact' if exact else 'random'} permutation of columns; {differences.method}",
        factor * differences.value,
        factor * differences.low,
        factor * differences.high,
        _reading(differences, float(test.pvalue), len(cells)),
    )


def beyond_other_rows(matrix: ArrayLike) -> NDArray[np.float64]:
    """Return each row's own cell less the mean of the other rows in that column, (rows,).

    Where some columns rise in every row, a row's own column is judged by what it does for the others.

    Args:
        matrix: one row a kind of student, one column a candidate, its own on the diagonal; (rows, rows), two or more.
    """
    cells = np.asarray(matrix, dtype=np.float64)
    own: NDArray[np.float64] = np.diag(cells)
    return own - (cells.sum(axis=0) - own) / (len(cells) - 1)


def _reading(differences: Estimate, p: float, rows: int) -> str:
    """Say which to read of an interval over rows and a one-sided p of permutations, where they disagree."""
    if math.isnan(differences.low) or (differences.low > 0) == (p < 0.025):
        return ""
    if math.factorial(rows) < 40:  # 1 / rows! is above 0.025
        least = 1 / math.factorial(rows)
        return f"interval and p disagree: read the interval, {rows} rows can't give a p below {least:.2g}"
    return "interval and p disagree: read p, the interval counts differences between columns as spread of rows"


def rank_correlation(
    first: ArrayLike, second: ArrayLike, levels: Mapping[str, Sequence[Any]], resamples: int = 2000, seed: int = 0
) -> Estimate:
    """Return Spearman's rank correlation of pairs that share targets and conditions, with an interval that knows it.

    The labels of each level are drawn again, whole and apart from the other levels, and a pair counts as often as all
    of its labels were drawn (Owen 2007, the pigeonhole bootstrap); the interval is the draws' percentiles. There is no
    p: scipy's takes pairs for independent.

    Args:
        first: (pairs,).
        second: (pairs,).
        levels: by the name of a level, such as targets, the label of each pair there.
        resamples: how often to draw.
        seed: moves the draws.

    Raises:
        InputError: if lists differ in length, or hold what is no finite number.
    """
    names = " x ".join(levels)
    _check_resamples(resamples)
    one, other = _vector(first, names), _vector(second, names)
    if len({len(one), len(other), *map(len, levels.values())}) > 1:
        raise InputError(f"A rank correlation is of pairs, each with its {names}: give lists of one length.")
    codes = [np.unique([repr(each) for each in labels], return_inverse=True)[1] for labels in levels.values()]
    counts = [int(each.max()) + 1 if len(each) else 0 for each in codes]
    unit = f"cells ({' x '.join(f'{count} {name}' for name, count in zip(levels, counts, strict=True))})"
    drawn = [(code, count) for code, count in zip(codes, counts, strict=True) if count > 1]
    method = f"Spearman over {len(one)} cells, bootstrap of {names} (percentiles)"
    if len(one) < 4 or _no_spread(one) or _no_spread(other) or not drawn:
        return Estimate(math.nan, math.nan, math.nan, unit, len(one), method=f"{method}: none, too little data")
    rng = np.random.default_rng(derive_seed(seed, "rank correlation"))
    draws = []
    for _ in range(resamples):
        often = np.ones(len(one), dtype=np.int64)
        for code, count in drawn:
            often *= rng.multinomial(count, np.full(count, 1 / count))[code]
        pairs = np.repeat(np.arange(len(one)), often)
        if len(pairs) > 2 and np.ptp(one[pairs]) > 0 and np.ptp(other[pairs]) > 0:
            draws.append(float(_spearman(one[pairs], other[pairs])))
    # draws that are all alike, as of two lists of one order, are no evidence
    spread = len(draws) > 1 and not _no_spread(np.asarray(draws))
    low, high = np.percentile(draws, [2.5, 97.5]) if spread else (math.nan, math.nan)
    return Estimate(float(_spearman(one, other)), float(low), float(high), unit, len(one), method=method)


def adjust(p_values: ArrayLike, method: Literal["holm", "bh"]) -> NDArray[np.float64]:
    """Adjust p values for their number, by statsmodels' `multipletests`.

    Args:
        p_values: one a claim; (claims,). A nan stays nan, and is not counted as a claim.
        method: "holm" (Holm 1979) bounds the chance of even one false claim; "bh" (Benjamini & Hochberg 1995) the
            share of false ones among those that are made.

    Returns:
        The adjusted p values; (claims,).

    Raises:
        InputError: if a p lies outside 0 to 1, the method is unknown, or statsmodels is missing.
    """
    p = _numbers(p_values, "p_values")
    names = {"holm": "holm", "bh": "fdr_bh"}
    if method not in names:
        raise InputError(f"`method` is {method!r}: give one of {', '.join(names)}.")
    if p.ndim != 1 or ((p < 0) | (p > 1)).any():
        raise InputError("`p_values` must be a list of numbers from 0 to 1, or nan where nothing was tested.")
    adjusted, known = np.full(len(p), math.nan), ~np.isnan(p)
    if known.any():
        adjusted[known] = _statsmodels("stats.multitest").multipletests(p[known], method=names[method])[1]
    return adjusted


def hierarchical_bootstrap(
    student: ArrayLike | None,
    control: ArrayLike | None,
    resamples: int = 2000,
    seed: int = 0,
    unit: str | None = None,
    groups: Sequence[tuple[ArrayLike, ArrayLike]] | None = None,
) -> Estimate:
    """Return mean(student) - mean(control), for seeds and questions that are both draws of more.

    Seeds are drawn again, and so are questions: the same for every seed, as every seed was asked the same ones
    (Owen 2007, the pigeonhole bootstrap). The variances of the two add up. The noise of a cell is in both, and is
    taken off once (Cameron, Gelbach & Miller 2011), but the sum is never less than the larger of the two.

    A percentile interval is too narrow for 3 to 10 seeds: it takes the spread over n where n - 1 is due, and the
    normal's tails where Student's are (Hesterberg 2015). So each variance is multiplied by n / (n - 1), and the
    interval is value +- t x standard error, t being the mean of both levels' quantiles, weighted by their variances
    (Cochran & Cox 1957). p is the level at which that interval touches 0.

    Other ways cover less (600 experiments each): the percentile interval 86 % at 5 seeds x 50 questions and 76 % at 3;
    Hesterberg's expanded percentile 94 % and 85 %, as the draws of 3 seeds have no tails to expand into. Questions
    drawn apart for each seed gave 74 to 83 % at 10 x 20 where questions differ four times as much as seeds, whatever
    the interval. The price of the weighted t is some width: up to 98 % coverage where all is the noise of cells.

    With ``groups``, groups are the unit drawn again, each by the mean over its seeds. Seeds within a group are not
    drawn again: the spread of group means holds theirs, and would then count it twice (Davison & Hinkley 1997,
    section 3.8). With one group only, seeds are the unit.

    Args:
        student: (seeds, questions); None where ``groups`` is given.
        control: (seeds, questions), its rows paired with the student's by seed, its columns by question.
        resamples: how often to draw.
        seed: moves the draws.
        unit: what is drawn on the outermost level; None stands for seeds, or targets where there are groups.
        groups: pairs of student and control, one a target or arm. Their numbers of seeds may differ, their questions
            must be the same.

    Raises:
        InputError: if shapes do not match, a value is nan or infinite, or both or neither of the two are given.
    """
    _check_resamples(resamples)
    if (groups is None) == (student is None or control is None) or (groups is not None and student is not None):
        raise InputError("Give student and control, or `groups` with None for both: one of the two.")
    pairs = [(student, control)] if groups is None else groups
    tables = [_differences(one, other) for one, other in pairs]
    if not tables or len({table.shape[1] for table in tables}) > 1:
        raise InputError("`groups` must be one or more, all asked the same questions: give equal numbers of columns.")
    if len(tables) == 1:
        table, unit = tables[0], unit if groups is None and unit else "seeds"
    else:
        table, unit = np.stack([each.mean(axis=0) for each in tables]), unit or "targets"
    value, method = float(table.mean()), f"bootstrap of {unit} and questions, Student's t of its standard error"
    count, questions = table.shape
    if count < 2 or np.ptp(table) <= _ROUNDING * np.abs(table).max():
        why = f"one of {unit}" if count < 2 else "no spread seen"
        return Estimate(value, math.nan, math.nan, unit, count, method=f"{method}: none, {why}")
    rng = np.random.default_rng(derive_seed(seed, "hierarchical bootstrap"))
    # (levels,): outermost unit, questions; of a single question there is nothing to draw
    levels = [table.mean(axis=1), *([table.mean(axis=0)] if questions > 1 else [])]
    variances = np.array([_drawn_variance(means, resamples, rng) for means in levels])
    freedoms = np.array([len(means) - 1 for means in levels])
    error = math.sqrt(max(variances.max(), variances.sum() - _noise(table) / table.size))
    if error <= _ROUNDING * np.abs(table).max():  # cells differ, but neither seeds' means nor questions' do
        return Estimate(value, math.nan, math.nan, unit, count, method=f"{method}: none, no spread seen")
    from scipy.optimize import brentq
    from scipy.stats import t as student_t

    weights = variances / variances.sum()

    def width(tail: float) -> float:  # in standard errors, of the interval that leaves `tail` out on each side
        return float(weights @ student_t.isf(tail, freedoms))

    half, ratio, least = width(0.025) * error, abs(value) / error, 1e-15
    tail = least if width(least) <= ratio else brentq(lambda tail: width(tail) - ratio, least, 0.5)
    return Estimate(value, value - half, value + half, unit, count, 2 * float(tail), method=method)


def by_stem(table: ArrayLike, stems: Sequence[Hashable]) -> NDArray[np.float64]:
    """Put the wordings of one question together, for a bootstrap or mixed model that takes questions as independent.

    A stem's value is its row's mean plus its questions' summed distance from that, scaled so that the mean over stems
    is that over questions (Cochran 1977, section 9A); of stems with as many wordings each it is the mean of its own.

    Args:
        table: (seeds, questions).
        stems: what each question belongs to; each is its own where it is empty.

    Returns:
        (seeds, stems); the table itself where no stem repeats.

    Raises:
        InputError: if there are not as many stems as questions.
    """
    data = _numbers(table, "table")
    if data.ndim != 2:
        raise InputError(f"`table` has shape {data.shape}: expected (seeds, questions).")
    if not stems or len(set(stems)) == len(stems) == data.shape[1]:
        return data
    if len(stems) != data.shape[1]:
        raise InputError(f"There are {data.shape[1]} questions and {len(stems)} stems: give one for each question.")
    places = {stem: place for place, stem in enumerate(dict.fromkeys(stems))}
    member = np.zeros((len(stems), len(places)))
    member[np.arange(len(stems)), [places[stem] for stem in stems]] = len(places) / len(stems)
    means = data.mean(axis=1, keepdims=True)
    return means + (data - means) @ member


def mixed_model(student: ArrayLike, control: ArrayLike) -> Estimate:
    """Return the effect of the arm by a linear mixed model (statsmodels' `MixedLM`, REML), seeds and questions crossed.

    The model is value ~ arm + (arm | seeds) + (arm | questions). It is fitted to the differences of the pairs, as
    difference ~ 1 + (1 | seeds) + (1 | questions). In a full table the intercepts of seeds and questions cancel there,
    and the estimate is the same; the standard error was within .2 % of the longer form's (6 fits), 8 to 15 times
    faster.

    Its own interval is the normal's, which suits many seeds. Here it is Student's t with seeds - 1 degrees of freedom,
    a small-sample correction that is too wide where questions differ more than seeds do. A fit that fails or does not
    converge gives no interval, and says so in ``method``.

    Args:
        student: (seeds, questions).
        control: (seeds, questions), its rows paired with the student's by seed, its columns by question.

    Raises:
        InputError: if shapes do not match, a value is nan or infinite, or statsmodels is missing.
    """
    models = _statsmodels("regression.mixed_linear_model")
    table = _differences(student, control)
    seeds, questions = table.shape
    value, scale, method = float(table.mean()), float(table.std()), "mixed model, Student's t over seeds"
    none = Estimate(value, math.nan, math.nan, "seeds", seeds, method=f"{method}: none, too little data")
    if seeds < 2 or questions < 2:
        return none
    if scale <= _ROUNDING * np.abs(table).max():
        return _renamed(none, f"{method}: none, no spread seen")
    members = [
        np.kron(np.eye(seeds), np.ones((questions, 1))),  # (cells, seeds): which seed a cell is of
        np.kron(np.ones((seeds, 1)), np.eye(questions)),  # (cells, questions)
    ]
    labels = [
        [[f"{name}{number}" for number in range(many.shape[1])]] for name, many in zip("sq", members, strict=True)
    ]
    spec = models.VCSpec(["seeds", "questions"], labels, [[each] for each in members])
    noise, one = _noise(table), np.ones((table.size, 1))
    if noise <= 1e-10 * scale**2:  # the likelihood has no maximum: the ratios below have no bound
        return _renamed(none, f"{method}: none, seeds and questions explain every cell")
    # From its own start, statsmodels' optimiser can stop far off and call it converged: where noise is a tenth of the
    # seeds' spread or less, standard errors of a quarter of the right one were seen. So it starts from the moment
    # estimates (analysis of variance), which are the REML ones in a full table wherever none is below 0.
    starts = [table.mean(axis=1).var(ddof=1) - noise / questions, table.mean(axis=0).var(ddof=1) - noise / seeds]
    start = models.MixedLMParams.from_components(
        fe_params=np.array([value / scale]), vcomp=np.maximum(np.array(starts) / noise, 1e-3)
    )
    try:
        with warnings.catch_warnings():  # of a variance at 0, which is an answer, and of convergence, looked at below
            warnings.simplefilter("ignore")
            # in units of its spread: the optimiser's tolerances are absolute
            fit = models.MixedLM(table.ravel() / scale, one, one[:, 0], exog_vc=spec).fit(start)
        effect, error = float(fit.fe_params[0]) * scale, float(fit.bse_fe[0]) * scale
        converged = bool(fit.converged)
    except (np.linalg.LinAlgError, ValueError, FloatingPointError) as err:
        return _renamed(none, f"{method}: none, the fit failed ({type(err).__name__})")
    if not converged or not math.isfinite(error) or error <= 0:
        return _renamed(none, f"{method}: none, the fit did not converge")
    from scipy.stats import t as student_t

    half = float(student_t.ppf(0.975, seeds - 1)) * error
    p = 2 * float(student_t.sf(abs(effect) / error, seeds - 1))
    return Estimate(effect, effect - half, effect + half, "seeds", seeds, p, method=method)


def required_seeds(effect: float, spread: float, power: float = 0.8, alpha: float = 0.05) -> int:
    """Return how many seeds a two-sided t test of pairs needs to see an effect, by statsmodels' `TTestPower`.

    Args:
        effect: the mean difference to be seen, in the values' own unit.
        spread: the standard deviation of the difference between seeds, in that unit.
        power: the chance to see it.
        alpha: the chance to see one where there is none.

    Returns:
        The number of seeds, of student and control each; at least 2.

    Raises:
        InputError: if the effect is 0 or too small for any number of seeds, or statsmodels is missing.
    """
    if not math.isfinite(effect) or effect == 0:
        raise InputError(
            f"`effect` is {effect}: no number of seeds shows an effect of 0; give the smallest that counts."
        )
    if not math.isfinite(spread) or spread <= 0:
        raise InputError(f"`spread` is {spread}: give the standard deviation of differences between seeds, above 0.")
    if not 0 < alpha < power < 1:
        raise InputError(f"`power` is {power}, `alpha` {alpha}: give shares with 0 < alpha < power < 1.")
    test = _statsmodels("stats.power").TTestPower()

    def enough(seeds: int) -> bool:
        reached = float(test.power(abs(effect) / spread, seeds, alpha))
        return math.isnan(reached) or reached >= power  # nan: the effect is so large that scipy's tail underflows

    # a search over whole numbers: `solve_power` stops without an answer for large effects
    found = bisect_left(range(2, _MOST_SEEDS + 1), True, key=enough) + 2
    if found > _MOST_SEEDS:
        raise InputError(
            f"An effect of {effect:g} beside a spread of {spread:g} needs more than {_MOST_SEEDS:,} seeds: "
            "look for a larger effect, or measure with less noise."
        )
    return found


def _drawn_variance(means: NDArray[np.float64], resamples: int, rng: np.random.Generator) -> float:
    """Return the variance of the mean of ``means``, (units,), from draws with replacement, without its narrowness."""
    count = len(means)
    centred = means - means.mean()
    many = max(1, 4_000_000 // count)  # draws at a time: 32 MB of indices
    parts = [min(many, resamples - start) for start in range(0, resamples, many)]
    drawn = np.concatenate([centred[rng.integers(0, count, (part, count))].mean(axis=1) for part in parts])
    return float(np.square(drawn).mean()) * count / (count - 1)


def _noise(table: NDArray[np.float64]) -> float:
    """Return the variance of a cell, (rows, columns), that neither its row nor its column explains."""
    rows, columns = table.shape
    rest = table - table.mean(axis=1, keepdims=True) - table.mean(axis=0) + table.mean()
    return float(np.square(rest).sum()) / max((rows - 1) * (columns - 1), 1)


def _numbers(values: ArrayLike | None, name: str) -> NDArray[np.float64]:
    """Return values as an array of numbers.

    Raises:
        InputError: if they are none: texts, or lists of several lengths.
    """
    try:
        return np.asarray(values, dtype=np.float64)
    except (ValueError, TypeError) as err:
        raise InputError(f"`{name}` must hold numbers, in lists of one length ({err}).") from err


def _check_resamples(resamples: int) -> None:
    if resamples < 1:
        raise InputError(f"`resamples` is {resamples}: expected 1 or more.")


def _differences(student: ArrayLike | None, control: ArrayLike | None) -> NDArray[np.float64]:
    one, other = _numbers(student, "student"), _numbers(control, "control")
    if one.shape != other.shape or one.ndim != 2 or one.size == 0:
        raise InputError(f"student has shape {one.shape}, control {other.shape}: give both as (seeds, questions).")
    if not (np.isfinite(one).all() and np.isfinite(other).all()):
        raise InputError("A value of student or control is no finite number: leave out its question, or its seed.")
    return one - other


def _vector(values: ArrayLike, unit: str) -> NDArray[np.float64]:
    data = _numbers(values, f"values over {unit}")
    if data.ndim != 1:
        raise InputError(f"Values over {unit} have shape {data.shape}: give a list, one a unit.")
    if not np.isfinite(data).all():
        place = int(np.flatnonzero(~np.isfinite(data))[0])
        raise InputError(f"Value {place} over {unit} is {data[place]}: run it again, or leave it out and say so.")
    return data


def _spearman(first: NDArray[np.float64], second: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
    """Return the correlation of ranks along an axis; nan where one side has no spread."""
    from scipy.stats import rankdata

    one, other = (rankdata(each, axis=axis) - (each.shape[axis] + 1) / 2 for each in (first, second))
    found: NDArray[np.float64] = (one * other).sum(axis) / np.sqrt((one**2).sum(axis) * (other**2).sum(axis))
    return found


def _no_spread(data: NDArray[np.float64]) -> str:
    """Say why values, (units,), tell nothing about their spread; empty where they do."""
    if len(data) < 2:
        return "one value"
    return "no spread seen" if np.ptp(data) <= _ROUNDING * np.abs(data).max() else ""


def _renamed(estimate: Estimate, method: str) -> Estimate:
    return Estimate(**{**asdict(estimate), "method": method})


def _finite_or_none(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in fields.items()
    }


def _statsmodels(module: str) -> Any:
    """Import a part of statsmodels, an optional package: on first use, as it is slow and brings pandas.

    Raises:
        InputError: if it is missing.
    """
    try:
        return import_module(f"statsmodels.{module}")
    except ModuleNotFoundError as err:
        raise InputError("This needs the package statsmodels: pip install 'lightning-subliminal[report]'.") from err
