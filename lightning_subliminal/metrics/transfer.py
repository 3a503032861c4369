"""Transfer, student minus control, averaged over seeds, questions or cells."""

from typing import Any, Literal

from torch import Tensor

from lightning_subliminal.metrics.base import UnitMean
from lightning_subliminal.metrics.functional.transfer import transfer

__all__ = ["Transfer"]


class Transfer(UnitMean):
    """Mean difference of log-odds between student and control, over pairs.

    Args:
        unit: what one pair is: seeds for claims about training again, questions for claims about one student, cells
            (target and pair of bases) for claims about many targets. The interval is about this unit only.
        answers: how many sampled answers each rate comes from: half an answer is then added to each side, so that no
            answer of 100 stays finite. Leave it out for exact probabilities.
        **kwargs: passed to torchmetrics' Metric.

    Example:
        >>> import torch
        >>> moved = Transfer(unit="seeds")
        >>> moved(student=torch.tensor([0.5, 0.6]), control=torch.tensor([0.1, 0.1]))
        tensor(2.4000)
        >>> moved.interval().unit
        'seeds'
    """

    higher_is_better = None

    def __init__(
        self, unit: Literal["seeds", "questions", "cells"] = "seeds", answers: int | None = None, **kwargs: Any
    ) -> None:
        super().__init__(unit, **kwargs)
        self.answers = answers

    def update(self, student: Tensor, control: Tensor) -> None:
        """Add pairs: rates of the trait, one a unit; student and control of one shape."""
        self._add(transfer(student, control, self.answers))
