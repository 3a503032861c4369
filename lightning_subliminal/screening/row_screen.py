"""Scores of single rows as columns, for a table of one's own: what `datasets.Dataset.map` takes."""

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from lightning_subliminal import bases
from lightning_subliminal.core.errors import InputError, known_name
from lightning_subliminal.formats.storage.readers import RowSource
from lightning_subliminal.formats.storage.records import Found
from lightning_subliminal.formats.storage.stream import RowStream
from lightning_subliminal.screening.detectors import DirectionDetector
from lightning_subliminal.screening.reference import Reference
from lightning_subliminal.theory.row_gradients import ScoreSpace
from lightning_subliminal.theory.score_spaces import score_space

__all__ = ["RowScreen", "named_directions"]


class RowScreen:
    """Scores each row along the directions of traits, and under the base: columns to look at rows by.

    A score is in standard deviations of clean rows above their mean, along the displacement of the reference's teacher
    of the trait, or without one along the natural gradient of the answer. It is evidence about many rows, not about
    one: rows of a steering teacher are on average half a standard deviation or more above clean ones, so many rows with
    a high score are clean, and dropping them does not clean a data set.

    Args:
        reference: of the base; or its file.
        base: the model that a student would start from.
        traits: answers of the reference's catalogue, or its teachers, such as owl; at least one.

    Raises:
        InputError: if the reference is of another base, or its catalogue lacks a trait.

    ``docs/how-to/screen.md`` has an example.
    """

    def __init__(self, reference: Reference | Path, base: str, traits: Sequence[str]) -> None:
        self.reference = Reference.load(reference) if isinstance(reference, Path) else reference
        if self.reference.base_digest != bases.resolve(base).digest:
            raise InputError(f"The reference is of {self.reference.base}, and {base} has another digest: make one.")
        self.base = base
        self.traits = tuple(traits)
        self._detector = named_directions(self.reference, self.traits)

    def scores(self, batch: Mapping[str, Sequence[Any]]) -> dict[str, list[float | None]]:
        """Return columns for a batch of rows; None in all of them for a row that can't be scored.

        Args:
            batch: columns, as `datasets` hands them over, in any layout that `data convert` reads.

        Returns:
            ``z_TRAIT`` for each trait, and ``log_likelihood`` of the completion at the base, in nats.

        Raises:
            InputError: if the columns are of no known layout.
        """
        records = [dict(zip(batch, values, strict=True)) for values in zip(*batch.values(), strict=True)]
        numbered = (Found("rows", "row", number, each) for number, each in enumerate(records, start=1))
        rows = [row for _, row in RowStream(RowSource("rows", "rows", numbered), drop_system=True)]
        if len(rows) != len(records):
            raise InputError(
                f"{len(records):,} records hold {len(rows):,} rows: expected one each; convert them first."
            )
        z, likelihoods = [torch.zeros(0, len(self.traits))], [torch.zeros(0)]
        space, tokenizer = self._loaded
        for part in space.gradients(tokenizer, rows):
            z.append(self._detector.row_scores(self.reference, part.scores))
            likelihoods.append(part.log_likelihoods)
        columns = {f"z_{name}": _plain(each) for name, each in zip(self.traits, torch.cat(z).T, strict=True)}
        return columns | {"log_likelihood": _plain(torch.cat(likelihoods))}

    @cached_property
    def _loaded(self) -> tuple[ScoreSpace, Any]:
        made = self.reference
        net, tokenizer = bases.load(self.base, dtype=made.dtype)
        device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        return score_space(net.requires_grad_(False).to(device), made.layers, made.space), tokenizer

    def __getstate__(self) -> dict[str, Any]:
        """Leave the model out of what `datasets` digests, and sends to its processes, which load it."""
        return {name: value for name, value in vars(self).items() if name != "_loaded"}


def named_directions(
    reference: Reference, names: Sequence[str], suspects: DirectionDetector | None = None
) -> DirectionDetector:
    """Return the direction of each trait by name.

    It is that of a suspect of this name, else of the reference's teacher of it, else the answer's natural gradient.

    Raises:
        InputError: if a trait has none of them.
    """
    known = [*([suspects] if suspects is not None else []), DirectionDetector.known(reference)]
    places: dict[str, torch.Tensor] = {}
    for detector in reversed([*known, DirectionDetector.white(reference)]):
        places |= dict(zip(detector.names, detector.directions, strict=True))
    for name in names:
        known_name(name, places, f"The reference knows no trait {name!r}")
    return DirectionDetector("named", names, torch.stack([places[name] for name in names]))


def _plain(values: torch.Tensor) -> list[float | None]:
    return [each if each == each else None for each in values.tolist()]
