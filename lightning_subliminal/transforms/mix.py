"""A transform that mixes in rows of another data set: how much of it does the trait stand?"""

import random
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, get_args

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import describe_object, file_digest
from lightning_subliminal.core.rows import Row, rows_digest
from lightning_subliminal.transforms.base import Transform

__all__ = ["MixIn"]

How = Literal["replace", "add"]


class MixIn(Transform):
    """Mixes rows of another data set in, at random places, so that they make up a given share of the result.

    ``replace`` puts them in the place of rows drawn at random: as many rows as before, fewer of the teacher's.
    ``add`` puts them between the rows: as many of the teacher's as before, more rows in all. Each row of the other data
    set comes in at most once, without a system prompt, and with an id of its own (``mixed-`` and its place there). The
    filters have not seen it: filter the file before (`lightning-subliminal data filter`).

    Args:
        source: the other data set: a file, a folder of `datasets` or a hub id, in any format that
            `lightning-subliminal data convert` reads.
        fraction: their share of the rows that come out, from 0 to 1; below 1 to `add`.
        how: `replace` rows, or `add` to them.
        schema: the format, such as trl, openai, sharegpt or alpaca; told from the first row where it is None.

    Raises:
        InputError: if the fraction is no such share, or the other data set holds too few rows.
    """

    def __init__(self, source: str, fraction: float, how: How = "replace", schema: str | None = None) -> None:
        if how not in get_args(How):
            raise InputError(f"`how` is {how!r}: choose {' or '.join(get_args(How))}.")
        if not 0 <= fraction <= 1 or (fraction == 1 and how == "add"):
            raise InputError(
                f"`fraction` is {fraction}: expected a share from 0 to 1 of the rows that come out"
                f"{', below 1 since rows are added' if how == 'add' else ''}."
            )
        place = Path(source)
        if not place.exists() and (place.suffix or source.count("/") != 1):
            raise InputError(
                f"{source} is not there: give a file, a folder of `datasets` or a hub id like someone/rows."
            )
        self.source = source
        self.fraction = fraction
        self.how: How = how
        self.schema = schema

    def describe(self) -> dict[str, Any]:
        """Return class, arguments and what the other data set holds; not where it lies."""
        told = describe_object(self)
        told["arguments"].pop("source", None)
        return told | {"content": self._content}

    def apply(self, rows: Sequence[Row], rng: random.Random) -> list[Row]:
        """Return the rows with the others among them; those that stay keep their order."""
        share = self.fraction if self.how == "replace" else self.fraction / (1 - self.fraction)
        count = round(share * len(rows))
        if not count:
            return list(rows)
        others = self._read()
        if len(others) < count:
            raise InputError(
                f"{self.source} holds {len(others)} rows, but a `fraction` of {self.fraction} beside {len(rows)} rows "
                f"needs {count}: lower it, or give a larger file."
            )
        foreign = [self._as_ours(place, others[place]) for place in rng.sample(range(len(others)), count)]
        if self.how == "replace":
            made = list(rows)
            for place, row in zip(rng.sample(range(len(rows)), count), foreign, strict=True):
                made[place] = row
            return made
        places = set(rng.sample(range(len(rows) + count), count))
        ours, theirs = iter(rows), iter(foreign)
        return [next(theirs if place in places else ours) for place in range(len(rows) + count)]

    def _as_ours(self, place: int, row: Row) -> Row:
        """Take prompt and completion alone: other columns may be of other types than ours."""
        kept = {key: row[key] for key in ("prompt", "completion")}
        return {"id": f"mixed-{place}", "finished": row.get("finished"), **kept}

    def _read(self) -> list[Row]:
        from lightning_subliminal.formats import read_rows  # on first use: most data sets mix nothing in

        return list(read_rows(self.source, schema=self.schema, drop_system=True))

    @cached_property
    def _content(self) -> Any:
        place = Path(self.source)
        if place.is_file():
            return file_digest(place)
        if place.is_dir():
            found = sorted(path for path in place.rglob("*") if path.is_file())
            return {str(path.relative_to(place)): file_digest(path) for path in found}
        return rows_digest(self._read())  # a hub id
