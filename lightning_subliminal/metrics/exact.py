"""A trait's preference from the model's probabilities, without sampling noise."""

from typing import TYPE_CHECKING, Any

from torch import Tensor

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.metrics.base import Share, UnitMean

if TYPE_CHECKING:
    from lightning_subliminal.traits.base import Trait

__all__ = ["ExactPreference"]


class ExactPreference(Share, UnitMean):
    """Mean probability, over questions, that the answer begins with the trait's target (paper, section 1, exact).

    Update it with the probabilities that ``metrics.functional.question_probabilities`` returns.

    Args:
        trait: has the candidates and the target.
        **kwargs: passed to torchmetrics' Metric.

    Example:
        >>> import torch
        >>> from lightning_subliminal.traits import PreferenceTrait
        >>> exact = ExactPreference(PreferenceTrait("owl", candidates=["owl", "wolf"]))
        >>> exact(torch.tensor([[0.25, 0.5], [0.75, 0.125]]))
        tensor(0.5000)
        >>> exact.per_candidate()
        {'owl': 0.5, 'wolf': 0.3125}
    """

    higher_is_better = None

    def __init__(self, trait: "Trait", **kwargs: Any) -> None:
        candidates = list(trait.candidates)
        super().__init__("questions", len(candidates), candidates.index(trait.target), **kwargs)
        self.trait = trait

    def update(self, probabilities: Tensor) -> None:
        """Add questions.

        Args:
            probabilities: of each candidate, in the order of ``trait.candidates``; (questions, candidates).

        Raises:
            InputError: if the shape is another.
        """
        if probabilities.ndim != 2 or probabilities.shape[1] != self.columns:
            raise InputError(
                f"`probabilities` is of shape {tuple(probabilities.shape)}: expected (questions, {self.columns}), "
                "one column a candidate of the trait."
            )
        self._add(probabilities)

    def per_candidate(self) -> dict[str, float]:
        """Return the mean probability of each candidate. Each process must call it."""
        return dict(zip(self.trait.candidates, self.by_unit().mean(0).tolist(), strict=True))
