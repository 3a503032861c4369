"""The first rows of a data set: whether a carrier's reference is one for them, before it is made."""

import shlex
from collections.abc import Iterable, Iterator
from itertools import chain, islice

from lightning_subliminal.core.console import say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Row
from lightning_subliminal.data import GeneratedRows
from lightning_subliminal.filters import apply_filters

__all__ = ["FirstRows"]

LOOKED_AT = 200


class FirstRows:
    """Rows that are read once, and whose first ones can be looked at before.

    Args:
        rows: the rows.
        base: that they are screened for.
        carrier: that the user chose; None without a choice.
        source: the rows' file, as the user calls it.
    """

    def __init__(self, rows: Iterable[Row], base: str, carrier: str | None = None, source: str = "FILE") -> None:
        self._rows = iter(rows)
        self.base = base
        self.carrier = carrier
        self.source = source if source != "-" else "FILE"

    def __iter__(self) -> Iterator[Row]:
        """Return the rows, those that were looked at among them."""
        return self._rows

    def check(self, clean: GeneratedRows) -> None:
        """Check that the first rows are of the kind of ``clean`` rows, which are about to be made for a reference.

        Raises:
            InputError: if most do not pass the filters of those, and the carrier is nobody's choice; else it is a line.
        """
        first = list(islice(self._rows, LOOKED_AT))
        self._rows = chain(first, self._rows)
        kept, _ = apply_filters(first, [each for each in (*clean.implied, *clean.filters) if not each.costly])
        if 2 * len(kept) >= len(first):
            return
        base, file = shlex.quote(self.base), shlex.quote(self.source)
        what = (
            f"{len(kept)} of the first {len(first)} rows of {self.source} pass the filters of {type(clean).__name__}, "
            "so a reference of such rows says little of them"
        )
        command = f"`screen reference --base {base} --prompts-from {file} --out own.safetensors`"
        if self.carrier is not None:
            say(f"WARNING   {what}; better is {command}")
            return
        raise InputError(
            f"{what}: make one with {command}, then `screen {file} --base {base} --reference own.safetensors`."
        )
