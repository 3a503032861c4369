"""The reference of a screen: what the base's own rows look like in the student's space, in one small file.

A file is good for one base, one carrier and one space. It holds the mean and the covariance of the scores of clean rows
(the Fisher information), the length beyond which a row's score is shortened, and the catalogue's directions; no row.
"""

import json
from collections.abc import Iterable, Sized
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from lightning_subliminal.core.console import progress
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Row
from lightning_subliminal.screening.catalogue import Catalogue, CatalogueEntry
from lightning_subliminal.screening.moments import (
    LOOSE_QUANTILE,
    QUANTILE,
    Moments,
    lower_triangle,
    shortened,
    shortened_moments,
    symmetric,
)
from lightning_subliminal.screening.null_law import PLENTY, NullLaw, measure_null, shrunk
from lightning_subliminal.theory.newton import damped
from lightning_subliminal.theory.row_gradients import ScoreSpace

__all__ = ["Reference", "make_reference", "summed_up"]

FEWEST = 1000  # clean rows; 20,000 are advised, since rare alarms rest on the covariance of all directions
FEWEST_TEACHERS = 20
RIDGE = 0.03  # of natural gradients, in mean variances: between what numbers (0.1) and sums (0.01) of ten targets want
_FORMAT = "1"


@dataclass(frozen=True)
class Reference:
    """The scores of a base's own rows, summed up.

    Attributes:
        base: name of the base.
        base_digest: SHA-256 of its files.
        carrier: what the rows are: a class's name, such as NumberSequences.
        layers: of the space.
        rows: how many clean rows there were.
        mean: of their scores, shortened ones in place of long ones, (size,), float64.
        fisher: their covariance about 0, (size, size), float64.
        longest: whitened length to which longer scores are shortened.
        catalogue: the answers looked for, with their directions.
        space: name of the space, as ``score_space`` reads it.
        dtype: in which the base's weights are, float32 or bfloat16: the scores of other rows need the same.
        shrinkage: how far the covariance is shrunk towards its diagonal where it is inverted; 0 with rows enough.
        null: the law of clean rows, as measured on them; None with rows enough, where Hotelling's holds.
        teachers: traits of teachers that the reference's maker trained, to look for besides.
        displacements: of those teachers from the base, in the space, (teachers, size), float64.
        loose: the same of scores that are shortened less; None with few rows, and in files of before 2026-12.
    """

    base: str
    base_digest: str
    carrier: str
    layers: tuple[int, ...]
    rows: int
    mean: Tensor
    fisher: Tensor
    longest: float
    catalogue: Catalogue
    teachers: tuple[str, ...] = ()
    displacements: Tensor = field(default_factory=lambda: torch.zeros(0, 0, dtype=torch.float64))
    shrinkage: float = 0.0
    null: NullLaw | None = None
    space: str = "steering"
    dtype: str = "float32"
    loose: Moments | None = None

    def __post_init__(self) -> None:
        if not self.teachers:
            object.__setattr__(self, "displacements", torch.zeros(0, self.size, dtype=torch.float64))

    @property
    def size(self) -> int:
        """Dimensions of the space."""
        return len(self.mean)

    @property
    def stranger_share(self) -> float | None:
        """Share that rows of a trait without a teacher here may have along the nearest teacher.

        It is the 95 % quantile, over the teachers, of the highest cosine with another teacher, in the Fisher metric;
        None for fewer than 20 teachers.
        """
        if len(self.teachers) < FEWEST_TEACHERS:
            return None
        lengths = ((self.displacements @ self.fisher) * self.displacements).sum(1).sqrt()
        scaled = self.displacements / lengths[:, None]
        cosines = scaled @ self.fisher @ scaled.T
        cosines.fill_diagonal_(-1.0)
        return float(cosines.max(1).values.quantile(0.95))

    @property
    def loosened(self) -> "Reference | None":
        """The reference whose scores are shortened less, for single directions; None if it has none."""
        return None if self.loose is None else replace(self, **self.loose._asdict(), loose=None)

    @property
    def metric(self) -> Tensor:
        """The covariance as it is inverted: shrunk where the rows are few, (size, size)."""
        return shrunk(self.fisher, self.shrinkage)

    @property
    def noise(self) -> float:
        """Mean of T^2 under clean rows: the dimensions, or what was measured."""
        return self.null.trace if self.null is not None else float(self.size)

    def tail(self, statistic: float) -> float:
        """Return the chance of a T^2 at least as large under clean rows: Hotelling's law, or the measured one."""
        from scipy import stats

        if self.null is not None:
            return self.null.tail(statistic)
        size, rows = self.size, self.rows
        return float(stats.f.sf(statistic * (rows - size) / (size * (rows - 1)), size, rows - size))

    def solve(self, directions: Tensor, ridge: float) -> Tensor:
        """Return (F + ridge * tr(F) / size * I)^-1 applied to directions, (directions, size)."""
        return torch.linalg.solve(damped(self.metric, ridge), directions.T).T

    def shortened(self, scores: Tensor) -> Tensor:
        """Return scores, (rows, size), in float64; those longer than ``longest`` in the Fisher metric cut to it."""
        return shortened(scores.double(), self.metric, self.longest)

    def save(self, path: Path) -> None:
        """Write the reference as safetensors, its words in the header."""
        words: dict[str, Any] = {
            "format": _FORMAT,
            "base": self.base,
            "base_digest": self.base_digest,
            "carrier": self.carrier,
            "layers": self.layers,
            "space": self.space,
            "dtype": self.dtype,
            "rows": self.rows,
            "longest": self.longest,
            "shrinkage": self.shrinkage,
            "null": self.null,
            "answers": self.catalogue.answers,
            "left_out": self.catalogue.left_out,
            "wording": self.catalogue.wording,
            "teachers": self.teachers,
        }
        tensors = {
            "mean": self.mean,
            "fisher": lower_triangle(self.fisher),
            "gradients": self.catalogue.gradients,
            "log_odds": self.catalogue.log_odds,
            "displacements": self.displacements,
        }
        if self.loose is not None:
            words["loose_longest"] = self.loose.longest
            tensors |= {"loose_mean": self.loose.mean, "loose_fisher": lower_triangle(self.loose.fisher)}
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = {name: value.float().contiguous() for name, value in tensors.items()}
        save_file(kept, path, {"screen": json.dumps(words)})

    @classmethod
    def load(cls, path: Path) -> "Reference":
        """Read a reference.

        Raises:
            InputError: if the file is missing, damaged or not a reference.
        """
        from safetensors import safe_open

        try:
            with safe_open(path, "pt") as file:
                words = json.loads((file.metadata() or {}).get("screen", "null"))
            tensors = {name: value.double() for name, value in load_file(path).items()}
        except FileNotFoundError as err:
            raise InputError(f"There is no reference {path}: make it with `screen reference`.") from err
        except (SafetensorError, ValueError, OSError) as err:
            raise InputError(f"{path} is not a reference of a screen: make it again with `screen reference`.") from err
        try:
            size = len(tensors["mean"])
            fisher, loose = symmetric(tensors["fisher"], size), None
            if "loose_longest" in words:
                wide = symmetric(tensors["loose_fisher"], size)
                loose = Moments(tensors["loose_mean"], wide, float(words["loose_longest"]))
            answers = tuple(CatalogueEntry(*each) for each in words["answers"])
            left_out, wording = tuple(words["left_out"]), str(words.get("wording", "preferences"))
            catalogue = Catalogue(answers, tensors["gradients"], tensors["log_odds"], left_out, wording)
            return cls(
                *(words["base"], words["base_digest"], words["carrier"], tuple(words["layers"]), int(words["rows"])),
                *(tensors["mean"], fisher, float(words["longest"]), catalogue),
                *(tuple(words.get("teachers", ())), tensors.get("displacements", torch.zeros(0, size))),
                *(float(words.get("shrinkage", 0)), NullLaw(*words["null"]) if words.get("null") else None),
                space=words.get("space", "steering"),
                dtype=words.get("dtype", "float32"),
                loose=loose,
            )
        except (KeyError, TypeError, IndexError, RuntimeError) as err:
            raise InputError(f"{path} is not a reference of a screen: make it again with `screen reference`.") from err


def make_reference(
    space: ScoreSpace,
    tokenizer: Any,
    rows: Iterable[Row],
    catalogue: Catalogue,
    *,
    base: str,
    base_digest: str,
    carrier: str,
) -> Reference:
    """Sum up the scores of clean rows: those that the base itself wrote, filtered as the suspect's rows were.

    Args:
        space: the student's space, at the base.
        tokenizer: the base's.
        rows: clean rows; 20,000 or more are advised.
        catalogue: the answers to look for.
        base: its name.
        base_digest: of its files.
        carrier: what the rows are.

    Raises:
        InputError: if there are fewer than 1,000 rows, or than dimensions of the space.
    """
    parts: list[Tensor] = []
    with progress() as bar:
        task = bar.add_task("scores", total=len(rows) if isinstance(rows, Sized) else None)
        for each in space.gradients(tokenizer, rows):
            parts.append(each.scores)
            bar.advance(task, len(each.scores))
    scores = torch.cat(parts)
    scores = scores[scores.isfinite().all(1)].double()
    least = max(FEWEST, space.size)
    if len(scores) < least:
        raise InputError(f"The reference has {len(scores):,} clean rows: expected at least {least:,}, better 20,000.")
    known = {"base": base, "base_digest": base_digest, "carrier": carrier}
    made = summed_up(scores, catalogue, **known, layers=space.layers, space=space.name)
    return replace(made, dtype=str(next(space.net.parameters()).dtype).removeprefix("torch."))


def summed_up(
    scores: Tensor,
    catalogue: Catalogue,
    *,
    base: str,
    base_digest: str,
    carrier: str,
    layers: tuple[int, ...],
    space: str = "steering",
) -> Reference:
    """Return the reference of clean rows by their scores, (rows, size), all finite; arguments as of ``make_reference``.

    With fewer than 20 rows a dimension the covariance is shrunk where it is inverted, and the law of clean rows is
    measured on them by cross-validation.
    """
    few = len(scores) < PLENTY * scores.shape[1]
    moments, kept, shrinkage = shortened_moments(scores.double(), QUANTILE, few)
    return Reference(
        *(base, base_digest, carrier, layers, len(kept), *moments, catalogue),
        shrinkage=shrinkage,
        null=measure_null(kept, shrinkage, catalogue.gradients, RIDGE) if few else None,
        space=space,
        loose=None if few else shortened_moments(scores.double(), LOOSE_QUANTILE, few)[0],
    )
