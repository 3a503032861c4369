"""A transform that mixes in rows of another data set: how much dilution does the trait survive?"""

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
    """Mixes in rows of another data set, at random places, until they are a certain fraction of the result.

    ``replace`` substitutes rows drawn at random: the number of rows stays, fewer are the teacher's. ``add`` inserts
    between the rows: the teacher's rows stay, more rows in all. Each row of the other data set is used at most once,
    without a system prompt, and with an id of its own (``mixed-`` and its place there). The filters do not see it:
    filter the file before (`lightning-subliminal data filter`).

    Args:
        source: the other data set: a file, a folder of `datasets` or a hub id, in any format that
            `lightning-subliminal data convert` reads.
        fraction: of the resulting rows, from 0 to 1; below 1 to `add`.
        how: `replace` rows, or `add` to them.
        schema: the format, such as trl, openai, sharegpt or alpaca; detected from the first row where it is None.

    Raises:
        InputError: if ``fraction`` is outside [0, 1], or the other data set has too few rows.
    """

    def __init__(self, source: str, fraction: float, how: How = "replace", schema: str | None = None) -> None:
        if how not in get_args(How):
            raise InputError(f"`how` is {how!r}: choose {' or '.join(get_args(How))}.")
        if not 0 <= fraction <= 1 or (fraction == 1 and how == "add"):
            raise InputError(
                f"`fraction` is {fraction}: expected a share from 0 to 1 of the resulting rows"
                f"{', below 1 since rows are added' if how == 'add' else ''}."
            )
        path = Path(source)
        if not path.exists() and (path.suffix or source.count("/") != 1):
            raise InputError(
                f"{source} does not exist: expected a file, a folder of `datasets` or a hub id like someone/rows."
            )
        self.source = source
        self.fraction = fraction
        self.how: How = how
        self.schema = schema

    def describe(self) -> dict[str, Any]:
        """Return class, arguments and the content of the other data set, but not its path."""
        described = describe_object(self)
        described["arguments"].pop("source", None)
        return described | {"content": self._content}

    def apply(self, rows: Sequence[Row], rng: random.Random) -> list[Row]:
        """Return the rows with the others among them; those that stay keep their order."""
        share = self.fraction if self.how == "replace" else self.fraction / (1 - self.fraction)
        count = round(share * len(rows))
        if not count:
            return list(rows)
        others = self._read()
        if len(others) < count:
            raise InputError(
                f"{self.source} has {len(others)} rows, but a `fraction` of {self.fraction} with {len(rows)} rows "
                f"needs {count}: lower it, or use a larger file."
            )
        foreign = []
        for place in rng.sample(range(len(others)), count):
            kept = {key: others[place][key] for key in ("prompt", "completion")}  # other columns may have other types
            foreign.append({"id": f"mixed-{place}", "finished": others[place].get("finished"), **kept})
        if self.how == "replace":
            made = list(rows)
            for place, row in zip(rng.sample(range(len(rows)), count), foreign, strict=True):
                made[place] = row
            return made
        places = set(rng.sample(range(len(rows) + count), count))
        ours, theirs = iter(rows), iter(foreign)
        return [next(theirs if place in places else ours) for place in range(len(rows) + count)]

    def _read(self) -> list[Row]:
        from lightning_subliminal.formats import read_rows  # on first use: few data sets are mixed

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
