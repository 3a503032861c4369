"""Objectives: the loss that a student's training minimises."""

from lightning_subliminal.models.objectives.base import SFT as SFT
from lightning_subliminal.models.objectives.base import Objective as Objective
from lightning_subliminal.models.objectives.base import OnPolicy as OnPolicy
from lightning_subliminal.models.objectives.base import SoftTargets as SoftTargets
from lightning_subliminal.models.objectives.base import read_objective as read_objective
from lightning_subliminal.models.objectives.divergence import soft_target_loss as soft_target_loss
