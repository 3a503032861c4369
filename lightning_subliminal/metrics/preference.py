"""The preference rate over sampled answers."""

from typing import TYPE_CHECKING, Any

from torch import Tensor

from lightning_subliminal.metrics.base import Share
from lightning_subliminal.metrics.functional.intervals import Interval, wilson_interval
from lightning_subliminal.metrics.functional.preference import AnswerMode, count_candidates

if TYPE_CHECKING:
    from lightning_subliminal.traits.base import Trait

__all__ = ["TraitPreferenceRate"]


class TraitPreferenceRate(Share):
    """Share of sampled answers that show a trait (paper, section 1).

    Answers that name no candidate stay in the denominator; ``non_answer_rate`` is their share.

    Args:
        trait: decides what counts as showing it.
        mode: `trait` (its own rule), `first` (candidate named), `contains` (as a whole word) or `substring` (paper's).
        **kwargs: passed to torchmetrics' Metric.

    Example:
        >>> from lightning_subliminal.traits import PreferenceTrait
        >>> rate = TraitPreferenceRate(PreferenceTrait("owl", candidates=["owl", "dog"]))
        >>> rate(["Owl.", "A dog or an owl", "a fowl", "No idea."])
        tensor(0.2500)
        >>> rate.per_candidate()
        {'owl': 0.5, 'dog': 0.25}
    """

    higher_is_better = None
    counts: Tensor

    def __init__(self, trait: "Trait", mode: AnswerMode = "trait", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.trait = trait
        self.mode = mode
        # raises for an unknown mode now, not after the sampling
        self.add_state("counts", count_candidates([], trait, mode), dist_reduce_fx="sum")

    def update(self, answers: list[str]) -> None:
        """Count more answers."""
        self.counts += count_candidates(answers, self.trait, self.mode).to(self.counts.device)

    def compute(self) -> Tensor:
        """Return the share of answers that show the trait; nan where there are none."""
        return self.counts[0] / self.counts[1]

    def non_answer_rate(self) -> Tensor:
        """Return the share of answers that name no candidate. Each process must call it."""
        counts = self._reduced("counts")
        rate: Tensor = counts[2] / counts[1]
        return rate

    def per_candidate(self) -> dict[str, float]:
        """Return the share of answers that name each candidate, maybe several. Each process must call it."""
        _, answers, _, *named = self._reduced("counts").cpu().double()
        return {each: (count / answers).item() for each, count in zip(self.trait.candidates, named, strict=True)}

    def interval(self, confidence: float = 0.95) -> Interval:
        """Return Wilson's interval of the rate over answers. Each process must call it."""
        matches, answers, *_ = self._reduced("counts").tolist()
        return wilson_interval(matches, answers, "answers", confidence)
