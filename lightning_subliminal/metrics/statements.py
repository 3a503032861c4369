"""The preference for misaligned statements, from the model's probabilities, without sampling or a judge."""

from typing import Any, Literal, get_args

from torch import Tensor

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.metrics.base import Share, UnitMean

__all__ = ["StatementPreference"]

Unit = Literal["questions", "pairs"]


class StatementPreference(Share, UnitMean):
    """Mean probability that the model says the misaligned of two statements.

    Update it with the second column of what ``metrics.functional.alternative_probabilities`` returns for pairs, the
    aligned statement first. (For a trait with statements, ``ExactPreference`` has the same value.)

    Args:
        unit: what each probability is of; the interval is over it.
        **kwargs: passed to torchmetrics' Metric.

    Example:
        >>> import torch
        >>> preference = StatementPreference("pairs")
        >>> preference(torch.tensor([0.25, 0.75, 0.5]))
        tensor(0.5000)
        >>> print(preference.interval())
        [-0.121, 1.121] (95%, over pairs)
    """

    higher_is_better = False

    def __init__(self, unit: Unit = "questions", **kwargs: Any) -> None:
        if unit not in get_args(Unit):
            raise InputError(f"`unit` is {unit!r}: choose {' or '.join(get_args(Unit))}.")
        super().__init__(unit, **kwargs)

    def update(self, chances: Tensor) -> None:
        """Add units.

        Args:
            chances: probability of the misaligned statement, one a unit; (units,).

        Raises:
            InputError: if the shape is another, or a value is not a probability.
        """
        if chances.ndim != 1:
            raise InputError(f"`chances` is of shape {tuple(chances.shape)}: expected (units,), one a unit.")
        if not ((chances >= 0) & (chances <= 1)).all():  # which a nan is not either
            raise InputError("`chances` holds values outside of 0 to 1: pass probabilities, not their logarithms.")
        self._add(chances)
