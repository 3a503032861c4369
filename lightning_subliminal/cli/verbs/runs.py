"""runs: list runs, how they differ, and their results."""

import math
from collections import Counter
from pathlib import Path
from typing import Any

from lightning_subliminal.cli.verb import Group, Verb

__all__ = ["VERB", "show"]

_OTHER_COLUMNS = 56  # characters that the columns after the name need
_MAX_DIFFERENCES = 6  # shown of a run in the table


def show(folder: Path = Path("runs"), json: bool = False) -> None:
    """List runs, how each differs from the others of its config, and its results.

    Args:
        folder: the folder of the runs, or one run.
        json: print everything as JSON, and nothing else.
    """
    import json as json_text

    from rich import box
    from rich.table import Table

    from lightning_subliminal.cli.support.run_listing import find_runs
    from lightning_subliminal.core.error_messages import counted
    from lightning_subliminal.core.safe_output import rich_console

    if folder == Path("runs") and not folder.exists():
        print("[]" if json else "no runs yet: `lightning-subliminal fit --config owl_numbers` makes one")
        return
    runs, others = find_runs(folder)
    if json:
        print(json_text.dumps([run.as_json() for run in runs], indent=1, ensure_ascii=False, default=str))
        return
    console = rich_console(highlight=False, emoji=False)
    if runs:
        names = [run.folder.name + ("" if run.kind == "fit" else f" ({run.kind})") for run in runs]
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
        table.add_column("run", no_wrap=True)
        table.add_column("differs in", overflow="fold", min_width=10)
        for column in ("transfer", "targeted"):
            table.add_column(column, justify="right", no_wrap=True)
        table.add_column("last written", min_width=12)
        for run, name in zip(runs, names, strict=True):
            style = {"finished": "", "unfinished": "yellow"}.get(run.state, "red")
            results = (_figure(run.results.get("transfer")), _figure(run.results.get("targeted_transfer")))
            if run.kind == "plan":
                results = (_claims(run.results.get("claims")), "")
            date = f"{run.date:%Y-%m-%d %H:%M}" + ("" if run.state == "finished" else f"\n{run.state}")
            table.add_row(*map(_plain, (name, _differs(run.differs), *results, date)), style=style)
        least = max(map(len, names)) + _OTHER_COLUMNS  # a name that is cut can't be copied, so the table may be wide
        rich_console(highlight=False, emoji=False, width=max(console.width, least)).print(table)
    unfinished = sum(run.state == "unfinished" for run in runs)
    warned = sum(bool(run.results.get("warnings")) for run in runs)
    parts = [f"{counted(len(runs), 'run')} in {folder}"]
    parts += [f"{unfinished} unfinished (the same command resumes)"] if unfinished else []
    parts += [f"{warned} with warnings about their figures (results.json)"] if warned else []
    are = "is" if others == 1 else "are"
    parts += [f"{counted(others, 'folder')} that no fit, run or evaluate made {are} left out"] if others else []
    console.print("; ".join(parts), markup=False, soft_wrap=True)


VERB = Group(
    "list runs: how each differs from the others of its config, and its results",
    {
        "list": Verb(
            show,
            ["runs list", """runs list --json | jq '.[] | select(.state == "unfinished") | .run'"""],
            ["DIR"],
            ["--json"],
            """\
Columns: settings that differ from other runs of the config, or were set on the command line; transfer
(log-odds of the target, student minus control) and targeted transfer (beyond the mean change of the
other answers, with the target's rank by its change: 3/20 is third of 20), each above its 95 %
interval; time of the last write, and whether the run is unfinished: the same command resumes it. A
run that `fit` did not make has its kind after its name: plan (`run`), evaluation, or python
(`Trainer.fit` in a script).
""",
        )
    },
    ["runs", "runs list /data/runs --json"],
    default="list",
)


def _plain(text: str) -> Any:
    from rich.text import Text

    return Text(text)  # brackets in a name are not markup


def _differs(settings: dict[str, Any]) -> str:
    settings = {{"seed_everything": "seed"}.get(key, key): value for key, value in settings.items()}
    ends = [key.rpartition(".")[2] for key in settings]
    names = [end if ends.count(end) == 1 else key for key, end in zip(settings, ends, strict=True)]
    shown = [f"{name} {_short(value)}" for name, value in zip(names, settings.values(), strict=True)]
    shown = shown[:_MAX_DIFFERENCES]
    more = len(settings) - len(shown)
    return "\n".join([*shown, *([f"and {more} more (--json)"] if more else [])]) or "-"


def _short(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "-" if value is None else str(value)


def _figure(transfer: Any) -> str:
    if not isinstance(transfer, dict) or not _is_number(transfer.get("log_odds")):
        return "-"
    ends = (transfer.get("low"), transfer.get("high"))
    between = f"\n{ends[0]:+.2f}..{ends[1]:+.2f}" if all(map(_is_number, ends)) else ""
    rank = f" ({transfer['rank']}/{transfer.get('of', '?')})" if transfer.get("rank") is not None else ""
    return f"{transfer['log_odds']:+.2f}{rank}{between}"


def _claims(verdicts: Any) -> str:
    counts = Counter(verdicts.values()) if isinstance(verdicts, dict) else {}
    return "\n".join(f"{count} {verdict}" for verdict, count in counts.items()) or "-"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
