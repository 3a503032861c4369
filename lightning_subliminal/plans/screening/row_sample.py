"""A random sample of a data set that is too large to screen as a whole."""

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.seeds import derive_seed
from lightning_subliminal.formats import read_rows

__all__ = ["RowSample"]

_T = TypeVar("_T")


@dataclass(frozen=True)
class RowSample:
    """Rows drawn at random, so that they stand for the others: what is wrong may be at a data set's end.

    Attributes:
        rows: how many.
        of: rows of the whole; None if they are not known, as of a stream, whose first ones are taken.
        seed: of the draw.
    """

    rows: int
    of: int | None = None
    seed: int = 0

    @classmethod
    def of_file(cls, source: str | Path, limit: int | None, seed: int = 0) -> "RowSample | None":
        """Return ``limit`` rows of a file or folder, whose rows are counted; None if it has no more, or no limit.

        Raises:
            InputError: if the limit is below 1, or a row is wrong.
        """
        if limit is None:
            return None
        if limit < 1:
            raise InputError(f"`limit` is {limit}: expected at least 1.")
        if str(source) == "-":
            return cls(limit)
        count = sum(1 for _ in read_rows(source))
        return cls(limit, count, seed) if count > limit else None

    def __str__(self) -> str:
        """Return which rows these are."""
        if self.of is None:
            return f"the first {self.rows:,} rows"
        return f"{self.rows:,} of {self.of:,} rows, drawn at random by seed {self.seed}"

    def __call__(self, items: Iterable[_T]) -> Iterator[_T]:
        """Yield the sample of something that has an item for each row, in their order (Knuth's algorithm S)."""
        if self.of is None:
            yield from islice(items, self.rows)
            return
        generator, left = random.Random(derive_seed(self.seed, "sample")), self.rows
        for place, item in enumerate(items):
            if not left:
                return
            if generator.random() * (self.of - place) < left:
                left -= 1
                yield item
