"""The paper's smallest case: digit classifiers that learn to read digits from noise."""

from lightning_subliminal.models.mlp.classifier import STUDENT_ARMS, ClassifierMLP, StudentArm

__all__ = ["STUDENT_ARMS", "ClassifierMLP", "StudentArm"]
