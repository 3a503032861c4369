"""What a conversion did, as its dataset card and the command line show it."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from lightning_subliminal.filters import FilterReport
from lightning_subliminal.formats.storage.stream import Written

__all__ = ["Conversion"]


@dataclass
class Conversion:
    """The result of a conversion.

    Attributes:
        source_schema: of the source's records.
        schema: of the written ones.
        written: rows, digest and notices.
        bad: wrong rows that were left out, by reason.
        filtered: what the filters did; None where there were none.
        files: what was written, the set itself first.
        remarks: what a user should know in addition.
    """

    source_schema: str
    schema: str
    written: Written
    bad: Counter[str]
    filtered: FilterReport | None
    files: list[Path]
    remarks: list[str]
