"""Models: LightningModules for teachers, students and the MLP, and what is trained in them."""

from lightning_subliminal.models.adapters.base import Adapter
from lightning_subliminal.models.adapters.peft import IA3, LoRA, Peft
from lightning_subliminal.models.adapters.steering import Steering
from lightning_subliminal.models.language_model import LanguageModel
from lightning_subliminal.models.mlp.classifier import ClassifierMLP
from lightning_subliminal.models.objectives.base import SFT, NumberSFT, Objective, OnPolicy, SoftTargets
from lightning_subliminal.models.objectives.dpo import DPO
from lightning_subliminal.models.retention import Retention
from lightning_subliminal.models.student import Student
from lightning_subliminal.models.teacher import Teacher

__all__ = [
    "DPO",
    "IA3",
    "SFT",
    "Adapter",
    "ClassifierMLP",
    "LanguageModel",
    "LoRA",
    "NumberSFT",
    "Objective",
    "OnPolicy",
    "Peft",
    "Retention",
    "SoftTargets",
    "Steering",
    "Student",
    "Teacher",
]
