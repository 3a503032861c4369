"""screen watch: read rows until the evidence for a suspect suffices."""

from pathlib import Path
from typing import Any

from lightning_subliminal.core.errors import InputError, check_alpha

__all__ = ["watch"]

CHUNK = 256  # rows between two looks at the evidence
FOUND = 3


def watch(
    rows: Path,
    base: str,
    suspect: list[str],
    carrier: str | None = None,
    reference: Path | None = None,
    alpha: float = 0.01,
    limit: int | None = None,
    json: bool = False,
) -> None:
    """Read rows of a stream until the evidence for a suspect suffices.

    Args:
        rows: a file in any format that `data convert` reads, or - for JSON lines from the standard input.
        base: the model that a student would start from.
        suspect: a model to look for, as `screen` takes it; may be repeated.
        carrier: numbers, code or math; or a config of `fit`. By default numbers.
        reference: a file of `screen reference`.
        alpha: chance that clean rows ever give an alarm, for all suspects together.
        limit: read at most this many rows.
        json: print JSON and no table.

    Raises:
        InputError: if rows, base or suspects are wrong, or no suspect is detected and more than 1 % of the rows have
            no score; with exit code 3 if a suspect is detected.
    """
    check_alpha(alpha)
    if limit is not None and limit < 1:
        raise InputError(f"--limit is {limit}: expected at least 1.")

    import json as json_text
    from collections import Counter
    from itertools import islice

    from lightning_subliminal.core.console import aside, hush, progress, say
    from lightning_subliminal.formats import read_rows
    from lightning_subliminal.plans.screening import Screener
    from lightning_subliminal.plans.screening.first_rows import FirstRows
    from lightning_subliminal.screening.screen import unscored
    from lightning_subliminal.screening.sequential import SequentialTest, likelihood_ratios

    hush()
    with aside(json):
        stream = FirstRows(read_rows(rows), base, carrier, str(rows))  # a missing file is reported before any work
        screener = Screener(base, carrier or "numbers", reference, suspect, check=stream.check)
        if screener.suspects is None:
            raise InputError("--suspect is empty: expected NAME=PLACE of a model to look for, as `screen` takes it.")
        test = SequentialTest(screener.suspects.names, alpha)
        given = islice(stream, limit)
        skipped, unread = 0, Counter[str]()
        with progress() as bar:
            task = bar.add_task("watch", total=limit)
            while not test.alarmed and (part := list(islice(given, CHUNK))):
                directions = screener.suspects.directions
                for ratios in likelihood_ratios(screener.space, screener.tokenizer, part, directions, unread=unread):
                    test.add(ratios)
                    skipped += int(ratios.isnan().any(1).sum())
                bar.advance(task, len(part))
    if not test.rows:
        raise InputError(f"There are 0 rows to score ({skipped:,} skipped): expected at least 1.")
    found = sorted(test.evidence(), key=lambda each: -each.log_e)
    if json:
        data = {"rows": test.rows, "skipped": skipped, "unread": dict(unread.most_common()), "alpha": alpha}
        data["suspects"] = [each._asdict() for each in found]
        print(json_text.dumps(data))
    else:
        say(_table(found, test.rows))
        first = next((each for each in found if each.detected), None)
        say(
            f"verdict: {first.name} after {first.detected:,} rows (false alarms: {alpha:g}, whenever one stops)"
            if first is not None and first.detected is not None
            else f"verdict: no suspect detected in {test.rows:,} rows"
        )
    if test.alarmed:
        raise SystemExit(FOUND)
    if (gap := unscored(test.rows, skipped, unread)) is not None:
        raise InputError(f"{rows}: {gap}, so nothing is known of them: take them out, and watch again.")


def _table(found: Any, rows: int) -> Any:
    from math import log

    from rich.table import Table

    table = Table(title=f"evidence after {rows:,} rows")
    table.add_column("suspect", overflow="fold")
    for name in ("evidence", "detected after"):
        table.add_column(name, justify="right")
    for each in found:
        table.add_row(each.name, f"10^{each.log_e / log(10):+.1f}", f"{each.detected:,} rows" if each.detected else "-")
    return table
