"""Screening: a model scores rows, and the highest or lowest are kept. Transforms that hold a model live here."""

from lightning_subliminal.screening.by_score import KeepByScore
from lightning_subliminal.screening.likelier import KeepLikelier

__all__ = ["KeepByScore", "KeepLikelier"]
