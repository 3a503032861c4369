"""runs: what was run, what each run differs in, and what came out."""

import math
from functools import partial
from pathlib import Path
from typing import Any

from lightning_subliminal.cli.positional import show_guide
from lightning_subliminal.core.errors import InputError

__all__ = ["COMMANDS", "guide", "show", "spelled"]

_GUIDE = """\
runs: what was run, what each run differs in from the others of its config, and what came out.

usage: lightning-subliminal runs list [DIR] [--json]

  DIR                    the folder that holds the runs, or one run (default runs)
  --json                 all of it as JSON on the standard output, and nothing else

Columns: what differs from the runs of the same config beside it, or was set on its command line; transfer (log-odds of
the target, student less control) and targeted transfer (beyond the mean change of the other answers, with the target's
rank by its change: 3/20 is third of 20), each with its 95 % interval below; when something was last written, and
whether the run is unfinished: the same command goes on with it. Behind a name stands what made it, where it was not
`fit`: plan (of `run`), evaluation, or python (`Trainer.fit` in a script).

examples:
  lightning-subliminal runs list
  lightning-subliminal runs list /data/runs --json | jq '.[] | select(.state == "unfinished") | .run'
"""
_BESIDE = 56  # characters that the other columns need at least
_MOST = 6  # differences that a table shows of a run


def show(folder: Path = Path("runs"), json: bool = False) -> None:
    """List runs.

    Args:
        folder: that holds the runs, or one run.
        json: print JSON alone.
    """
    import json as json_text

    from rich import box
    from rich.table import Table

    from lightning_subliminal.cli.support.run_listing import find_runs
    from lightning_subliminal.core.error_messages import counted
    from lightning_subliminal.core.safe_output import rich_console

    if folder == Path("runs") and not folder.exists():
        print("[]" if json else "no runs here yet: `lightning-subliminal fit --config owl_numbers` makes one")
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
            came_out = (_figure(run.results.get("transfer")), _targeted(run.results.get("targeted_transfer")))
            if run.kind == "plan":
                came_out = (_claims(run.results.get("claims")), "")
            date = f"{run.date:%Y-%m-%d %H:%M}" + ("" if run.state == "finished" else f"\n{run.state}")
            table.add_row(*map(_plain, (name, _differs(run.differs), *came_out, date)), style=style)
        least = max(map(len, names)) + _BESIDE  # a name that is cut can't be copied: rather a wide table
        rich_console(highlight=False, emoji=False, width=max(console.width, least)).print(table)
    unfinished = sum(run.state == "unfinished" for run in runs)
    warned = sum(bool(run.results.get("warnings")) for run in runs)
    told = [f"{counted(len(runs), 'run')} in {folder}"]
    told += [f"{unfinished} unfinished (the same command goes on)"] if unfinished else []
    told += [f"{warned} with warnings about their figures (results.json)"] if warned else []
    are = "is" if others == 1 else "are"
    told += [f"{counted(others, 'folder')} that no fit, run or evaluate has made {are} left out"] if others else []
    console.print("; ".join(told), markup=False, soft_wrap=True)


COMMANDS = {"list": show}
guide = partial(show_guide, _GUIDE, with_no_words=False)


def spelled(words: list[str]) -> list[str]:
    """Return the words as the parser takes them: a folder without an option before it, ``--json`` without a value."""
    rest = words[1:] if words[:1] in (["list"], ["ls"]) else words
    folders = [word for word in rest if not word.startswith("-")]
    if len(folders) > 1:
        raise InputError(f"`runs list` takes one folder, not {' and '.join(folders)}.")
    options = [f"{word}=true" if word == "--json" else word for word in rest if word.startswith("-")]
    return ["list", *(f"--folder={each}" for each in folders), *options]


def _plain(text: str) -> Any:
    from rich.text import Text

    return Text(text)  # brackets in a name are no markup


def _differs(told: dict[str, Any]) -> str:
    told = {{"seed_everything": "seed"}.get(key, key): value for key, value in told.items()}
    ends = [key.rpartition(".")[2] for key in told]
    names = [end if ends.count(end) == 1 else key for key, end in zip(told, ends, strict=True)]
    shown = [f"{name} {_short(value)}" for name, value in zip(names, told.values(), strict=True)][:_MOST]
    more = len(told) - len(shown)
    return "\n".join([*shown, *([f"and {more} more (--json)"] if more else [])]) or "-"


def _short(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "-" if value is None else str(value)


def _figure(told: Any) -> str:
    if not isinstance(told, dict) or not _is_number(told.get("log_odds")):
        return "-"
    ends = (told.get("low"), told.get("high"))
    between = f"\n{ends[0]:+.2f}..{ends[1]:+.2f}" if all(map(_is_number, ends)) else ""
    return f"{told['log_odds']:+.2f}{between}"


def _targeted(told: Any) -> str:
    shown = _figure(told)
    if shown == "-" or told.get("rank") is None:
        return shown
    middle, line, ends = shown.partition("\n")
    return f"{middle} ({told['rank']}/{told.get('of', '?')}){line}{ends}"


def _claims(told: Any) -> str:
    from collections import Counter

    counts = Counter(told.values()) if isinstance(told, dict) else {}
    return "\n".join(f"{count} {verdict}" for verdict, count in counts.items()) or "-"


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)
