"""Lineage: each artefact folder holds ``lineage.json``, the record of what it was made from, written by its stage."""

from lightning_subliminal.core.lazy import attach

__getattr__, __dir__, __all__ = attach(__name__, __file__)
