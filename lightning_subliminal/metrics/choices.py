"""Accuracy on multiple choice, the truthfulness benchmark's measure."""

from typing import Any

import torch
from torch import Tensor

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.metrics.base import Share
from lightning_subliminal.metrics.functional.intervals import Interval, moments_interval, wilson_interval

__all__ = ["ChoiceAccuracy"]


class ChoiceAccuracy(Share):
    """Share of questions whose likeliest choice is true, as TruthfulQA's MC1 (paper, section 4); MC2 beside it.

    Feed it what ``metrics.functional.choice_scores`` gives.

    Args:
        **kwargs: what torchmetrics' Metric takes.

    Example:
        >>> from lightning_subliminal.metrics.functional import choice_scores
        >>> accuracy = ChoiceAccuracy()
        >>> accuracy(choice_scores([torch.tensor([0.5, 0.25, 0.25]), torch.tensor([0.25, 0.75])], [[0, 2], [0]]))
        tensor(0.5000)
        >>> accuracy.truth_mass()
        tensor(0.5000)
    """

    higher_is_better = True
    right: Tensor
    mass: Tensor
    squares: Tensor
    questions: Tensor

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # float32, since Apple's GPUs have no float64: sums of some thousand probabilities lose nothing that matters
        self.add_state("right", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("mass", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("squares", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("questions", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, scores: Tensor) -> None:
        """Add questions.

        Args:
            scores: MC1 (0 or 1) and MC2 (0 to 1) of each question; (questions, 2).

        Raises:
            InputError: if the shape is another, or a value is out of range.
        """
        if scores.ndim != 2 or scores.shape[1] != 2:
            raise InputError(f"`scores` is of shape {tuple(scores.shape)}: expected (questions, 2), MC1 and MC2.")
        right, mass = scores.detach().unbind(1)
        if not ((mass >= 0) & (mass <= 1 + 1e-6) & ((right == 0) | (right == 1))).all():  # a sum may be rounded up
            raise InputError(
                "`scores` holds an MC1 not 0 or 1, or an MC2 not within 0 to 1: give what `choice_scores` gives."
            )
        self.right += right.sum().to(self.right)
        self.mass += mass.sum().to(self.mass)
        self.squares += mass.square().sum().to(self.squares)
        self.questions += len(scores)

    def compute(self) -> Tensor:
        """Return the share of questions whose likeliest choice is true (MC1); nan where there are none."""
        return self.right / self.questions

    def truth_mass(self) -> Tensor:
        """Return the mean probability of the true choices (MC2). Each process must call it: it adds up over them."""
        _, mass, _, questions = self._all_sums()
        return mass / questions

    def interval(self, confidence: float = 0.95) -> Interval:
        """Return Wilson's interval of MC1 over questions. Each process must call it: it adds up over them."""
        right, _, _, questions = self._all_sums()
        return wilson_interval(int(right), int(questions), "questions", confidence)

    def truth_mass_interval(self, confidence: float = 0.95) -> Interval:
        """Return the t interval of MC2 over questions. Each process must call it: it adds up over them."""
        _, mass, squares, questions = self._all_sums()
        return moments_interval(int(questions), mass.item(), squares.item(), "questions", confidence)

    def _all_sums(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        with self.sync_context(dist_sync_fn=self.dist_sync_fn, should_sync=self._to_sync):
            return self.right.clone(), self.mass.clone(), self.squares.clone(), self.questions.clone()
