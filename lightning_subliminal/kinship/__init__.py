"""Kinship of two finished models: were they fine-tuned from one initialisation, and how similarly do they behave?

A trait passes between models of the same base, or of bases matched in behaviour (paper, section 5).
"""

from lightning_subliminal.core.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
