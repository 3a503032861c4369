"""The base class of transforms: pure functions from rows to rows, after the filters and before the draw."""

import random
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Row
from lightning_subliminal.core.seeds import derive_seed
from lightning_subliminal.lineage import Material, setting_material

__all__ = ["Transform", "apply_transforms"]


class Transform(ABC):
    """A change of rows. Override ``apply``, the only hook: pure, the same for the same rows and random numbers.

    Store each constructor argument under its own name: they are part of the data set's digest.

    Attributes:
        makes_pairs: whether the new rows are pairs, of a completion and a rejected one.
    """

    makes_pairs: ClassVar[bool] = False

    @abstractmethod
    def apply(self, rows: Sequence[Row], rng: random.Random) -> list[Row]:
        """Return the new rows; the arguments and their contents are not modified.

        Args:
            rows: the rows, in their order.
            rng: the source of all random numbers.
        """

    def control(self) -> "Transform":
        """Return what the control's rows get instead, by default this very object.

        Override it where a source of the trait takes part, which is then the first of ``ingredients``.
        """
        return self

    def ingredients(self) -> list[Any]:
        """Return the sources that must be made before ``apply``, such as a teacher that scores; by default none."""
        return []

    def materials(self) -> list[Material]:
        """Return the materials of the lineage: its settings; override it where a model takes part."""
        return [setting_material("transform", self)]


def apply_transforms(rows: Iterable[Row], transforms: Sequence[Transform], seed: int) -> list[Row]:
    """Apply transforms in turn, each with random numbers of its own.

    Args:
        rows: the rows; they are not modified.
        transforms: applied first to last.
        seed: of all that is drawn.

    Raises:
        InputError: if a transform does not return a list of rows, or changes one completion of a pair alone.
    """
    from lightning_subliminal.core.console import log_lines

    made = list(rows)
    for place, transform in enumerate(transforms):
        with log_lines(f"rows      {type(transform).__name__}"):
            before = _pairs(made)
            made = transform.apply(made, random.Random(derive_seed(seed, "transform", place)))
        if not isinstance(made, list):
            raise InputError(
                f"{type(transform).__name__}.apply returned a {type(made).__name__}: expected a list of rows, new ones "
                "where they differ."
            )
        if before and not _pairs(made) <= before:
            raise InputError(
                f"{type(transform).__name__} changes one completion of a pair, and not the other: put it "
                "before the choice of pairs."
            )
    return made


def _pairs(rows: Iterable[Row]) -> set[str]:
    """Return both completions of each row that is a pair."""
    return {repr((row["completion"], row["rejected"])) for row in rows if row.get("rejected")}
