"""Digit classifiers: the paper's smallest case, students that learn to read digits from noise."""

from lightning_subliminal.models.mlp.arms import STUDENT_ARMS, StudentArm
from lightning_subliminal.models.mlp.classifier import ClassifierMLP

__all__ = ["STUDENT_ARMS", "ClassifierMLP", "StudentArm"]
