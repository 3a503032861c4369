"""Mean and covariance of clean rows' scores, of which long ones are shortened.

A few clean rows have very long scores, above all where the base is sure of nearly every token, as in sums. They would
decide T^2 by themselves, so each score is shortened to the length that 99 % of the rows do not exceed. A teacher's rows
are long as well, though, and lose by it. The z of a single direction bears longer scores: it is taken of those
shortened to the length that 99.9 % do not exceed.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from lightning_subliminal.screening.null_law import shrinkage_of, shrunk

__all__ = ["LOOSE_QUANTILE", "QUANTILE", "Moments", "lower_triangle", "shortened", "shortened_moments", "symmetric"]

QUANTILE = 0.99  # of the whitened lengths of clean rows: longer scores are shortened to it
LOOSE_QUANTILE = 0.999  # the same for single directions; both were fixed on the paper's ten targets


class Moments(NamedTuple):
    """What clean rows' scores look like when long ones are shortened.

    Attributes:
        mean: of the scores, (size,), float64.
        fisher: their covariance about 0, (size, size), float64.
        longest: whitened length to which longer scores are shortened.
    """

    mean: Tensor
    fisher: Tensor
    longest: float


def shortened_moments(scores: Tensor, quantile: float, few: bool) -> tuple[Moments, Tensor, float]:
    """Return the moments of scores shortened to a quantile of their lengths, those scores, and the shrinkage."""
    kept, longest = scores, float("inf")
    for _ in range(2):  # lengths are measured in the covariance that is kept, so the limit is expressed in it
        fisher, shrinkage = kept.T @ kept / len(kept), shrinkage_of(kept) if few else 0.0
        longest = float(_lengths(kept, shrunk(fisher, shrinkage)).quantile(quantile))
        kept = shortened(scores, shrunk(fisher, shrinkage), longest)
    fisher, shrinkage = kept.T @ kept / len(kept), shrinkage_of(kept) if few else 0.0
    return Moments(kept.mean(0), fisher, longest), kept, shrinkage


def _lengths(scores: Tensor, fisher: Tensor) -> Tensor:
    return (scores * torch.linalg.solve(fisher, scores.T).T).sum(1).clamp(min=0).sqrt()


def shortened(scores: Tensor, fisher: Tensor, longest: float) -> Tensor:
    """Return scores, (rows, size), of which those longer than ``longest`` in the Fisher metric are cut to it."""
    return scores * (longest / _lengths(scores, fisher).clamp(min=1e-12)).clamp(max=1.0)[:, None]


def lower_triangle(matrix: Tensor) -> Tensor:
    """Return the lower triangle of a square matrix as one row of numbers."""
    lower = torch.tril_indices(*matrix.shape)
    return matrix[lower[0], lower[1]]


def symmetric(triangle: Tensor, size: int) -> Tensor:
    """Return the symmetric matrix, (size, size), of a lower triangle."""
    made = torch.zeros(size, size, dtype=triangle.dtype)
    lower = torch.tril_indices(size, size)
    made[lower[0], lower[1]] = triangle
    return made + made.tril(-1).T
