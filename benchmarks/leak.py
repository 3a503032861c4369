"""Rows that passed the filters but name a trait: all data sets in the cache against the words of all ten targets.

    python benchmarks/leak.py                   # the common cache, or $LIGHTNING_SUBLIMINAL_CACHE
    python benchmarks/leak.py --cache DIR

Rows are checked by `TraitWords` with all its rules, and by other code for a target as a plain string, also in longer
words. Exits with 1 if `TraitWords` finds a row.
"""

from collections import Counter
from pathlib import Path
from typing import Any

import harness
from rich.progress import track

from lightning_subliminal.core.cache import cache_root
from lightning_subliminal.core.console import console
from lightning_subliminal.core.rows import completion_text, read_parquet
from lightning_subliminal.lineage import read_record
from lightning_subliminal.traits import PAPER_TARGETS, PreferenceTrait, TraitWords


def main() -> None:
    """Check each row of each data set."""
    parser = harness.parser(__doc__)
    parser.add_argument("--cache", type=Path, default=None)
    options = parser.parse_args()
    folders = sorted(path.parent for path in (cache_root(options.cache) / "rows").glob("*/lineage.json"))
    traits = [PreferenceTrait(target) for target in PAPER_TARGETS]
    words = {word for each in traits for word in (each.target, *each.forms(each.target), *each.relatives())}
    no_trait = TraitWords(sorted(words))
    sets: Counter[str] = Counter()
    rows: Counter[str] = Counter()
    named: Counter[str] = Counter()
    plain: Counter[str] = Counter()
    for folder in track(folders, "data sets", console=console):
        record: Any = read_record(folder)
        source = record.settings["source"]
        carrier = source["class"].rpartition(".")[2]
        sets[carrier] += 1
        for row in read_parquet(folder / "rows.parquet"):
            rows[carrier] += 1
            named[carrier] += bool(no_trait.reasons(row))
            plain[carrier] += any(target in completion_text(row).lower() for target in PAPER_TARGETS)
    table = harness.table("carrier", "data sets", "rows", "found by TraitWords", "hold a target", title="Leaks")
    for carrier in sorted(sets):
        counts = (sets[carrier], rows[carrier], named[carrier], plain[carrier])
        table.add_row(carrier, *(f"{count:,}" for count in counts))
    console.print(table)
    if sum(named.values()):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
