"""Output of ``data``: tables of figures and reasons, and a line for each notice."""

import json
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from lightning_subliminal.core.error_messages import counted

if TYPE_CHECKING:
    from rich.console import Console

    from lightning_subliminal.formats.conversion import Conversion
    from lightning_subliminal.formats.storage.stream import Report

__all__ = ["print_figures", "print_notices", "print_outcome"]


def print_outcome(outcome: "Conversion", out: str) -> None:
    """Print what was written, changed and left out; to standard error if the rows are on standard output."""
    from lightning_subliminal.core.safe_output import rich_console

    console = rich_console(highlight=False, emoji=False, stderr=out == "-")
    written, report = outcome.written, outcome.filtered
    if report is not None:
        reasons = [(reason, f"{count:,}", _percent(count / report.made)) for reason, count in report.reasons.items()]
        title = f"{counted(report.made, 'row')}, {report.kept:,} kept ({_percent(report.kept / report.made)})"
        if reasons:
            _table(title, ("dropped because", "rows", "share"), reasons, console)
            _line("a row may count for several reasons", console)
        else:
            _line(f"{title}: no filter gave a reason", console)
    _line(f"{out}: {counted(written.rows, 'row')}, {outcome.source_schema} to {outcome.schema}", console)
    for notice, count in written.notices.most_common():
        _line(f"notice: {count:,} x {notice}", console)
    for reason, count in outcome.bad.most_common():
        _line(f"notice: {count:,} x left out, {reason}", console)
    if bad := sum(outcome.bad.values()):
        read = written.rows + bad + (report.made - report.kept if report is not None else 0)
        _line(f"notice: {bad:,} of {counted(read, 'row')} left out", console)
    for path in outcome.files[1:]:
        _line(f"also written: {path}", console)
    for remark in outcome.remarks:
        _line(f"notice: {remark}", console)
    _line(f"rows digest: {written.digest}", console)


def print_figures(figures: dict[str, Any], console: "Console") -> None:
    """Print the figures of a data set."""
    turns = ", ".join(f"{turns}: {count:,}" for turns, count in figures["messages a row"].items())
    columns = ", ".join(f"{name} ({count:,})" for name, count in figures["columns"].items())
    pairs = [
        ("rows", f"{figures['rows']:,}"),
        ("wrong rows", f"{sum(figures['wrong rows'].values()):,}"),
        ("schema", f"{figures['schema']} in {figures['container']}"),
        ("messages a row: rows", turns),
        ("rows with a system turn", f"{figures['rows with a system turn']:,}"),
        ("rows with a prefill", f"{figures['rows with a prefill']:,}"),
        ("rows cut off (finished: false)", f"{figures['rows cut off']:,}"),
        ("rows with a thought (<think>)", f"{figures['rows with a thought']:,}"),
        ("meta columns (rows)", columns or "none"),
        *((f"repeated {name}", _percent(share)) for name, share in figures["repeated"].items()),
        ("empty completions", _percent(figures["empty completions"])),
        ("completions that are number lists", _percent(figures["number lists"])),
    ]
    _table(figures["source"], ("figure", "value"), pairs, console)
    names = list(next(iter(figures["lengths"].values())))
    lengths = [(part, *(f"{found[name]:,}" for name in names)) for part, found in figures["lengths"].items()]
    _table("Lengths", ("part", *names), lengths, console)
    words = [(json.dumps(word, ensure_ascii=True), _percent(share)) for word, share in figures["first words"].items()]
    _table("First words of completions", ("word", "share"), words, console)
    _line(f"rows digest: {figures['digest']}", console)


def print_notices(report: "Report", console: "Console") -> None:
    """Print what reading changed or left out."""
    for line in report.lines():
        _line(f"notice: {line}", console)


def _table(title: str, head: Iterable[str], rows: Iterable[tuple[str, ...]], console: "Console") -> None:
    from rich.table import Table
    from rich.text import Text

    from lightning_subliminal.formats.row_errors import printable

    table = Table(*head, title=Text(title), title_justify="left")
    for cells in rows:
        table.add_row(*(Text(printable(cell)) for cell in cells))  # a word or a reason in brackets is not markup
    console.print(table)


def _line(text: str, console: "Console") -> None:
    from lightning_subliminal.formats.row_errors import printable

    console.print(printable(text), markup=False, soft_wrap=True)


def _percent(share: float) -> str:
    return f"{share:.2%}"
