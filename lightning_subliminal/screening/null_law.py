"""What clean rows look like to a screen whose reference is small: a shrunk covariance, and the law of its statistics.

With N clean rows in d dimensions Hotelling's T^2 has an F distribution if N is well above d and the covariance is the
sample's. One layer of SmolLM2-135M has d = 576, and its rows are dear. So a covariance of few rows is shrunk towards
its diagonal, and what clean rows then give is measured on clean rows that had no part in it.
"""

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["PLENTY", "NullLaw", "measure_null", "shrinkage_of", "shrunk"]

PLENTY = 20  # rows a dimension, from which on the sample's covariance is taken as it is
FOLDS = 5


class NullLaw(NamedTuple):
    """The law of T^2 = m' S^-1 m under clean rows, for a mean m of covariance F and an estimate S of it.

    T^2 is a sum of chi-squares of one degree of freedom, weighted by the eigenvalues of M = S^-1 F. It is taken as
    g chi^2_h with the same mean and variance: g = tr(M^2) / tr(M), h = tr(M)^2 / tr(M^2) (Box 1954, Annals of
    Mathematical Statistics 25, theorem 3.1).

    Attributes:
        trace: tr(M), the mean of T^2; the dimensions where S = F.
        square: tr(M^2), half of its variance.
        inflation: the variance of clean rows along natural gradients, over what the sample's covariance says.
    """

    trace: float
    square: float
    inflation: float

    def tail(self, statistic: float) -> float:
        """Return the chance of a T^2 at least as large under clean rows."""
        from scipy import stats

        scale, freedom = self.square / self.trace, self.trace**2 / self.square
        return float(stats.chi2.sf(statistic / scale, freedom))


def shrinkage_of(scores: Tensor) -> float:
    """Return how far the covariance of few rows is to be shrunk towards its diagonal, from 0 to 1.

    The intensity of Ledoit and Wolf (2004, Journal of Multivariate Analysis 88, section 3.2) for scores of variance 1:
    the mean squared error of their covariance R, from the spread of the rows' own outer products, over the squared
    distance of R to the identity, both in the Frobenius norm.

    Args:
        scores: (rows, d), float64; the covariance is about 0.
    """
    scaled = scores / scores.square().mean(0).clamp(min=1e-300).sqrt()
    rows, size = scaled.shape
    plain = scaled.T @ scaled / rows
    distance = (plain - torch.eye(size, dtype=plain.dtype)).square().sum()
    error = (scaled.square().sum(1).square().mean() - plain.square().sum()) / rows
    return float((error / distance).clamp(0, 1)) if distance > 0 else 1.0


def shrunk(covariance: Tensor, shrinkage: float) -> Tensor:
    """Return (1 - r) S + r diag(S)."""
    return (1 - shrinkage) * covariance + shrinkage * covariance.diagonal().diag()


def measure_null(scores: Tensor, shrinkage: float, directions: Tensor, ridge: float) -> NullLaw:
    """Measure the law on clean rows by cross-validation: each fifth with the covariance of the others.

    tr(M) is the mean of x' S^-1 x over left-out rows x, tr(M^2) the mean of (x' S^-1 y)^2 over pairs of them; both are
    unbiased for the S of four fifths of the rows, which is a little worse than that of all.

    Args:
        scores: (rows, d), float64, shortened; the covariances are about 0, and the mean of the others is taken off.
        shrinkage: of S, that of all rows.
        directions: gradients of the catalogue's log-odds, (directions, d), float64.
        ridge: of their natural gradients, see ``Reference.solve``.
    """
    traces, squares, inflations = [], [], []
    for fold in range(FOLDS):
        out = torch.arange(len(scores)) % FOLDS == fold
        rest = scores[~out]
        left = scores[out] - rest.mean(0)
        plain = rest.T @ rest / len(rest)
        metric = shrunk(plain, shrinkage)
        products = left @ torch.linalg.solve(metric, left.T)
        own, pairs = products.diagonal(), len(left) * (len(left) - 1)
        traces.append(float(own.mean()))
        squares.append(float((products.square().sum() - own.square().sum()) / pairs))
        damped = metric + ridge * metric.trace() / len(metric) * torch.eye(len(metric), dtype=metric.dtype)
        natural = torch.linalg.solve(damped, directions.T)
        expected = (natural * (plain @ natural)).sum(0)
        inflations.append(float(((left @ natural).square().mean(0) / expected).mean()))
    trace, square, inflation = (sum(each) / FOLDS for each in (traces, squares, inflations))
    return NullLaw(trace, max(square, trace**2 / scores.shape[1]), inflation)
