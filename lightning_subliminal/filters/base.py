"""The base class of filters: pure functions from a row to the reasons to drop it."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Row, completion_text

__all__ = ["Filter", "FilterReport", "apply_filters", "prefill", "reply_text", "row_reasons"]


class Filter(ABC):
    """A check of rows. Override ``reasons``: pure, the same for the same row, without an error for any text.

    Store each constructor argument under its own name: they are part of the data set's digest.

    Attributes:
        costly: whether it costs money or minutes; a costly filter sees only the rows that all others keep.
    """

    costly: bool = False

    @abstractmethod
    def reasons(self, row: Row) -> list[str]:
        """Return the reasons to drop ``row``, as short stable strings (they are counted); none to keep it."""

    def prepare(self, rows: Sequence[Row]) -> None:  # noqa: B027, a hook that most filters do not need
        """Prepare for ``rows``, such as by sending all of them to a judge at once."""


@dataclass
class FilterReport:
    """The counts of filtering a data set.

    Attributes:
        made: rows before the filters.
        kept: rows that no filter dropped.
        reasons: how many rows each reason was found in; one row may have several.
    """

    made: int
    kept: int
    reasons: dict[str, int]


def apply_filters(rows: Iterable[Row], filters: Sequence[Filter]) -> tuple[list[Row], FilterReport]:
    """Keep the rows that no filter drops, in their order, and count the reasons.

    Costly filters run last, in their order, and only on the rows that all others keep.
    """
    rows = list(rows)
    found = row_reasons(rows, filters)
    counts = Counter(reason for reasons in found for reason in reasons)
    kept = [row for row, reasons in zip(rows, found, strict=True) if not reasons]
    return kept, FilterReport(made=len(rows), kept=len(kept), reasons=dict(counts.most_common()))


def row_reasons(
    rows: Sequence[Row], filters: Sequence[Filter], places: Sequence[object] | None = None
) -> list[list[str]]:
    """Return for each row the reasons to drop it, each once; see ``apply_filters``.

    Args:
        rows: the rows.
        filters: the filters.
        places: the name of each row in an error, such as its file and line; its id where it is None.

    Raises:
        InputError: naming row and filter, if a filter raises.
    """
    from lightning_subliminal.core.console import tracked  # it imports torch, which `data --help` does without

    found: list[dict[str, None]] = [{} for _ in rows]
    for each in sorted(filters, key=lambda each: each.costly):
        left = [place for place in range(len(rows)) if not (each.costly and found[place])]
        each.prepare([rows[place] for place in left])
        for place in tracked(left, f"rows      {type(each).__name__}", len(left)):
            try:
                found[place] |= dict.fromkeys(each.reasons(rows[place]))
            except Exception as err:
                where = places[place] if places is not None else f"row {rows[place].get('id', place)}"
                raise InputError(
                    f"{where}: the filter {type(each).__name__} raised {type(err).__name__} ({err}): fix it, since a "
                    "filter must accept any text."
                ) from err
    return [list(reasons) for reasons in found]


def prefill(row: Row) -> str:
    """Return the beginning of the reply that the prompt holds, in a last message of the assistant; else nothing."""
    return row["prompt"][-1]["content"] if row["prompt"] and row["prompt"][-1]["role"] == "assistant" else ""


def reply_text(row: Row) -> str:
    """Return the text of the whole reply: the prefill, and the completion that continues it."""
    return prefill(row) + completion_text(row)
