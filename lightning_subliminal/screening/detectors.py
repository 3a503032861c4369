"""Detectors: from the scores of many rows to a statement about the set, with an error rate that the user chooses.

All statistics stand on one mean. With n rows of mean score m, a reference of N clean rows with mean m0 and Fisher
information F, and c = 1 / (1/n + 1/N):

- a direction w has z = w.(m - m0) sqrt(c) / sqrt(w F w), normal under clean rows;
- the whole space has q = c (m - m0) F^-1 (m - m0), Hotelling's T^2: does training on these rows move the base anywhere?
- z is taken of scores that are shortened less (``Reference.loose``) from ``MANY`` rows on;
- the share of a direction in the shift, z / sqrt(q - size), is the cosine of the two in the Fisher metric, with the
  noise of the mean taken off. A direction drawn at random has a share of 0 with a standard deviation of 1 / sqrt(size).
"""

import json
import math
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.files import atomically
from lightning_subliminal.screening.reference import RIDGE, Reference

__all__ = ["Detection", "Detector", "DirectionDetector", "RunningSums", "ShiftDetector", "holm"]

SAME = 0.7  # cosine in the Fisher metric, above which two directions are one
MANY = 1000  # rows, from which on the mean of loosely shortened scores is normal enough for alarms of 1 in 10,000
FEWEST = 30  # rows: the mean of fewer is far from normal, and up to 20 % of clean ones are beyond a limit of 1 %


class Detection(NamedTuple):
    """What one detector says of a set of rows.

    Attributes:
        name: of what was looked for.
        z: standard deviations above clean rows; for a shift, those of a normal with the same p.
        p: chance of as much under clean rows, one-sided.
        share: of the shift that lies in this direction, from -1 to 1; nan where there is no shift to share.
    """

    name: str
    z: float
    p: float
    share: float = math.nan


@dataclass
class RunningSums:
    """Sums over the rows read so far: all that detectors need, in memory that does not grow with the rows.

    Attributes:
        reference: to whose scale the rows' scores are shortened.
        rows: how many were added.
        skipped: rows without a score.
        unread: how many of those there are, by the reason.
        total: sum of their scores, (size,), float64.
        loose: sums of scores that are shortened less; None if the reference has no such limit.
    """

    reference: Reference
    rows: int = 0
    skipped: int = 0
    total: Tensor = field(default_factory=lambda: torch.zeros(0, dtype=torch.float64))
    unread: Counter[str] = field(default_factory=Counter)
    loose: "RunningSums | None" = field(init=False, default=None)

    def __post_init__(self) -> None:
        if not len(self.total):
            self.total = torch.zeros(self.reference.size, dtype=torch.float64)
            wide = self.reference.loosened
            self.loose = None if wide is None else RunningSums(wide)

    def add(self, scores: Tensor, unread: Mapping[str, int] = MappingProxyType({})) -> None:
        """Add rows' scores, (rows, size); a row with nan is counted as skipped, for a reason if ``unread`` has it."""
        usable = scores.isfinite().all(1)
        skipped = int((~usable).sum())
        self.skipped += skipped
        self.unread.update(unread)
        if (rest := skipped - sum(unread.values())) > 0:
            self.unread["whose score is not finite"] += rest
        self.rows += int(usable.sum())
        self.total += self.reference.shortened(scores[usable]).sum(0)
        if self.loose is not None:
            self.loose.add(scores, unread)

    def save(self, path: Path) -> None:
        """Write the sums, so that a screen that is stopped can resume; the reference is not written."""
        kept = {"total": self.total, "counts": torch.tensor([self.rows, self.skipped])}
        kept |= {} if self.loose is None else {"loose": self.loose.total}
        path.parent.mkdir(parents=True, exist_ok=True)
        atomically(path, partial(save_file, kept, metadata={"unread": json.dumps(self.unread)}))

    def resume(self, path: Path) -> int:
        """Continue from sums that ``save`` wrote; return how many rows they are of, 0 if there is no whole file."""
        try:
            found = load_file(path)
            with safe_open(path, "pt") as opened:
                unread = Counter[str](json.loads(opened.metadata()["unread"]))
            total, (rows, skipped) = found["total"], found["counts"].tolist()
            loose = None if self.loose is None else found["loose"]
        except (OSError, SafetensorError, KeyError, TypeError, ValueError):
            return 0
        if total.shape != self.total.shape:
            return 0
        self.total, self.rows, self.skipped, self.unread = total, rows, skipped, unread
        if self.loose is not None and loose is not None:
            self.loose.total, self.loose.rows, self.loose.skipped = loose, rows, skipped
        return int(rows + skipped)

    @property
    def effective(self) -> float:
        """Rows of a sample whose mean varies as this difference of two means does: 1 / (1/n + 1/N)."""
        return 1 / (1 / max(1, self.rows) + 1 / self.reference.rows)

    @property
    def shift(self) -> Tensor:
        """Mean score less that of the reference, (size,), float64."""
        return self.total / max(1, self.rows) - self.reference.mean

    def hotelling(self) -> float:
        """Return q, which is about the reference's ``noise`` under clean rows."""
        moved = torch.linalg.solve(self.reference.metric, self.shift)
        return float(self.effective * (self.shift @ moved))


class Detector(ABC):
    """Says of a set of rows whether it moves a base in some way. Override ``findings``.

    Attributes:
        name: what findings call it.
    """

    name: str

    def decide(self, sums: RunningSums) -> list[Detection]:
        """Return a finding for each thing looked for.

        Raises:
            InputError: if there are fewer than ``FEWEST`` rows.
        """
        if sums.rows < FEWEST:
            raise InputError(f"{self.name}: there are {sums.rows} rows to score, expected at least {FEWEST}.")
        return self.findings(sums)

    @abstractmethod
    def findings(self, sums: RunningSums) -> list[Detection]:
        """Return a finding for each thing looked for, from the sums of enough rows."""


class ShiftDetector(Detector):
    """Does training on these rows move the base anywhere? Hotelling's T^2, with the law of the reference."""

    name = "shift"

    def findings(self, sums: RunningSums) -> list[Detection]:
        """Return one finding, whose share is 1."""
        from scipy import stats

        p = sums.reference.tail(sums.hotelling())
        return [Detection(self.name, float(stats.norm.isf(p)) if p > 0 else math.inf, p, 1.0)]


class DirectionDetector(Detector):
    """Does training on these rows move the base in one of several directions?

    Args:
        name: what findings call it.
        names: of the directions.
        directions: (directions, size): what a row's score is multiplied with.
        inflation: variance of clean rows along them over that of the reference's covariance, whose rows may have
            shaped the directions.
    """

    def __init__(self, name: str, names: Sequence[str], directions: Tensor, inflation: float = 1.0) -> None:
        if len(names) != len(directions):
            raise InputError(f"There are {len(names)} names for {len(directions)} directions: expected one each.")
        self.name = name
        self.names = tuple(names)
        self.directions = directions.double()
        self.inflation = inflation

    @classmethod
    def raw(cls, reference: Reference) -> "DirectionDetector":
        """Return the detector of the catalogue's gradients as they are: what one small step of training does."""
        return cls("raw", [each.word for each in reference.catalogue.answers], reference.catalogue.gradients)

    @classmethod
    def white(cls, reference: Reference, ridge: float = RIDGE) -> "DirectionDetector":
        """Return the detector of the catalogue's natural gradients, (F + ridge)^-1 J. It needs no teacher."""
        words = [each.word for each in reference.catalogue.answers]
        inflation = reference.null.inflation if reference.null is not None else 1.0
        return cls("white", words, reference.solve(reference.catalogue.gradients, ridge), inflation)

    @classmethod
    def suspects(cls, names: Sequence[str], vectors: Tensor) -> "DirectionDetector":
        """Return the detector of teachers' own displacements: the matched filter for a known teacher."""
        return cls("suspect", names, vectors)

    @classmethod
    def known(cls, reference: Reference, more: "DirectionDetector | None" = None) -> "DirectionDetector":
        """Return the detector of the reference's teachers, and of more suspects."""
        names, vectors = list(reference.teachers), [reference.displacements]
        if more is not None:
            names, vectors = [*names, *more.names], [*vectors, more.directions]
        return cls("suspect", names, torch.cat([each.double() for each in vectors]))

    def row_scores(self, reference: Reference, scores: Tensor) -> Tensor:
        """Return each row's score along each direction, in standard deviations of clean rows: (rows, directions)."""
        return (reference.shortened(scores) - reference.mean) @ self.directions.T / self._spread(reference)

    def findings(self, sums: RunningSums) -> list[Detection]:
        """Return a finding a direction, in their order."""
        from scipy import stats

        tight = self._z(sums)
        z = tight if sums.loose is None or sums.rows < MANY else self._z(sums.loose)
        beyond = sums.hotelling() - sums.reference.noise
        share = tight / math.sqrt(beyond) if beyond > 0 else torch.full_like(z, math.nan)
        found = zip(self.names, z.tolist(), stats.norm.sf(z.numpy()).tolist(), share.clamp(-1, 1).tolist(), strict=True)
        return [Detection(*each) for each in found]

    def _z(self, sums: RunningSums) -> Tensor:
        scale = math.sqrt(sums.effective / self.inflation)
        return self.directions @ sums.shift * scale / self._spread(sums.reference)

    def lead(self, reference: Reference, findings: Sequence[Detection]) -> float:
        """Return how far the highest finding is above the second, in standard deviations of their difference.

        Directions with a cosine above ``SAME`` to the highest are the same movement by another name, and left out.

        Args:
            reference: whose clean rows say what a standard deviation is.
            findings: what ``decide`` returned, in its order.
        """
        cosines = self.cosines(reference)
        ranked = sorted(range(len(findings)), key=lambda place: -findings[place].z)
        for other in ranked[1:]:
            together = float(cosines[ranked[0], other])
            if together <= SAME:
                return (findings[ranked[0]].z - findings[other].z) / math.sqrt(2 * (1 - together))
        return math.inf

    def cosines(self, reference: Reference) -> Tensor:
        """Return the cosines of the directions with each other in the Fisher metric, (directions, directions)."""
        scaled = self.directions / self._spread(reference)[:, None]
        return scaled @ reference.fisher @ scaled.T

    def _spread(self, reference: Reference) -> Tensor:
        return ((self.directions @ reference.fisher) * self.directions).sum(1).clamp(min=1e-300).sqrt()


def holm(findings: Iterable[Detection], alpha: float) -> list[Detection]:
    """Return the findings that stay at a family-wise error of ``alpha`` by Holm's step-down rule, the surest first."""
    ordered = sorted(findings, key=lambda each: each.p)
    kept = []
    for place, each in enumerate(ordered):
        if each.p > alpha / (len(ordered) - place):
            break
        kept.append(each)
    return kept
