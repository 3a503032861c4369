"""Arms beside each other: one student after a `fit`, or whole plans of arms and seeds, trained by one code path."""

from lightning_subliminal.evaluation import (
    Evaluation,
    OpenQuestions,
    Questions,
    QuestionsAfterNumbers,
    Stories,
)
from lightning_subliminal.evaluation.in_context import QuestionsAfterRows
from lightning_subliminal.experiments.arms import measure, train_arm
from lightning_subliminal.experiments.comparison import TraitComparison
from lightning_subliminal.experiments.fit_arms import fit_arms
from lightning_subliminal.experiments.graduate import Graduate
from lightning_subliminal.experiments.predicting import PredictionTrial
from lightning_subliminal.experiments.probe_trial import ProbeTrial
from lightning_subliminal.experiments.trials import (
    ClassifierTrial,
    DigitsTrial,
    EntangledTrial,
    InContextTrial,
    StudentTrial,
    Trial,
)

__all__ = [
    "ClassifierTrial",
    "DigitsTrial",
    "EntangledTrial",
    "Evaluation",
    "Graduate",
    "InContextTrial",
    "OpenQuestions",
    "PredictionTrial",
    "ProbeTrial",
    "Questions",
    "QuestionsAfterNumbers",
    "QuestionsAfterRows",
    "Stories",
    "StudentTrial",
    "TraitComparison",
    "Trial",
    "fit_arms",
    "measure",
    "train_arm",
]
