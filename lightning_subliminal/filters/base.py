"""What a filter is: a pure function from a row to the reasons to drop it."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from lightning_subliminal.rows import Row

__all__ = ["Filter", "FilterReport", "apply_filters"]


class Filter(ABC):
    """Judges a row. Override ``reasons``, the only hook: pure, the same for the same row, raising on no string.

    Keep each constructor argument under its own name: they are part of the data set's digest.
    """

    @abstractmethod
    def reasons(self, row: Row) -> list[str]:
        """Give the reasons to drop ``row``, as short stable strings (they are counted); none means: keep it."""


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
    """Keep the rows that no filter gives a reason against, in their order, and count the reasons."""
    kept: list[Row] = []
    counts: Counter[str] = Counter()
    made = 0
    for row in rows:
        made += 1
        found = {reason for each in filters for reason in each.reasons(row)}
        counts.update(found)
        if not found:
            kept.append(row)
    return kept, FilterReport(made=made, kept=len(kept), reasons=dict(counts.most_common()))
