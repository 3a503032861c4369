"""Transfer, student minus control, added up over seeds, questions or cells."""

from typing import Any, Literal

import torch
from torch import Tensor

from lightning_subliminal.metrics.base import PlottedMetric
from lightning_subliminal.metrics.functional.intervals import Interval, moments_interval
from lightning_subliminal.metrics.functional.transfer import transfer

__all__ = ["Transfer"]


class Transfer(PlottedMetric):
    """Mean difference of log-odds between student and control, over pairs.

    Args:
        unit: what one pair is: seeds for claims about training again, questions for claims about one student, cells
            (target and pair of bases) for claims about many targets. The interval speaks about this unit only.
        answers: how many sampled answers each rate comes from: half an answer is then added to each side, so that no
            answer of 100 stays finite. Leave it out for exact probabilities.
        **kwargs: what torchmetrics' Metric takes.

    Example:
        >>> moved = Transfer(unit="seeds")
        >>> moved(student=torch.tensor([0.5, 0.6]), control=torch.tensor([0.1, 0.1]))
        tensor(2.4000)
        >>> moved.interval().unit
        'seeds'
    """

    higher_is_better = None
    total: Tensor
    squares: Tensor
    pairs: Tensor

    def __init__(
        self, unit: Literal["seeds", "questions", "cells"] = "seeds", answers: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.unit = unit
        self.answers = answers
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("squares", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("pairs", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, student: Tensor, control: Tensor) -> None:
        """Add pairs: rates of the trait, one a unit; student and control of one shape."""
        differences = transfer(student.detach(), control.detach(), self.answers)
        self.total += differences.sum().to(self.total)
        self.squares += differences.square().sum().to(self.squares)
        self.pairs += differences.numel()

    def compute(self) -> Tensor:
        """Return the mean difference of log-odds; nan where there is no pair."""
        return self.total / self.pairs

    def interval(self, confidence: float = 0.95) -> Interval:
        """Return the interval over ``unit`` of ``compute``. Each process must call it: it adds up over them."""
        with self.sync_context(dist_sync_fn=self.dist_sync_fn, should_sync=self._to_sync):
            pairs, total, squares = int(self.pairs), self.total.item(), self.squares.item()
        return moments_interval(pairs, total, squares, self.unit, confidence)
