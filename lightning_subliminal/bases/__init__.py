"""Base models of experiments, by name: ``pocket/a``, ``smollm2-135m``, a local folder, or a hub id.

Names that need torch are imported on first use.
"""

from lightning_subliminal.core.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
