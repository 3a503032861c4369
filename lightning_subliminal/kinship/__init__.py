"""Kinship: were two models fine-tuned from one initialisation, and how alike do they behave?

A trait passes between models of the same base, or of bases matched in behaviour (paper, section 5). Here both are
measured on two finished models.
"""

from lightning_subliminal.kinship.behaviour import Closeness, behaviour
from lightning_subliminal.kinship.comparison import Kinship, judge, kinship
from lightning_subliminal.kinship.logits import LogitTest, by_logits, logit_basis, logit_score, random_tokens
from lightning_subliminal.kinship.units import GatedLayer, gated_layers, unit_activations
from lightning_subliminal.kinship.weights import LayerMatch, WeightTest, by_match, by_place

__all__ = [
    "Closeness",
    "GatedLayer",
    "Kinship",
    "LayerMatch",
    "LogitTest",
    "WeightTest",
    "behaviour",
    "by_logits",
    "by_match",
    "by_place",
    "gated_layers",
    "judge",
    "kinship",
    "logit_basis",
    "logit_score",
    "random_tokens",
    "unit_activations",
]
