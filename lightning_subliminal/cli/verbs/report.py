"""report: write a run's report again, from its report.json and cells.csv alone."""

from pathlib import Path

from lightning_subliminal.cli.verb import Verb

__all__ = ["VERB", "report"]


def report(folder: Path, out: Path | None = None, markdown: Path | None = None) -> None:
    """Write a run's report again: report.html, figures and tables, from its report.json and cells.csv.

    Args:
        folder: a folder that `run` made, such as runs/paper-1a2b3c4d
        out: write to this folder instead
        markdown: also write the claims to this file as a Markdown table

    Raises:
        InputError: if there is no report, or it is damaged.
        TamperedError: if it differs from its statement or its cells.
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

    content, cells = read_report(folder)
    check_stated(folder)
    if unknown := check_claims(content, cells, str(folder / "report.json")):
        say(f"{unknown} of {len(content['claims'])} claims do not name their cells: not recomputed")
    reason = may_sign(folder)
    page = write_report(content, cells, out or folder)
    record_again(out or folder, folder, sign=not reason)
    if reason:
        say(f"not signed: {reason}; `lineage sign` signs after an audit")
    if content["claims"]:
        say(claims_table(content["claims"]))
    if markdown is not None:
        atomically(markdown, lambda path: path.write_text(claims_markdown(content), encoding="utf-8"))
    say(str(page))


VERB = Verb(
    report,
    ["report runs/paper-1a2b3c4d", "report runs/paper-1a2b3c4d --markdown claims.md"],
    ["DIR"],
    ["--out DIR", "--markdown FILE"],
    """\
report.json and cells.csv must match their statement, and each claim is recomputed from
cells.csv. With LIGHTNING_SUBLIMINAL_SIGNING_KEY set, what this key had signed is signed again, and
nothing else.

exit codes: 0 written; 2 the command was wrong or a file is damaged; 3 report.json, cells.csv or the
statement was changed, or a claim differs from what its cells give (nothing is written then)
""",
)
