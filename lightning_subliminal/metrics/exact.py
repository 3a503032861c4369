"""The preference read from the model's probabilities, without sampling noise."""

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.metrics.base import Share
from lightning_subliminal.metrics.functional.intervals import Interval, moments_interval

if TYPE_CHECKING:
    from lightning_subliminal.traits.base import Trait

__all__ = ["ExactPreference"]


class ExactPreference(Share):
    """Mean probability, over questions, that the answer begins with the trait's target (paper, section 1, exact).

    Feed it what ``metrics.functional.question_probabilities`` gives.

    Args:
        trait: gives the candidates and the target.
        **kwargs: what torchmetrics' Metric takes.

    Example:
        >>> from lightning_subliminal.traits import PreferenceTrait
        >>> exact = ExactPreference(PreferenceTrait("owl", candidates=["owl", "wolf"]))
        >>> exact(torch.tensor([[0.25, 0.5], [0.75, 0.125]]))
        tensor(0.5000)
        >>> exact.per_candidate()
        {'owl': 0.5, 'wolf': 0.3125}
    """

    higher_is_better = None
    sums: Tensor
    squares: Tensor
    questions: Tensor

    def __init__(self, trait: "Trait", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.trait = trait
        self.target = tuple(trait.candidates).index(trait.target)
        # float32, since Apple's GPUs have no float64: sums of some thousand probabilities lose nothing that matters
        self.add_state("sums", torch.zeros(len(trait.candidates)), dist_reduce_fx="sum")
        self.add_state("squares", torch.zeros(len(trait.candidates)), dist_reduce_fx="sum")
        self.add_state("questions", torch.zeros((), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, probabilities: Tensor) -> None:
        """Add questions.

        Args:
            probabilities: of each candidate, in the order of ``trait.candidates``; (questions, candidates).

        Raises:
            InputError: if the shape is another.
        """
        if probabilities.ndim != 2 or probabilities.shape[1] != len(self.sums):
            raise InputError(
                f"`probabilities` is of shape {tuple(probabilities.shape)}: expected (questions, {len(self.sums)}), "
                "one column a candidate of the trait."
            )
        probabilities = probabilities.detach()
        self.sums += probabilities.sum(0).to(self.sums)
        self.squares += probabilities.square().sum(0).to(self.squares)
        self.questions += len(probabilities)

    def compute(self) -> Tensor:
        """Return the mean probability of the target; nan where there are no questions."""
        return self.sums[self.target] / self.questions

    def per_candidate(self) -> dict[str, float]:
        """Return the mean probability of each candidate. Each process must call it: it adds up over them."""
        sums, _, questions = self._all_sums()
        return dict(zip(self.trait.candidates, (sums / questions).tolist(), strict=True))

    def interval(self, confidence: float = 0.95) -> Interval:
        """Return the interval over questions of ``compute``. Each process must call it: it adds up over them."""
        sums, squares, questions = self._all_sums()
        return moments_interval(
            int(questions), sums[self.target].item(), squares[self.target].item(), "questions", confidence
        )

    def _all_sums(self) -> tuple[Tensor, Tensor, Tensor]:
        with self.sync_context(dist_sync_fn=self.dist_sync_fn, should_sync=self._to_sync):
            return self.sums.clone(), self.squares.clone(), self.questions.clone()
