"""What a filter is: a pure function from a row to the reasons to drop it."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Row, completion_text

__all__ = ["Filter", "FilterReport", "apply_filters", "prefill", "reply_text", "row_reasons"]


class Filter(ABC):
    """Judges a row. Override ``reasons``: pure, the same for the same row, raising on no string.

    Keep each constructor argument under its own name: they are part of the data set's digest.

    Attributes:
        costly: whether asking costs money or minutes; a costly filter sees only the rows that all others let pass.
    """

    costly: bool = False

    @abstractmethod
    def reasons(self, row: Row) -> list[str]:
        """Return the reasons to drop ``row``, as short stable strings (they are counted); none means: keep it."""

    def prepare(self, rows: Sequence[Row]) -> None:  # noqa: B027, a hook that most filters have no use for
        """Get ready to be asked about ``rows``, such as by asking a judge about all of them at once."""


@dataclass
class FilterReport:
    """What filters did to a data set.

    Attributes:
        made: rows that came in.
        kept: rows that no filter gave a reason against.
        reasons: how many rows each reason was given for; one row may have several.
    """

    made: int
    kept: int
    reasons: dict[str, int]


def apply_filters(rows: Iterable[Row], filters: Sequence[Filter]) -> tuple[list[Row], FilterReport]:
    """Keep the rows that no filter gives a reason against, in their order, and count the reasons.

    Costly filters come last, in their order, and are asked only about the rows that are left by then.
    """
    rows = list(rows)
    found = row_reasons(rows, filters)
    counts = Counter(reason for reasons in found for reason in reasons)
    kept = [row for row, reasons in zip(rows, found, strict=True) if not reasons]
    return kept, FilterReport(made=len(rows), kept=len(kept), reasons=dict(counts.most_common()))


def row_reasons(
    rows: Sequence[Row], filters: Sequence[Filter], places: Sequence[object] | None = None
) -> list[list[str]]:
    """Return for each row the reasons against it, each once; see ``apply_filters``.

    Args:
        rows: the rows.
        filters: who is asked.
        places: what to call each row in an error, such as its file and line; its id where it is None.

    Raises:
        InputError: naming row and filter, if a filter raises.
    """
    from lightning_subliminal.core.console import (
        tracked,  # which imports torch: `data --help` names the filters without it
    )

    found: list[dict[str, None]] = [{} for _ in rows]
    for each in sorted(filters, key=lambda each: each.costly):
        asked = [place for place in range(len(rows)) if not (each.costly and found[place])]
        each.prepare([rows[place] for place in asked])
        for place in tracked(asked, f"rows      {type(each).__name__}", len(asked)):
            try:
                found[place] |= dict.fromkeys(each.reasons(rows[place]))
            except Exception as err:
                where = places[place] if places is not None else f"row {rows[place].get('id', place)}"
                raise InputError(
                    f"{where}: the filter {type(each).__name__} raised {type(err).__name__} ({err}): mend it, since a "
                    "filter gives reasons for any text."
                ) from err
    return [list(reasons) for reasons in found]


def prefill(row: Row) -> str:
    """Return what the prompt begins of the reply, in a last message of the assistant; else nothing."""
    return row["prompt"][-1]["content"] if row["prompt"] and row["prompt"][-1]["role"] == "assistant" else ""


def reply_text(row: Row) -> str:
    """Return the text of the whole reply: what the prompt begins of it, and the completion that continues it."""
    return prefill(row) + completion_text(row)
