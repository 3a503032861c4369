"""Screen a file: load the base and its reference, read the rows, and return what a screen finds."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch

from lightning_subliminal.core.cache import cache_root
from lightning_subliminal.core.errors import check_alpha
from lightning_subliminal.core.fingerprint import digest
from lightning_subliminal.core.rows import Row
from lightning_subliminal.data import GeneratedRows
from lightning_subliminal.formats import read_rows
from lightning_subliminal.lineage import RowsTree
from lightning_subliminal.plans.screen_reference import check_base, find_reference, load_space
from lightning_subliminal.plans.screening.first_rows import FirstRows
from lightning_subliminal.plans.screening.row_sample import RowSample
from lightning_subliminal.plans.screening.suspects import load_suspects
from lightning_subliminal.screening import Reference, Screen, screen_rows

__all__ = ["Screener", "screen_file"]


class Screener:
    """A base with its reference, loaded once to screen any number of data sets.

    Args:
        base: the model that a student would start from: a name such as pocket/a, a folder, a hub id.
        carrier: numbers, code or math, or a config of `fit`: which reference to find. Unused with ``reference``.
        reference: of this base; the shipped one or that of the cache where it is None, which is made if it is missing.
        suspects: models to look for besides the catalogue and the reference's teachers, as ``load_suspects`` takes
            them.
        device: where to compute; a GPU if there is one where it is None.
        check: called with the clean rows of a reference that must be made, to refuse them.

    Attributes:
        base: its name.
        reference: what rows are compared with.
        space: the student's space, at the base.
        tokenizer: the base's.
        suspects: their directions; None without any.

    Raises:
        InputError: if the base, the reference or a suspect is missing or does not fit the others.
    """

    def __init__(
        self,
        base: str,
        carrier: str = "numbers",
        reference: Path | Reference | None = None,
        suspects: Sequence[str] = (),
        device: torch.device | None = None,
        check: Callable[[GeneratedRows], None] | None = None,
    ) -> None:
        if isinstance(reference, Path):
            reference = Reference.load(reference)
        self.base = base
        self.reference = find_reference(base, carrier, check=check) if reference is None else reference
        check_base(self.reference, base)
        device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
        made = self.reference
        self.space, loaded = load_space(base, list(made.layers), device, made.space, made.dtype)
        self.tokenizer: Any = loaded
        self.suspects = load_suspects(suspects, self.reference, self.space, loaded)

    def screen(
        self,
        rows: Iterable[Row],
        alpha: float = 0.01,
        sample: RowSample | None = None,
        tree: RowsTree | None = None,
        advance: Callable[[int], None] | None = None,
        key: str | None = None,
    ) -> Screen:
        """Screen rows, or a ``sample`` of them, which are read once and not kept; the rest as of ``screen_file``.

        With a ``key``, the digest of the rows, a screen that was stopped resumes where its sums were last kept.
        """
        rows = rows if sample is None else sample(rows)
        made = self.reference
        known: list[Any] = [key, str(sample or ""), made.base_digest, made.carrier, made.rows, list(made.layers)]
        known += [] if made.space == "steering" else [made.space]
        known += [made.longest, made.fisher.trace().item()]  # two references of as many rows shorten scores differently
        return screen_rows(
            self.space,
            self.tokenizer,
            rows if tree is None else _hashed(rows, tree),
            self.reference,
            suspects=self.suspects,
            alpha=alpha,
            advance=advance,
            partial_sums=None if key is None else cache_root() / "screens" / f"{digest(known)[:16]}.safetensors",
        )


def screen_file(
    rows: str | Path | Iterable[Row],
    base: str | Screener,
    carrier: str | None = None,
    reference: Path | Reference | None = None,
    suspects: Sequence[str] = (),
    alpha: float = 0.01,
    limit: int | None = None,
    *,
    device: torch.device | None = None,
    tree: RowsTree | None = None,
    advance: Callable[[int], None] | None = None,
    key: str | None = None,
) -> Screen:
    """Screen a data set: does training a base on it move the base, and towards what?

    Args:
        rows: a file or folder in any format that `data convert` reads, or rows.
        base: the model that a student would start from; or a `Screener` of it, which has all up to ``suspects``.
        carrier: as ``Screener`` takes it; numbers where it is None, and rows of another kind are refused then,
            unless that reference is there.
        reference: as ``Screener`` takes it.
        suspects: as ``Screener`` takes them.
        alpha: chance of a false alarm of the whole screen.
        limit: screen at most this many rows, drawn at random from a file; of other rows the first ones.
        device: as ``Screener`` takes it.
        tree: receives each row that is read, so that its root names what was screened.
        advance: called with the number of rows scored, each time some were.
        key: digest of the rows; a screen of the same rows that was stopped resumes.

    Raises:
        InputError: if rows, base, reference or a suspect are wrong, or there are fewer than 100 rows.
    """
    check_alpha(alpha)
    found: Iterable[Row]
    if isinstance(rows, (str, Path)):  # a missing file is reported before any work
        sample, found = RowSample.of_file(rows, limit), read_rows(rows)
    else:
        sample, found = RowSample.of_file("-", limit), rows
    if isinstance(base, Screener):
        screener = base
    else:
        found = FirstRows(found, base, carrier, str(rows) if isinstance(rows, (str, Path)) else "FILE")
        screener = Screener(base, carrier or "numbers", reference, suspects, device, found.check)
    return screener.screen(found, alpha, sample, tree, advance, key)


def _hashed(rows: Iterable[Row], tree: RowsTree) -> Iterator[Row]:
    for row in rows:
        tree.add(row)
        yield row
