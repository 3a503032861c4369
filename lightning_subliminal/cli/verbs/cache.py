"""cache: list the artefacts of stages with the runs that need them, and delete those that no run needs."""

import re
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_subliminal.cli.verb import Group, Verb
from lightning_subliminal.core.error_messages import counted
from lightning_subliminal.core.errors import InputError, known_name

if TYPE_CHECKING:
    from lightning_subliminal.cli.support.cache_entries import Entry, Needs

__all__ = ["VERB", "clean", "ls"]

_MAX_LISTED = 30
_HOUR = 3600.0
_AGES = {"h": _HOUR, "d": 24 * _HOUR, "w": 7 * 24 * _HOUR}


def ls(kind: list[str] = [], runs: list[Path] = [], all: bool = False, json: bool = False) -> None:  # noqa: B006
    """List the 30 largest entries of the cache, with their sizes and the runs that need them.

    Args:
        kind: only teachers, completions, rows, students, measured, bases, outcomes, judges, served or digests; may
            be repeated.
        runs: further runs, or a folder that holds some; may be repeated. Runs in ./runs and those that `fit` and `run`
            made with this cache are known.
        all: show each entry.
        json: print everything as JSON, and nothing else.
    """
    from lightning_subliminal.cli.support.cache_entries import KEPT_NOTES
    from lightning_subliminal.core.cache import cache_root

    found, known = _look(kind, runs)
    if json:
        _print_json({"cache": str(cache_root()), "entries": [each.as_json() for each in found]})
        return
    shown = sorted(found, key=lambda each: -each.size)
    shown = shown if all else [each for each in shown if each.kind not in KEPT_NOTES or kind][:_MAX_LISTED]
    _print_table(f"Cache {cache_root()}, largest first", shown)
    if hidden := len(found) - len(shown):
        size = sum(each.size for each in found) - sum(each.size for each in shown)
        print(f"and {hidden} more, {_size(size)} (--all shows each)")
    for name, count in Counter(each.kind for each in found).items():
        mine = [each for each in found if each.kind == name]
        free = [each for each in mine if name not in KEPT_NOTES and not each.runs and each.ours]
        unneeded = f"; no run needs {len(free)} of them, {_size(sum(each.size for each in free))}" if free else ""
        print(f"{name:12} {count:5d}  {_size(sum(each.size for each in mine)):>9}{unneeded}")
    print(f"{'all':12} {len(found):5d}  {_size(sum(each.size for each in found)):>9}; {_known(known)}")


def clean(
    kind: list[str] = [],  # noqa: B006
    runs: list[Path] = [],  # noqa: B006
    older_than: str | None = None,
    yes: bool = False,
    json: bool = False,
) -> None:
    """Show which entries no run needs, and delete them if asked to.

    Args:
        kind: only teachers, completions, rows, students, measured, bases, outcomes, judges, served or digests; may
            be repeated.
        runs: further runs, or a folder that holds some; may be repeated. Runs in ./runs and those that `fit` and `run`
            made with this cache are known.
        older_than: only entries last written so long ago, such as 12h, 30d or 8w.
        yes: delete; without it nothing is deleted.
        json: print everything as JSON, and nothing else.

    Raises:
        InputError: if an age or a kind is not valid, or the needs of an unfinished run are unknown.
    """
    from lightning_subliminal.cli.support.cache_entries import KEPT_NOTES, delete
    from lightning_subliminal.core.cache import cache_root

    least = _age(older_than) if older_than is not None else 0.0
    found, known = _look(kind, runs)
    if known.unknown:
        run, why = next(iter(known.unknown.items()))
        raise InputError(f"{run} is unfinished, and what it needs is unknown ({why}): finish it or delete its folder.")
    now = time.time()
    kept: Counter[str] = Counter()
    doomed: list[Entry] = []
    for each in found:
        if each.kind in KEPT_NOTES and not kind:
            continue
        if not each.ours:
            kept["that no stage has made"] += 1
        elif each.locked:
            kept["that a lock holds"] += 1
        elif each.runs:
            kept["that runs need"] += 1
        elif not each.whole and now - each.changed < _HOUR:
            kept["unfinished, written within the hour"] += 1
        elif now - each.changed < least:
            kept[f"younger than {older_than}"] += 1
        else:
            doomed.append(each)
    if yes:
        gone = [each for each in doomed if delete(each)]
        if len(gone) < len(doomed):
            kept["that a lock holds"] += len(doomed) - len(gone)
        doomed = gone
    size = sum(each.size for each in doomed)
    if json:
        entries = [each.as_json() for each in doomed]
        _print_json({"cache": str(cache_root()), "deleted": yes, "bytes": size, "entries": entries, "kept": dict(kept)})
        return
    if doomed:
        _print_table(f"{'Deleted' if yes else 'Would be deleted'} from {cache_root()}", doomed)
    if kept:
        print(f"kept: {', '.join(f'{count} {why}' for why, count in kept.items())}")
    what = f"{counted(len(doomed), 'entry', 'entries')}, {_size(size)} of {cache_root()}"
    hint = "; --yes deletes them" if doomed else ""
    print(f"{f'deleted {what}' if yes else f'{what} would be deleted, nothing was{hint}'}; {_known(known)}")


_CLEANED = """\
A run needs what its lineage names, down to the bases; an unfinished one also what its settings make.
clean keeps what a run needs, locked entries, files that no stage made, and unfinished entries written
within the hour. The kinds outcomes (of `evaluate`), judges, served (replies) and digests belong to no
run, and are deleted only with --kind. A deleted entry is made again by the next run that needs it. An
`evaluate`, or Python that saves no student, leaves no run: if others use this cache, add
--older-than 1d.
"""
VERB = Group(
    "list the artefacts of stages (teachers, completions, rows, students ...), and delete unneeded ones",
    {
        "ls": Verb(
            ls,
            ["cache ls", "cache ls --kind rows --all"],
            (),
            ["--kind KIND", "--runs DIR", "--all", "--json"],
            _CLEANED,
        ),
        "clean": Verb(
            clean,
            [
                "cache clean                                  # a preview",
                "cache clean --older-than 30d --yes",
                "cache clean --kind completions --runs /data/runs",
            ],
            (),
            ["--yes", "--older-than AGE", "--kind KIND", "--runs DIR", "--json"],
            _CLEANED,
        ),
    },
    ["cache", "cache clean                                  # a preview", "cache clean --older-than 30d --yes"],
    _CLEANED,
    default="ls",
)


def _look(kinds: Sequence[str], runs: Sequence[Path]) -> "tuple[list[Entry], Needs]":
    """Return the entries of some kinds, each with the runs that need it, and what is known of the runs."""
    from lightning_subliminal.cli.support.cache_entries import ARTEFACTS, KEPT_NOTES, entries, needs
    from lightning_subliminal.core.cache import cache_root, known_runs

    kinds = [part for each in kinds for part in each.split(",")]
    for each in kinds:
        known_name(each, (*ARTEFACTS, *KEPT_NOTES), f"--kind {each!r} is not a kind of entry")
    for place in runs:
        if not place.is_dir():
            raise InputError(f"--runs {place} does not exist: expected a run's folder, or one that holds runs.")
    found = entries(cache_root())
    known = needs(found, [*runs, Path("runs"), *known_runs()])
    return [each for each in found if not kinds or each.kind in kinds], known


def _age(text: str) -> float:
    found = re.fullmatch(r"(\d+)([hdw])", text)
    if found is None:
        raise InputError(f"--older-than {text!r} is not an age: expected hours, days or weeks, such as 12h, 30d or 8w.")
    return int(found[1]) * _AGES[found[2]]


def _print_table(title: str, shown: "Sequence[Entry]") -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    from lightning_subliminal.cli.support.cache_entries import KEPT_NOTES
    from lightning_subliminal.core.safe_output import rich_console

    print(title)  # a table would break its title at its width, and the path has to stay whole
    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    for name in ("kind", "entry", "size", "age", "needed by"):
        table.add_column(name, justify="right" if name in ("size", "age") else "left", overflow="fold")
    for each in shown:
        needed = ", ".join(each.runs[:2]) + (f" and {len(each.runs) - 2} more" if len(each.runs) > 2 else "")
        needed = needed or ("-" if each.kind in KEPT_NOTES else "no run")
        marks = [*([] if each.whole else ["unfinished"]), *(["locked"] if each.locked else [])]
        marks = marks if each.ours else ["made by no stage"]
        needed += f" ({', '.join(marks)})" if marks else ""
        age = _since(max(0.0, time.time() - each.changed))
        row = (each.kind, Text(each.path.name), _size(each.size), age, Text(needed))
        table.add_row(*row, style="" if each.runs else "dim")
    rich_console(highlight=False, emoji=False).print(table)


def _known(known: "Needs") -> str:
    count = len(known.unknown)
    unknown = f"; the needs of {counted(count, 'unfinished run')} are unknown" if count else ""
    are = "is" if len(known.runs) == 1 else "are"
    return f"{counted(len(known.runs), 'run')} {are} known (--runs DIR adds some){unknown}"


def _size(size: int) -> str:
    from rich.filesize import decimal

    return decimal(size)


def _since(seconds: float) -> str:
    for unit, length in (("d", 24 * _HOUR), ("h", _HOUR)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 60:.0f} min"


def _print_json(content: dict[str, Any]) -> None:
    import json

    print(json.dumps(content, indent=1, ensure_ascii=False))
