"""Transforms that select rows by a model: by their predicted transfer, or by a teacher's likelihood ratio."""

from lightning_subliminal.screening.selection.by_score import KeepByScore
from lightning_subliminal.screening.selection.likelier import KeepLikelier

__all__ = ["KeepByScore", "KeepLikelier"]
