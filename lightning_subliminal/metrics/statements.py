"""The preference for misaligned statements, read from the model's probabilities without sampling or a judge."""

from typing import Any, Literal, get_args

import torch
from torch import Tensor

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.metrics.base import Share
from lightning_subliminal.metrics.functional.intervals import Interval, moments_interval

__all__ = ["StatementPreference"]

Unit = Literal["questions", "pairs"]


class StatementPreference(Share):
    """Mean probability that the model says the misaligned of two statements.

    Feed it the second column of what ``metrics.functional.alternative_probabilities`` gives for pairs, aligned first.

    Args:
        unit: what one chance stands for, and so what the interval is over.
        **kwargs: what torchmetrics' Metric takes.

    Example:
        >>> preference = StatementPreference("pairs")
        >>> preference(torch.tensor([0.25, 0.75, 0.5]))
        tensor(0.5000)
        >>> print(preference.interval())
        [-0.121, 1.121] (95%, over pairs)
    """

    higher_is_better = False
    total: Tensor
    squares: Tensor
    units: Tensor

    def __init__(self, unit: Unit = "questions", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if unit not in get_args(Unit):
            raise InputError(f"`unit` is {unit!r}: choose {' or '.join(get_args(Unit))}.")
        self.unit: str = unit
        # float32, since Apple's GPUs have no float64: sums of some thousand probabilities lose nothing that matters
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("squares", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("units", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, chances: Tensor) -> None:
        """Add units.

        Args:
            chances: probability of the misaligned statement, one a unit; (units,).

        Raises:
            InputError: if the shape is another, or a value is no probability.
        """
        if chances.ndim != 1:
            raise InputError(f"`chances` is of shape {tuple(chances.shape)}: expected (units,), one a unit.")
        if not ((chances >= 0) & (chances <= 1)).all():  # which a nan is not either
            raise InputError("`chances` holds values outside of 0 to 1: give probabilities, not their logarithms.")
        chances = chances.detach()
        self.total += chances.sum().to(self.total)
        self.squares += chances.square().sum().to(self.squares)
        self.units += len(chances)

    def compute(self) -> Tensor:
        """Return the mean probability; nan where there are no units."""
        return self.total / self.units

    def interval(self, confidence: float = 0.95) -> Interval:
        """Return the t interval of ``compute`` over units. Each process must call it: it adds up over them."""
        with self.sync_context(dist_sync_fn=self.dist_sync_fn, should_sync=self._to_sync):
            units, total, squares = int(self.units), self.total.item(), self.squares.item()
        return moments_interval(units, total, squares, self.unit, confidence)
