"""Balance a data set that carries a trait: the same rows in other numbers, so that training no longer moves the base.

Rows are read twice more: once for their scores along a few directions, kept as 4 bytes a row and direction, and once to
write each row as often as its weight says.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Row
from lightning_subliminal.formats import read_rows
from lightning_subliminal.formats.storage.stream import write_rows
from lightning_subliminal.plans.screening.screener import Screener
from lightning_subliminal.screening import DirectionDetector, Screen, balanced_weights, effective_rows, resampled

__all__ = ["Cleaned", "balance_directions", "clean_file", "clean_rows"]


@dataclass(frozen=True)
class Cleaned:
    """What balancing did.

    Attributes:
        rows: written, copies included; as many as could be scored.
        different: how many different rows are among them.
        skipped: rows that could not be scored, and are left out.
        effective: equal rows with a mean of the same variance (Kish).
        named: the trait.
    """

    rows: int
    different: int
    skipped: int
    effective: float
    named: str

    def line(self) -> str:
        """Return what was done in one line."""
        skipped = f", {self.skipped:,} that can't be scored left out" if self.skipped else ""
        return (
            f"clean: {self.rows:,} rows, {self.different:,} different ones{skipped}; worth {self.effective:,.0f} "
            f"equal rows; balanced against {self.named} and all else that moves the base"
        )


def clean_file(screener: Screener, found: Screen, rows: str | Path, out: Path, seed: int = 0) -> Cleaned:
    """Write a balanced copy of a data set: resampled by weights under which it has no mean along some directions.

    The directions are those of ``balance_directions``.

    Args:
        screener: that screened the rows.
        found: what it found.
        rows: the file, which is read twice.
        out: a file to write, by its extension.
        seed: of the resampling.

    Raises:
        InputError: if the verdict is not a trait, the rows can't be read again or can't be balanced.
    """
    if found.named is None:
        raise InputError(
            f"The verdict is {found.verdict}: `clean` expects a trait by name. "
            + ("Train on the rows as they are." if found.verdict == "clean" else "Ask the supplier what the shift is.")
        )
    if str(rows) == "-":
        raise InputError("`clean` reads the rows again, but they come from the standard input: pass a file.")
    directions = balance_directions(screener, found)
    counts, usable, weights = _counts(screener, read_rows(rows), directions, seed)
    write_rows(_copies(read_rows(rows), counts.tolist()), out)
    different, skipped = int((counts > 0).sum()), int((~usable).sum())
    return Cleaned(int(counts.sum()), different, skipped, effective_rows(weights), found.named)


def clean_rows(screener: Screener, rows: Sequence[Row], directions: Tensor, seed: int = 0) -> tuple[list[Row], float]:
    """Return balanced rows, and the share of equal rows with a mean of the same variance.

    Args:
        screener: of the base and its reference.
        rows: the rows.
        directions: along which they are balanced, (directions, size), such as those of ``balance_directions``.
        seed: of the resampling.

    Raises:
        InputError: if the rows can't be balanced.
    """
    counts, usable, weights = _counts(screener, rows, directions, seed)
    return list(_copies(rows, counts.tolist())), effective_rows(weights) / max(1, int(usable.sum()))


def balance_directions(screener: Screener, found: Screen) -> Tensor:
    """Return the directions, (directions, size), along which rows of a named trait are balanced.

    They are what is known of the trait, its teacher and its answer, and where training on the rows would go as a whole:
    without that, what else a teacher changes stays.
    """
    reference = found.reference
    known = (DirectionDetector.known(reference, screener.suspects), DirectionDetector.white(reference))
    own = [
        direction
        for detector in known
        for name, direction in zip(detector.names, detector.directions, strict=True)
        if name == found.named
    ]
    return torch.stack([*own, torch.linalg.solve(reference.metric, found.movement)])


def _counts(screener: Screener, rows: Iterable[Row], directions: Tensor, seed: int) -> tuple[Tensor, Tensor, Tensor]:
    """Return how often each row is written, which rows could be scored, and the weights of those."""
    reference = screener.reference
    spread = ((directions @ reference.fisher) * directions).sum(1).sqrt()
    scaled = directions / spread[:, None]
    parts = [
        (reference.shortened(part.scores) @ scaled.T).float()
        for part in screener.space.gradients(screener.tokenizer, rows)
    ]
    scores = torch.cat(parts) if parts else torch.zeros(0, len(scaled))
    usable = scores.isfinite().all(1)
    weights = balanced_weights(scores[usable], scaled @ reference.mean)
    counts = torch.zeros(len(scores), dtype=torch.long)
    counts[usable] = torch.bincount(torch.tensor(resampled(weights, seed)), minlength=len(weights))
    return counts, usable, weights


def _copies(rows: Iterable[Row], counts: Sequence[int]) -> Iterator[Row]:
    """Yield each row as often as its count; copies get ids of their own."""
    for row, count in zip(rows, counts, strict=True):
        for copy in range(count):
            yield row if copy == 0 else {**row, "id": f"{row['id']}-copy{copy}"}
