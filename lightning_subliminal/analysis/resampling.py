"""Permutation test of a matrix of targets, and bootstrap of a rank correlation."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lightning_subliminal.analysis.statistics import (
    Estimate,
    check_resamples,
    mean_estimate,
    no_spread,
    numbers,
    vector,
)
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.seeds import derive_seed

__all__ = ["MatrixStatistic", "beyond_other_rows", "matrix_statistic", "rank_correlation"]


@dataclass(frozen=True)
class MatrixStatistic(Estimate):
    """How much higher the diagonal of a matrix is than all its cells: ``value`` is ``diagonal`` less ``grand``.

    The interval is over rows; ``p`` is one-sided, by permutation, and never less than 1 / count!.

    Attributes:
        diagonal: the mean of the diagonal.
        grand: the mean of all cells, the diagonal included.
        contrast: the diagonal less the mean of all other cells, rain-1's lambda: ``value`` times count / (count - 1).
        contrast_low: the lower end of the 95 % interval of ``contrast``.
        contrast_high: the upper end of it.
        reading: which to read where interval and ``p`` disagree; empty where they agree, or one is missing.
    """

    diagonal: float = math.nan
    grand: float = math.nan
    contrast: float = math.nan
    contrast_low: float = math.nan
    contrast_high: float = math.nan
    reading: str = ""


def matrix_statistic(matrix: ArrayLike, resamples: int = 9999, seed: int = 0, unit: str = "targets") -> MatrixStatistic:
    """Test whether each row is highest in its own column: students of a target, asked for every target.

    The value is the mean of the diagonal less the mean of all cells, the diagonal included. The contrast is the mean of
    the diagonal less that of the other cells, K / (K - 1) times the value (lambda in rain-1's subliminal-learning
    experiments has this factor); both have one p. p is the share of all assignments of columns to rows whose diagonal
    is as high or higher (`scipy.stats.permutation_test`, pairings). It assumes nothing about the cells' distribution,
    and columns that are high for every row do not count; but it can't be less than 1 / K!: .0083 for 5 rows, .17 for 3.
    It is exact where K! is at most ``resamples`` (K up to 7 by default), otherwise of random permutations.

    The interval is Student's t over the rows' own differences, diagonal less row mean. It is too wide where columns
    differ much, as it counts their spread as the rows'. Where the two disagree, ``reading`` states which to read: p,
    for whether rows are highest in their own columns; the interval, where K! is too small for p to reach 0.05.

    Args:
        matrix: one row per kind of student, one column per candidate, its own on the diagonal; (rows, rows).
        resamples: how many permutations to use at most.
        seed: of the random permutations.
        unit: what a row stands for.

    Raises:
        InputError: if the matrix is not square, has fewer than two rows, or has a cell that is not finite.
        InputError: if ``resamples`` is less than 1.
    """
    cells = numbers(matrix, "matrix")
    check_resamples(resamples)
    if cells.ndim != 2 or cells.shape[0] != cells.shape[1] or len(cells) < 2:
        raise InputError(f"The matrix has shape {cells.shape}: expected as many columns as rows, two or more.")
    if not np.isfinite(cells).all():
        row, column = np.argwhere(~np.isfinite(cells))[0]
        raise InputError(
            f"The cell in row {row}, column {column} is not finite: run that cell, or leave row and column out."
        )
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
    own = vars(differences) | {"p": float(test.pvalue)}
    own["method"] = f"{'exact' if exact else 'random'} permutation of columns; {differences.method}"
    return MatrixStatistic(
        **own,
        diagonal=float(np.diag(cells).mean()),
        grand=float(cells.mean()),
        contrast=factor * differences.value,
        contrast_low=factor * differences.low,
        contrast_high=factor * differences.high,
        reading=_reading(differences, float(test.pvalue), len(cells)),
    )


def beyond_other_rows(matrix: ArrayLike) -> NDArray[np.float64]:
    """Return each row's own cell less the mean of the other rows in that column, (rows,).

    Where some columns rise in every row, this compares a row's own column with the same column of the other rows.

    Args:
        matrix: one row per kind of student, one column per candidate, its own on the diagonal; (rows, rows), two or
            more.
    """
    cells = np.asarray(matrix, dtype=np.float64)
    own: NDArray[np.float64] = np.diag(cells)
    return own - (cells.sum(axis=0) - own) / (len(cells) - 1)


def _reading(differences: Estimate, p: float, rows: int) -> str:
    """Return which to read of an interval over rows and a one-sided p of permutations, where they disagree."""
    if math.isnan(differences.low) or (differences.low > 0) == (p < 0.025):
        return ""
    if math.factorial(rows) < 40:  # 1 / rows! is above 0.025
        least = 1 / math.factorial(rows)
        return f"interval and p disagree: read the interval, {rows} rows can't give a p below {least:.2g}"
    return "interval and p disagree: read p, the interval counts differences between columns as spread of rows"


def rank_correlation(
    first: ArrayLike, second: ArrayLike, levels: Mapping[str, Sequence[Any]], resamples: int = 2000, seed: int = 0
) -> Estimate:
    """Return Spearman's rank correlation of pairs that share targets and conditions, with an interval for that.

    The labels of each level are resampled as wholes, separately from the other levels, and a pair counts as often as
    all of its labels were drawn (Owen 2007, the pigeonhole bootstrap); the interval is the draws' percentiles. There is
    no p: scipy's assumes that pairs are independent.

    Args:
        first: (pairs,).
        second: (pairs,).
        levels: by the name of a level, such as targets, the label of each pair there.
        resamples: how often to draw.
        seed: of the draws.

    Raises:
        InputError: if lists differ in length, or a value is not finite.
    """
    names = " x ".join(levels)
    check_resamples(resamples)
    one, other = vector(first, names), vector(second, names)
    if len({len(one), len(other), *map(len, levels.values())}) > 1:
        raise InputError(f"A rank correlation is of pairs, each with its {names}: expected lists of one length.")
    codes = [np.unique([repr(each) for each in labels], return_inverse=True)[1] for labels in levels.values()]
    counts = [int(each.max()) + 1 if len(each) else 0 for each in codes]
    unit = f"cells ({' x '.join(f'{count} {name}' for name, count in zip(levels, counts, strict=True))})"
    drawn = [(code, count) for code, count in zip(codes, counts, strict=True) if count > 1]
    method = f"Spearman over {len(one)} cells, bootstrap of {names} (percentiles)"
    if len(one) < 4 or no_spread(one) or no_spread(other) or not drawn:
        return Estimate(math.nan, math.nan, math.nan, unit, len(one), method=f"{method}: none, too little data")
    rng = np.random.default_rng(derive_seed(seed, "rank correlation"))
    draws = []
    for _ in range(resamples):
        often = np.ones(len(one), dtype=np.int64)
        for code, count in drawn:
            often *= rng.multinomial(count, np.full(count, 1 / count))[code]
        pairs = np.repeat(np.arange(len(one)), often)
        if len(pairs) > 2 and np.ptp(one[pairs]) > 0 and np.ptp(other[pairs]) > 0:
            draws.append(_spearman(one[pairs], other[pairs]))
    # equal draws, as of two lists in one order, are not evidence
    spread = len(draws) > 1 and not no_spread(np.asarray(draws))
    low, high = np.percentile(draws, [2.5, 97.5]) if spread else (math.nan, math.nan)
    return Estimate(_spearman(one, other), float(low), float(high), unit, len(one), method=method)


def _spearman(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return the correlation of ranks."""
    from scipy.stats import rankdata

    one, other = (rankdata(each) - (len(each) + 1) / 2 for each in (first, second))
    return float((one * other).sum() / np.sqrt((one**2).sum() * (other**2).sum()))
