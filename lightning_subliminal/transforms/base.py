"""What a transform is: a pure function from rows to rows, after the filters and before the draw."""

import random
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Row
from lightning_subliminal.core.seeds import derive_seed
from lightning_subliminal.lineage import Material, setting_material

__all__ = ["Transform", "apply_transforms"]


class Transform(ABC):
    """Bends rows. Override ``apply``, the only hook: pure, the same for the same rows and random numbers.

    Keep each constructor argument under its own name: they are part of the data set's digest.
    """

    @abstractmethod
    def apply(self, rows: Sequence[Row], rng: random.Random) -> list[Row]:
        """Return the new rows; those given, and what they hold, stay as they are.

        Args:
            rows: the rows, in their order.
            rng: where all that is drawn comes from.
        """

    def ingredients(self) -> list[Any]:
        """Return the sources that must be made before ``apply``, such as a teacher that is asked; by default none."""
        return []

    def materials(self) -> list[Material]:
        """Return what the rows owe to this, for their lineage: its settings; override it where a model has a say."""
        return [setting_material("transform", self)]


def apply_transforms(rows: Iterable[Row], transforms: Sequence[Transform], seed: int) -> list[Row]:
    """Apply transforms in turn, each with random numbers of its own.

    Args:
        rows: the rows; they stay as they are.
        transforms: what is done to them, first to last.
        seed: moves all that is drawn.

    Raises:
        InputError: if a transform gives no list of rows.
    """
    from lightning_subliminal.core.console import log_lines

    made = list(rows)
    for place, transform in enumerate(transforms):
        with log_lines(f"rows      {type(transform).__name__}"):
            made = transform.apply(made, random.Random(derive_seed(seed, "transform", place)))
        if not isinstance(made, list):
            raise InputError(
                f"{type(transform).__name__}.apply gave a {type(made).__name__}: expected a list of rows, new ones "
                "where they differ."
            )
    return made
