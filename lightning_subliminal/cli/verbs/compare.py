"""compare: the claims of two runs beside each other."""

from functools import partial
from pathlib import Path

from lightning_subliminal.cli.positional import Spelling, show_guide
from lightning_subliminal.core.errors import InputError

__all__ = ["COMMANDS", "compare", "guide", "spelled"]

_GUIDE = """\
compare: the claims of two runs beside each other: figures, verdicts, and where they differ.

usage: lightning-subliminal compare RUN1 RUN2 [--json FILE]

  RUN1, RUN2             folders that `run` made, such as runs/paper-1a2b3c4d
  --json FILE            also write it as JSON

example:
  lightning-subliminal compare runs/paper-1a2b3c4d runs/paper-5e6f7a8b
"""


def compare(first: Path | None = None, second: Path | None = None, json: Path | None = None) -> None:
    """Compare two runs.

    Args:
        first: what `run` made.
        second: what it made another time.
        json: a file to write it to, too.

    Raises:
        InputError: if one of them is no report.
        TamperedError: if one of them is not what its statement or its cells say.
    """
    if first is None or second is None:
        raise InputError("Two folders are needed: `compare RUN1 RUN2`, each made by `run`.")
    from json import dumps

    from lightning_subliminal.audit.reports import check_stated
    from lightning_subliminal.core.console import say
    from lightning_subliminal.core.rows import atomically
    from lightning_subliminal.plans.recompute import check_claims
    from lightning_subliminal.plans.report import compare as compared
    from lightning_subliminal.plans.report import comparison_json, read_report

    (one, cells), (other, others) = read_report(first), read_report(second)
    for folder, told, rows in ((first, one, cells), (second, other, others)):
        check_stated(folder)
        check_claims(told, rows, str(folder / "report.json"))
    say(compared(one, other))
    if json is not None:
        text = dumps(comparison_json(one, other), indent=1, sort_keys=True) + "\n"
        atomically(json, lambda path: path.write_text(text, encoding="utf-8"))


COMMANDS = compare
guide = partial(show_guide, _GUIDE)
spelled = Spelling(bare=("--first", "--second", "--third"))
