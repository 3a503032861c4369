"""Scorers of single rows: rows in, one number a row out, whatever the number is of.

A detector reads many rows at once; a scorer says which of them, and `compare_means` (`baselines`) turns any scorer into
a test of a set.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from lightning_subliminal.core.rows import Row
from lightning_subliminal.theory.row_gradients import ScoreSpace
from lightning_subliminal.theory.row_scores import encode_known

__all__ = ["LengthScorer", "LossScorer", "RowScorer"]

_MAX_LENGTH = 2048


class RowScorer(ABC):
    """Scores rows, each by itself. Override ``scores``."""

    @abstractmethod
    def scores(self, rows: Sequence[Row]) -> Tensor:
        """Return each row's score, (rows,), float64, in their order.

        A row that can't be scored has nan: one without completion tokens, or with words that the tokenizer does not
        know. A row's score does not depend on the other rows.
        """


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
        parts = [-part.log_likelihoods / part.tokens for part in self.space.gradients(self.tokenizer, rows)]
        return torch.cat(parts).double() if parts else torch.zeros(0, dtype=torch.float64)


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
