"""Adapters: the few parameters that are trained while the base stands still."""

from lightning_subliminal.models.adapters.base import IA3, Adapter, LoRA, Peft, check_merged, merge_peft, probe
from lightning_subliminal.models.adapters.steering import Steering

__all__ = ["IA3", "Adapter", "LoRA", "Peft", "Steering", "check_merged", "merge_peft", "probe"]
