"""What a conversion did: told at the terminal, and written into the dataset card."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from lightning_subliminal.filters import FilterReport
from lightning_subliminal.formats.storage.stream import Written

__all__ = ["Outcome"]


@dataclass
class Outcome:
    """What a conversion did.

    Attributes:
        source_schema: how the source's records were spelled.
        schema: how the written ones are.
        written: rows, digest and notices.
        bad: wrong rows left out, by reason.
        filtered: what the filters did; None where there were none.
        files: what was written, the set itself first.
        remarks: what a user should know besides.
    """

    source_schema: str
    schema: str
    written: Written
    bad: Counter[str]
    filtered: FilterReport | None
    files: list[Path]
    remarks: list[str]
