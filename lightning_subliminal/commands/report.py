"""report: make a run's report again, from its report.json and cells.csv alone."""

from pathlib import Path

from lightning_subliminal.errors import InputError

__all__ = ["COMMANDS", "guide", "report", "spelled"]

_GUIDE = """\
report: make a run's report again: report.html, the figures and the tables, from its report.json and cells.csv.

usage: lightning-subliminal report DIR [--out DIR] [--markdown FILE]

  DIR                    what `run` made, such as runs/paper-1a2b3c4d
  --out DIR              where to put it instead
  --markdown FILE        also write the claims as a Markdown table

example:
  lightning-subliminal report runs/paper-1a2b3c4d --markdown claims.md
"""


def report(folder: Path | None = None, out: Path | None = None, markdown: Path | None = None) -> None:
    """Make a report again.

    Args:
        folder: what `run` made.
        out: where to put it; the same folder where it is None.
        markdown: a file for the claims as a table.

    Raises:
        InputError: if there is no report, or it is damaged.
    """
    from lightning_subliminal.console import say
    from lightning_subliminal.experiments.report import claims_markdown, read_report, record_again, write_report
    from lightning_subliminal.experiments.showing import claims_table
    from lightning_subliminal.rows import atomically

    if folder is None:
        raise InputError("The folder is missing: give one that `run` made, such as runs/paper-1a2b3c4d.")
    told, cells = read_report(folder)
    page = write_report(told, cells, out or folder)
    record_again(out or folder, folder)
    if told["claims"]:
        say(claims_table(told["claims"]))
    if markdown is not None:
        atomically(markdown, lambda path: path.write_text(claims_markdown(told), encoding="utf-8"))
    say(f"{page}")


COMMANDS = report


def guide(words: list[str]) -> str | None:
    """Give the help; None where there is work to do."""
    return _GUIDE if not words or {"--help", "-h"} & set(words) else None


def spelled(words: list[str]) -> list[str]:
    """Give the words as the parser takes them: a folder without an option before it."""
    return [f"--folder={word}" if place == 0 and not word.startswith("-") else word for place, word in enumerate(words)]
