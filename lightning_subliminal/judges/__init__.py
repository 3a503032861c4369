"""Judges: who scores an answer, and what a verdict is. The names that need torch come on first use."""

from lightning_subliminal.core.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
