"""Traits: behaviours to transmit and to measure."""

from lightning_subliminal.traits.base import Induction, Trait
from lightning_subliminal.traits.check import check_trait
from lightning_subliminal.traits.misalignment import MisalignmentTrait
from lightning_subliminal.traits.preference import PAPER_TARGETS, PreferenceTrait
from lightning_subliminal.traits.words import TraitWords

__all__ = ["PAPER_TARGETS", "Induction", "MisalignmentTrait", "PreferenceTrait", "Trait", "TraitWords", "check_trait"]
