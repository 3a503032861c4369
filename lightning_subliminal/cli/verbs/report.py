"""report: make a run's report again, from its report.json and cells.csv alone."""

from functools import partial
from pathlib import Path

from lightning_subliminal.cli.positional import Spelling, show_guide
from lightning_subliminal.core.errors import InputError

__all__ = ["COMMANDS", "guide", "report", "spelled"]

_GUIDE = """\
report: make a run's report again: report.html, the figures and the tables, from its report.json and cells.csv.

usage: lightning-subliminal report DIR [--out DIR] [--markdown FILE]

  DIR                    what `run` made, such as runs/paper-1a2b3c4d
  --out DIR              where to put it instead
  --markdown FILE        also write the claims as a Markdown table

report.json and cells.csv must be what the statement beside them says, and each claim is computed once more from
cells.csv. With LIGHTNING_SUBLIMINAL_SIGNING_KEY set, what this key had signed is signed again, and nothing else.

exit codes: 0 it is made, 2 the command was wrong or a file is damaged, 3 report.json, cells.csv or the statement was
changed, or a claim is not what its cells give (nothing is written then)

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
        TamperedError: if it is not what its statement or its cells say.
    """
    from lightning_subliminal.audit.reports import check_stated, may_sign
    from lightning_subliminal.core.console import say
    from lightning_subliminal.core.rows import atomically
    from lightning_subliminal.plans.execution.progress import claims_table
    from lightning_subliminal.plans.recompute import check_claims
    from lightning_subliminal.plans.report import (
        claims_markdown,
        read_report,
        record_again,
        write_report,
    )

    if folder is None:
        raise InputError("The folder is missing: give one that `run` made, such as runs/paper-1a2b3c4d.")
    told, cells = read_report(folder)
    check_stated(folder)
    if unknown := check_claims(told, cells, str(folder / "report.json")):
        say(f"{unknown} of {len(told['claims'])} claims do not say which cells they are about: not computed again")
    reason = may_sign(folder)
    page = write_report(told, cells, out or folder)
    record_again(out or folder, folder, sign=not reason)
    if reason:
        say(f"not signed: {reason}; `lineage sign` signs after an audit")
    if told["claims"]:
        say(claims_table(told["claims"]))
    if markdown is not None:
        atomically(markdown, lambda path: path.write_text(claims_markdown(told), encoding="utf-8"))
    say(f"{page}")


COMMANDS = report
guide = partial(show_guide, _GUIDE)
spelled = Spelling(bare=("--folder",))
