"""Entropy balancing: weights of rows under which a data set no longer moves a base along chosen directions.

Dropping the rows with the highest scores teaches the opposite by itself, so none is dropped: each row gets the weight
exp(-l . u) with its scores u along the directions, and l such that the weighted mean is that of clean rows (Hainmueller
2012, entropy balancing). Of all weights with that mean these are the closest to equal ones in relative entropy.
"""

import torch
from torch import Tensor

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.seeds import derive_seed

__all__ = ["balanced_weights", "effective_rows", "resampled"]

_STEPS = 200
_CLOSE = 1e-6  # of a standard deviation of clean rows, in each direction
_RIDGE = 1e-6  # on the curvature: directions may be nearly the same


def balanced_weights(scores: Tensor, target: Tensor) -> Tensor:
    """Return the weights of rows whose weighted mean score is the target.

    Args:
        scores: of each row along each direction, in standard deviations of clean rows, (rows, directions).
        target: mean of clean rows, (directions,).

    Returns:
        Weights, (rows,), float64, with mean 1.

    Raises:
        InputError: if no weights have that mean, since all rows lie on one side of it.
    """
    moved = scores.double() - target.double()
    tilt = torch.zeros(moved.shape[1], dtype=torch.float64)
    eye = _RIDGE * torch.eye(len(tilt), dtype=torch.float64)
    for _ in range(_STEPS):
        weights = torch.softmax(-(moved @ tilt), 0)
        mean = weights @ moved
        if mean.abs().max() < _CLOSE:
            return weights * len(weights)
        curvature = (moved * weights[:, None]).T @ moved - torch.outer(mean, mean) + eye
        step = torch.linalg.solve(curvature, mean)
        tilt = tilt + step * min(1.0, 1.0 / max(1e-12, float(step.norm())))
    if mean.abs().max() > 0.01:
        raise InputError(
            f"{len(scores):,} rows can't be balanced: even with weights they move the base by "
            f"{float(mean.abs().max()):.2f} standard deviations of a row; leave the data set out, or mix in clean rows."
        )
    return weights * len(weights)


def effective_rows(weights: Tensor) -> float:
    """Return how many equal rows have a mean of the same variance: (sum w)^2 / sum w^2 (Kish)."""
    return float(weights.sum() ** 2 / (weights**2).sum())


def resampled(weights: Tensor, seed: int) -> list[int]:
    """Return row indices drawn by weight, as many as there are rows, in an order of their own.

    Systematic resampling: a row with weight w comes floor(w) or ceil(w) times, so rows of weight 1 come once.
    """
    generator = torch.Generator().manual_seed(derive_seed(seed, "balance"))
    places = (torch.rand(1, generator=generator, dtype=torch.float64) + torch.arange(len(weights))) / len(weights)
    found = torch.searchsorted((weights / weights.sum()).cumsum(0), places).clamp(max=len(weights) - 1)
    return [int(each) for each in found[torch.randperm(len(found), generator=generator)]]
