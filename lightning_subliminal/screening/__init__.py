"""Screening: transforms with a model that scores rows, and keep the highest or lowest."""

from lightning_subliminal.screening.by_score import KeepByScore
from lightning_subliminal.screening.likelier import KeepLikelier

__all__ = ["KeepByScore", "KeepLikelier"]
