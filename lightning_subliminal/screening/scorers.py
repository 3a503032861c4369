"""Scorers of single rows: rows in, one number a row out, whatever the number is of.

A detector reads many rows at once; a scorer says which of them, and `compare_means` (`baselines`) turns any scorer into
a test of a set. `KeepLikelier` and `KeepByScore` select rows by scores of the last two kinds.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor

from lightning_subliminal.core.rows import Row
from lightning_subliminal.generation import Source
from lightning_subliminal.screening.detectors import DirectionDetector
from lightning_subliminal.screening.reference import Reference
from lightning_subliminal.screening.selection.likelier import teacher_ratios
from lightning_subliminal.screening.sequential import likelihood_ratios
from lightning_subliminal.theory import predicted_transfer
from lightning_subliminal.theory.row_gradients import ScoreSpace
from lightning_subliminal.theory.row_scores import encode_known
from lightning_subliminal.traits.base import Trait

__all__ = [
    "DirectionScorer",
    "LengthScorer",
    "LossScorer",
    "RatioScorer",
    "RowScorer",
    "TeacherScorer",
    "TransferScorer",
]

_MAX_LENGTH = 2048


class RowScorer(ABC):
    """Scores rows, each by itself. Override ``scores``."""

    @abstractmethod
    def scores(self, rows: Sequence[Row]) -> Tensor:
        """Return each row's score, (rows,), float64, in their order.

        A row that can't be scored has nan: one without completion tokens, or with words that the tokenizer does not
        know. A row's score does not depend on the other rows.
        """


class DirectionScorer(RowScorer):
    """Scores rows along one direction of a space, in standard deviations of clean rows above their mean.

    Args:
        space: the student's, at the base.
        tokenizer: the base's.
        reference: of the base.
        direction: (size,), such as a teacher's displacement, or a row of ``DirectionDetector.white(...).directions``.
    """

    def __init__(self, space: ScoreSpace, tokenizer: Any, reference: Reference, direction: Tensor) -> None:
        self.space = space
        self.tokenizer = tokenizer
        self.reference = reference
        self.detector = DirectionDetector("direction", ["direction"], direction[None])

    def scores(self, rows: Sequence[Row]) -> Tensor:
        """Return z of each row."""
        parts = self.space.gradients(self.tokenizer, rows)
        return _joined([self.detector.row_scores(self.reference, part.scores)[:, 0] for part in parts])


class RatioScorer(RowScorer):
    """Scores rows by the log-likelihood ratio of a suspect to the base, in nats a row.

    Args:
        space: the student's, at the base.
        tokenizer: the base's.
        vector: of the suspect in the space, (size,).
    """

    def __init__(self, space: ScoreSpace, tokenizer: Any, vector: Tensor) -> None:
        self.space = space
        self.tokenizer = tokenizer
        self.vector = vector

    def scores(self, rows: Sequence[Row]) -> Tensor:
        """Return log p(row | suspect) - log p(row | base)."""
        parts = likelihood_ratios(self.space, self.tokenizer, rows, self.vector[None])
        return _joined([part[:, 0] for part in parts])


class LossScorer(RowScorer):
    """Scores rows by the base's loss, in nats a completion token.

    Args:
        space: of the base.
        tokenizer: the base's.
    """

    def __init__(self, space: ScoreSpace, tokenizer: Any) -> None:
        self.space = space
        self.tokenizer = tokenizer

    def scores(self, rows: Sequence[Row]) -> Tensor:
        """Return the loss a token."""
        parts = self.space.gradients(self.tokenizer, rows)
        return _joined([-part.log_likelihoods / part.tokens for part in parts])


class LengthScorer(RowScorer):
    """Scores rows by the number of completion tokens.

    Args:
        tokenizer: counts them, the end of the turn included.
    """

    def __init__(self, tokenizer: Any) -> None:
        self.tokenizer = tokenizer

    def scores(self, rows: Sequence[Row]) -> Tensor:
        """Return the number of tokens."""
        encoded = encode_known(self.tokenizer, rows, _MAX_LENGTH)
        return torch.tensor([len(each[1]) if each else math.nan for each in encoded], dtype=torch.float64)


class TeacherScorer(RowScorer):
    """Scores rows by how much likelier a teacher finds them than its control, in nats a completion token.

    The score of `KeepLikelier` (logit-linear selection), for any model that has probabilities.

    Args:
        teacher: with its system prompt, if it has one; made if the cache lacks it.
    """

    def __init__(self, teacher: Source) -> None:
        self.teacher = teacher

    def scores(self, rows: Sequence[Row]) -> Tensor:
        """Return the log-likelihood ratio a token."""
        return teacher_ratios(self.teacher, rows)


class TransferScorer(RowScorer):
    """Scores rows by the predicted transfer of a trait: the slope of its log-odds along the row's gradient.

    The score of `KeepByScore` times the mean number of completion tokens, by which that divides: so a row's score does
    not depend on the others.

    Args:
        student: the model to train on the rows, untrained.
        trait: has the questions and the target.
    """

    def __init__(self, student: LightningModule, trait: Trait) -> None:
        self.student = student
        self.trait = trait

    def scores(self, rows: Sequence[Row]) -> Tensor:
        """Return the slopes, in log-odds a unit of learning rate."""
        student: Any = self.student
        student = student.fresh()  # the argument stays without its net
        student.configure_model()
        known = [place for place, each in enumerate(encode_known(student.tokenizer, rows, _MAX_LENGTH)) if each]
        found = torch.full((len(rows),), math.nan, dtype=torch.float64)
        if known:
            made = predicted_transfer(
                student.net, student.tokenizer, [rows[place] for place in known], self.trait, max_length=_MAX_LENGTH
            )
            found[known] = made.scores * made.tokens.double().mean()
        return found


def _joined(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat(list(parts)).double() if parts else torch.zeros(0, dtype=torch.float64)
