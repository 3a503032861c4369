"""compare: compare the claims of two runs."""

from pathlib import Path

from lightning_subliminal.cli.verb import Verb

__all__ = ["VERB", "compare"]


def compare(first: Path, second: Path, json: Path | None = None) -> None:
    """Compare the claims of two runs: figures, verdicts, and where they differ.

    Args:
        first: a folder that `run` made, such as runs/paper-1a2b3c4d
        second: another one
        json: also write the comparison to this file as JSON

    Raises:
        InputError: if one of them holds no report.
        TamperedError: if one of them differs from its statement or its cells.
    """
    from json import dumps

    from lightning_subliminal.audit.reports import check_stated
    from lightning_subliminal.core.console import say
    from lightning_subliminal.core.rows import atomically
    from lightning_subliminal.plans.recompute import check_claims
    from lightning_subliminal.plans.report import compare as compared
    from lightning_subliminal.plans.report import comparison_json, read_report

    (one, cells), (other, others) = read_report(first), read_report(second)
    for folder, report, rows in ((first, one, cells), (second, other, others)):
        check_stated(folder)
        check_claims(report, rows, str(folder / "report.json"))
    say(compared(one, other))
    if json is not None:
        text = dumps(comparison_json(one, other), indent=1, sort_keys=True) + "\n"
        atomically(json, lambda path: path.write_text(text, encoding="utf-8"))


VERB = Verb(compare, ["compare runs/paper-1a2b3c4d runs/paper-5e6f7a8b"], ["RUN1", "RUN2"], ["--json FILE"])
