"""Metrics: thin torchmetrics classes that add up what the pure functions of ``metrics.functional`` count."""

from lightning_subliminal.metrics.exact import ExactPreference
from lightning_subliminal.metrics.preference import TraitPreferenceRate
from lightning_subliminal.metrics.transfer import Transfer

__all__ = ["ExactPreference", "TraitPreferenceRate", "Transfer"]
