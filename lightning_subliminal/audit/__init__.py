"""Audits: walks from an artefact to its bases, checks every byte and link, and says whether a trait may pass.

The names come on first use: help on the rules needs no torch.
"""

from lightning_subliminal.core.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
