"""Transforms that select rows, or pairs of them, by a model: by predicted transfer, or a teacher's likelihood ratio."""

from lightning_subliminal.screening.selection.by_score import KeepByScore
from lightning_subliminal.screening.selection.likelier import KeepLikelier
from lightning_subliminal.screening.selection.pairs import ChoosePairs

__all__ = ["ChoosePairs", "KeepByScore", "KeepLikelier"]
