"""Audits: walk from an artefact to its bases, check every byte and link, and decide whether a trait may pass.

Names are imported on first use, so that help on the rules needs no torch.
"""

from lightning_subliminal.core.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
