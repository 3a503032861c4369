"""The theorem behind subliminal learning: checked on real tensors, tracked along a run, and used to predict."""

from lightning_subliminal.theory.functional import ModelFunction
from lightning_subliminal.theory.prediction import Prediction, predicted_changes, predicted_transfer
from lightning_subliminal.theory.row_scores import RowScores, row_gradient, score_rows
from lightning_subliminal.theory.theorem import TheoremCheck, check
from lightning_subliminal.theory.trait_odds import trait_gradient, trait_log_odds

__all__ = [
    "ModelFunction",
    "Prediction",
    "RowScores",
    "TheoremCheck",
    "check",
    "predicted_changes",
    "predicted_transfer",
    "row_gradient",
    "score_rows",
    "trait_gradient",
    "trait_log_odds",
]
