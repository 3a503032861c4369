"""Adapters: the few parameters that are trained while the base stays frozen."""

from lightning_subliminal.models.adapters.base import Adapter
from lightning_subliminal.models.adapters.peft import IA3, LoRA, Peft, merge_peft
from lightning_subliminal.models.adapters.steering import Steering

__all__ = ["IA3", "Adapter", "LoRA", "Peft", "Steering", "merge_peft"]
