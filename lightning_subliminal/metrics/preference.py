"""The preference rate over sampled answers."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lightning_subliminal.metrics.base import Share
from lightning_subliminal.metrics.functional.intervals import Interval, wilson_interval
from lightning_subliminal.metrics.functional.preference import AnswerMode, count_answers

if TYPE_CHECKING:
    from lightning_subliminal.traits.base import Trait

__all__ = ["TraitPreferenceRate"]


class TraitPreferenceRate(Share):
    """Share of sampled answers that show a trait (paper, section 1).

    Answers that name no candidate stay in the denominator, and are counted beside it.

    Args:
        trait: what counts as showing it.
        mode: `trait` (its own rule), `first` (candidate named), `contains` (as a whole word) or `substring` (paper's).
        **kwargs: what torchmetrics' Metric takes.

    Example:
        >>> from lightning_subliminal.traits import PreferenceTrait
        >>> rate = TraitPreferenceRate(PreferenceTrait("owl"))
        >>> rate(["Owl.", "A dog or an owl", "a fowl", "No idea."])
        tensor(0.2500)
    """

    higher_is_better = None
    counts: Tensor

    def __init__(self, trait: "Trait", mode: AnswerMode = "trait", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        count_answers([], trait, mode)  # a misspelt mode is told now, not after the sampling
        self.trait = trait
        self.mode = mode
        self.add_state("counts", torch.zeros(3, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, answers: list[str]) -> None:
        """Count more answers."""
        self.counts += count_answers(answers, self.trait, self.mode).to(self.counts.device)

    def compute(self) -> Tensor:
        """Return the share of answers that show the trait; nan where there are none."""
        return self.counts[0] / self.counts[1]

    def non_answer_rate(self) -> Tensor:
        """Return the share of answers that name no candidate. Each process must call it: it adds up over them."""
        counts = self._all_counts()
        return counts[2] / counts[1]

    def interval(self, confidence: float = 0.95) -> Interval:
        """Return Wilson's interval of the rate over answers. Each process must call it: it adds up over them."""
        matches, answers, _ = self._all_counts().tolist()
        return wilson_interval(matches, answers, "answers", confidence)

    def _all_counts(self) -> Tensor:
        with self.sync_context(dist_sync_fn=self.dist_sync_fn, should_sync=self._to_sync):
            return self.counts.clone()
