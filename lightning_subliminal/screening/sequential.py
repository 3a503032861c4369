"""Likelihood ratios of known suspects, and a test that may be read after every row.

A row's ratio is l = log p(row | suspect) - log p(row | base). Of a set in which the suspect wrote a share d of the
rows, the evidence is the product of 1 - d + d e^l over the rows. Under rows that the base samples at temperature 1,
E[e^l] = 1, so that product is a martingale: the chance that it ever exceeds 1 / alpha is at most alpha (Ville's
inequality), however many rows are read and whenever one stops. A mean over shares is one, too.

The sum of ratios alone is a worse test of a mixture: each clean row takes the suspect's divergence from it.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_subliminal.core.errors import check_alpha
from lightning_subliminal.core.rows import Row
from lightning_subliminal.theory.row_gradients import ScoreSpace
from lightning_subliminal.theory.row_likelihoods import row_likelihoods

__all__ = ["SequentialTest", "SuspectEvidence", "likelihood_ratios"]

DOSES = (0.05, 0.2, 0.6)  # shares of tainted rows, which evidence is averaged over


class SuspectEvidence(NamedTuple):
    """What a sequential test says of one suspect.

    Attributes:
        name: of the suspect.
        log_e: natural logarithm of the evidence against clean rows, after all rows so far.
        detected: number of rows after which it first exceeded the threshold; None if it never did.
    """

    name: str
    log_e: float
    detected: int | None


def likelihood_ratios(
    space: ScoreSpace,
    tokenizer: Any,
    rows: Iterable[Row],
    vectors: Tensor,
    *,
    batch_tokens: int | None = None,
    max_length: int | None = None,
    unread: Counter[str] | None = None,
) -> Iterator[Tensor]:
    """Return each row's log-likelihood ratio for each suspect: one forward pass of the base, and one a suspect.

    Args:
        space: the student's space, at the base.
        tokenizer: the base's.
        rows: prompt-completion rows, read as they are needed.
        vectors: of the suspects, (suspects, size).
        batch_tokens: tokens that go through the model at once, padding included.
        max_length: rows of more tokens have no score; by default 2,048, or the positions of a model that has fewer.
        unread: counts by their reason the rows without a score.

    Yields:
        In nats, (rows, suspects), float64, of up to 4,096 rows in their order; nan for rows that can't be scored.
    """
    placed = vectors.to(next(space.net.parameters()).device, torch.float32)
    changes: list[Callable[[], AbstractContextManager[Any]]] = [
        nullcontext,
        *(partial(space.added, vector) for vector in placed),
    ]
    given = {"batch_tokens": batch_tokens, "max_length": max_length, "unread": unread}
    for found in row_likelihoods(space.net, tokenizer, rows, changes, **given):  # type: ignore[arg-type]
        yield found[:, 1:] - found[:, :1]


@dataclass
class SequentialTest:
    """The evidence of suspects, row by row.

    Args:
        names: of the suspects.
        alpha: chance that clean rows ever give an alarm, for all suspects together.
        doses: shares of tainted rows, which the evidence is averaged over.
    """

    names: Sequence[str]
    alpha: float = 0.01
    doses: Sequence[float] = DOSES
    rows: int = 0
    _log: Tensor = field(default_factory=lambda: torch.zeros(0))
    _first: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_alpha(self.alpha)
        self._log = torch.zeros(len(self.names), len(self.doses), dtype=torch.float64)

    def add(self, ratios: Tensor) -> None:
        """Add rows in their order, (rows, suspects); those with nan are skipped."""
        usable = ratios[ratios.isfinite().all(1)].double()
        dose = torch.tensor(list(self.doses), dtype=torch.float64)
        gains = torch.logaddexp((-dose).log1p(), usable[:, :, None] + dose.log())  # log(1 - d + d e^l)
        path = self._log + gains.cumsum(0)  # (rows, suspects, doses)
        evidence = path.logsumexp(2) - math.log(len(self.doses))
        crossed = evidence > self.threshold
        for place, name in enumerate(self.names):
            if name not in self._first and bool(crossed[:, place].any()):
                self._first[name] = self.rows + int(crossed[:, place].double().argmax()) + 1
        if len(path):
            self._log = path[-1]
        self.rows += len(usable)

    @property
    def threshold(self) -> float:
        """Natural logarithm of the evidence that is an alarm: that of the number of suspects over ``alpha``."""
        return math.log(len(self.names) / self.alpha)

    @property
    def alarmed(self) -> bool:
        """Whether any suspect was detected."""
        return bool(self._first)

    def evidence(self) -> list[SuspectEvidence]:
        """Return the evidence of each suspect, in their order."""
        logs = (self._log.logsumexp(1) - math.log(len(self.doses))).tolist()
        return [
            SuspectEvidence(name, value, self._first.get(name)) for name, value in zip(self.names, logs, strict=True)
        ]
