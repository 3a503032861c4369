"""Metrics: torchmetrics classes over the pure functions of ``metrics.functional``."""

from lightning_subliminal.metrics.choices import ChoiceAccuracy
from lightning_subliminal.metrics.exact import ExactPreference
from lightning_subliminal.metrics.misalignment import MisalignmentScore
from lightning_subliminal.metrics.preference import TraitPreferenceRate
from lightning_subliminal.metrics.statements import StatementPreference
from lightning_subliminal.metrics.transfer import Transfer

__all__ = [
    "ChoiceAccuracy",
    "ExactPreference",
    "MisalignmentScore",
    "StatementPreference",
    "TraitPreferenceRate",
    "Transfer",
]
