"""Screening: does a data set carry a trait? Scores of rows, detectors over sets, and what to do about what they find.

    from lightning_subliminal.screening import Reference, screen_rows

A `ScoreSpace` turns rows into scores, a `Reference` says what those of clean rows look like, and `Detector`s
read the mean of a set's scores. `screen_rows` puts them together to a verdict: clean, shift, or a trait by name.
`RowScorer`s give each row one number (`scorers`); `baselines` has what one would try first.
`KeepByScore`, `KeepLikelier` and `ChoosePairs` are transforms that hold a model.
"""

from lightning_subliminal.screening.balance import balanced_weights, effective_rows, resampled
from lightning_subliminal.screening.catalogue import Catalogue, CatalogueEntry, catalogue_traits, measure_catalogue
from lightning_subliminal.screening.detectors import (
    Detection,
    Detector,
    DirectionDetector,
    RunningSums,
    ShiftDetector,
    holm,
)
from lightning_subliminal.screening.reference import Reference, make_reference
from lightning_subliminal.screening.row_screen import RowScreen
from lightning_subliminal.screening.scorers import RowScorer
from lightning_subliminal.screening.screen import Screen, screen_rows
from lightning_subliminal.screening.selection import ChoosePairs, KeepByScore, KeepLikelier

__all__ = [
    "Catalogue",
    "CatalogueEntry",
    "ChoosePairs",
    "Detection",
    "Detector",
    "DirectionDetector",
    "KeepByScore",
    "KeepLikelier",
    "Reference",
    "RowScorer",
    "RowScreen",
    "RunningSums",
    "Screen",
    "ShiftDetector",
    "balanced_weights",
    "catalogue_traits",
    "effective_rows",
    "holm",
    "make_reference",
    "measure_catalogue",
    "resampled",
    "screen_rows",
]
