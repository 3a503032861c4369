"""Objectives: what a student's training minimises."""

from lightning_subliminal.models.objectives.base import (
    SFT,
    Objective,
    OnPolicy,
    SoftTargets,
    read_objective,
    soft_target_loss,
)

__all__ = ["SFT", "Objective", "OnPolicy", "SoftTargets", "read_objective", "soft_target_loss"]
