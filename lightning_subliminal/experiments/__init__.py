"""Arms beside each other: the student, its control, their base and teacher, trained by one code path and compared."""

from lightning_subliminal.experiments.arms import Arm, measure, train_arm
from lightning_subliminal.experiments.comparison import TraitComparison
from lightning_subliminal.experiments.evaluations import (
    Evaluation,
    OpenQuestions,
    Questions,
    QuestionsAfterNumbers,
    Stories,
)
from lightning_subliminal.experiments.graduate import Graduate

__all__ = [
    "Arm",
    "Evaluation",
    "Graduate",
    "OpenQuestions",
    "Questions",
    "QuestionsAfterNumbers",
    "Stories",
    "TraitComparison",
    "measure",
    "train_arm",
]
