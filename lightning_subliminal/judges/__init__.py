"""Judges of answers, and their verdicts. Names that need torch are imported on first use."""

from lightning_subliminal.core.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
