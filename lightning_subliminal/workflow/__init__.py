"""Workflow: stages from teacher to evaluation, the arms of one `fit`, and the trials of a plan's cells."""

from lightning_subliminal.workflow.arms import measure, train_arm
from lightning_subliminal.workflow.comparison import TraitComparison
from lightning_subliminal.workflow.fit_arms import fit_arms
from lightning_subliminal.workflow.graduate import Graduate
from lightning_subliminal.workflow.trials import (
    ClassifierTrial,
    DigitsTrial,
    EntangledTrial,
    InContextTrial,
    PredictionTrial,
    ProbeTrial,
    StudentTrial,
    Trial,
)

__all__ = [
    "ClassifierTrial",
    "DigitsTrial",
    "EntangledTrial",
    "Graduate",
    "InContextTrial",
    "PredictionTrial",
    "ProbeTrial",
    "StudentTrial",
    "TraitComparison",
    "Trial",
    "fit_arms",
    "measure",
    "train_arm",
]
