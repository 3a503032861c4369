"""cache: what is kept of stages, whom it belongs to, and what nobody needs any more."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_subliminal.core.error_messages import counted
from lightning_subliminal.core.errors import InputError, known_name

if TYPE_CHECKING:
    from lightning_subliminal.cli.support.cache_entries import Entry, Needs

__all__ = ["COMMANDS", "clean", "guide", "ls", "spelled"]

_GUIDE = """\
cache: what is kept of stages (teachers, completions, rows, students ...), whom it belongs to, what nobody needs.

usage: lightning-subliminal cache ls [options]
       lightning-subliminal cache clean [--yes] [--older-than 30d] [options]

  --kind KIND            teachers, completions, rows, students, measured or bases alone; may be given again. outcomes
                         (of `evaluate`), judges (their replies) and digests are no run's: clean takes them if named
  --runs DIR             further runs, or a folder that holds some; may be given again. Those in ./runs, and those that
                         `fit` and `run` have made with this cache, are known
  --older-than AGE       clean only what was last written so long ago: 12h, 30d, 8w
  --yes                  delete; without it clean shows what would go, and deletes nothing
  --all                  ls shows each entry; else the {most} largest
  --json                 all of it as JSON on the standard output, and nothing else

A run needs what its lineage names, down to the bases; one that is unfinished needs what its settings make, too. clean
keeps what a run needs, what a lock holds, what no stage has made, and what is unfinished but was written within the
hour. What it deletes is made again by the next run that wants it, which takes the time that it took. An `evaluate`, or
Python that saves no student, leaves no run: while others work with this cache, give --older-than 1d.

examples:
  lightning-subliminal cache ls
  lightning-subliminal cache clean                                  # what would go?
  lightning-subliminal cache clean --older-than 30d --yes
  lightning-subliminal cache clean --kind completions --runs /data/runs
"""
_MOST = 30
_HOUR = 3600.0
_AGES = {"h": _HOUR, "d": 24 * _HOUR, "w": 7 * 24 * _HOUR}


def ls(kind: list[str] = [], runs: list[Path] = [], all: bool = False, json: bool = False) -> None:  # noqa: B006
    """List what the cache holds.

    Args:
        kind: kinds to list alone.
        runs: further runs.
        all: show each entry.
        json: print JSON alone.
    """
    from lightning_subliminal.core.cache import cache_root

    found, told = _look(kind, runs)
    if json:
        _print_json({"cache": str(cache_root()), "entries": [each.as_json() for each in found]})
        return
    shown = sorted(found, key=lambda each: -each.size)
    shown = shown if all else [each for each in shown if each.kind not in _notes() or kind][:_MOST]
    _print_table(f"Cache {cache_root()}, largest first", shown)
    if hidden := len(found) - len(shown):
        size = sum(each.size for each in found) - sum(each.size for each in shown)
        _say(f"and {hidden} more, {_size(size)} (--all shows each)")
    for name, count in Counter(each.kind for each in found).items():
        mine = [each for each in found if each.kind == name]
        free = [each for each in mine if name not in _notes() and not each.runs and each.ours]
        unneeded = f"; no run needs {len(free)} of them, {_size(sum(each.size for each in free))}" if free else ""
        _say(f"{name:12} {count:5d}  {_size(sum(each.size for each in mine)):>9}{unneeded}")
    _say(f"{'all':12} {len(found):5d}  {_size(sum(each.size for each in found)):>9}; {_known(told)}")


def clean(
    kind: list[str] = [],  # noqa: B006
    runs: list[Path] = [],  # noqa: B006
    older_than: str | None = None,
    yes: bool = False,
    json: bool = False,
) -> None:
    """Delete what no run needs.

    Args:
        kind: kinds to clean alone.
        runs: further runs.
        older_than: what was written later stays.
        yes: delete, and not only show.
        json: print JSON alone.

    Raises:
        InputError: if an age or a kind is none, or an unfinished run can't say what it needs.
    """
    import time

    from lightning_subliminal.cli.support.cache_entries import delete
    from lightning_subliminal.core.cache import cache_root

    least = _age(older_than) if older_than is not None else 0.0
    found, told = _look(kind, runs)
    if told.unknown:
        run, why = next(iter(told.unknown.items()))
        raise InputError(f"{run} is unfinished, and can't say what it needs ({why}): finish it or delete its folder.")
    now = time.time()
    kept: Counter[str] = Counter()
    doomed: list[Entry] = []
    for each in found:
        if each.kind in _notes() and not kind:
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
        _print_json(
            {
                "cache": str(cache_root()),
                "deleted": yes,
                "bytes": size,
                "entries": [each.as_json() for each in doomed],
                "kept": dict(kept),
            }
        )
        return
    if doomed:
        _print_table(f"{'Deleted' if yes else 'Would be deleted'} from {cache_root()}", doomed)
    if kept:
        _say(f"kept: {', '.join(f'{count} {why}' for why, count in kept.items())}")
    what = f"{counted(len(doomed), 'entry', 'entries')}, {_size(size)} of {cache_root()}"
    hint = "; --yes deletes them" if doomed else ""
    _say(f"{f'deleted {what}' if yes else f'{what} would go, nothing was deleted{hint}'}; {_known(told)}")


COMMANDS = {"list": ls, "clean": clean}


def guide(words: list[str]) -> str | None:
    """Return the help; None where there is work to do."""
    return _GUIDE.replace("{most}", str(_MOST)) if {"--help", "-h"} & set(words) else None


def spelled(words: list[str]) -> list[str]:
    """Return the words as the parser takes them: lists of what may be repeated, switches without a value."""
    import json as json_text

    lists: dict[str, list[str]] = {"kind": [], "runs": []}
    verb, *given = words or ["ls"]
    if verb.startswith("-"):
        verb, given = "ls", words
    kept = ["list" if verb == "ls" else verb]
    rest = iter(given)
    for word in rest:
        name, equals, value = word.partition("=")
        name = name.removeprefix("--").replace("-", "_") if word.startswith("--") else ""
        if name in lists:
            chosen = value if equals else next(rest, "")
            if not chosen:
                raise InputError(f"`--{name}` needs a value; see `cache --help`.")
            lists[name] += chosen.split(",") if name == "kind" else [chosen]
        elif name in ("yes", "all", "json") and not equals:
            kept.append(f"--{name}=true")
        else:
            kept.append(f"--{name}{equals}{value}" if name else word)
    return [*kept, *(f"--{name}={json_text.dumps(each)}" for name, each in lists.items() if each)]


def _look(kinds: Sequence[str], runs: Sequence[Path]) -> "tuple[list[Entry], Needs]":
    from lightning_subliminal.cli.support.cache_entries import ARTEFACTS, KEPT_NOTES, entries, needs
    from lightning_subliminal.core.cache import cache_root, known_runs

    for each in kinds:
        known_name(each, (*ARTEFACTS, *KEPT_NOTES), f"--kind {each!r} is no kind of the cache")
    for place in runs:
        if not place.is_dir():
            raise InputError(f"--runs {place} is not there: give a run's folder, or one that holds runs.")
    found = entries(cache_root())
    told = needs(found, [*runs, Path("runs"), *known_runs()])
    return [each for each in found if not kinds or each.kind in kinds], told


def _notes() -> tuple[str, ...]:
    from lightning_subliminal.cli.support.cache_entries import KEPT_NOTES

    return KEPT_NOTES


def _age(words: str) -> float:
    found = re.fullmatch(r"(\d+)([hdw])", words)
    if found is None:
        raise InputError(f"--older-than {words!r} is no age: give hours, days or weeks, such as 12h, 30d or 8w.")
    return int(found[1]) * _AGES[found[2]]


def _print_table(title: str, shown: "Sequence[Entry]") -> None:
    import time

    from rich import box
    from rich.table import Table
    from rich.text import Text

    from lightning_subliminal.core.safe_output import rich_console

    _say(title)  # a table's own title is broken at its width, and a path is to stay whole
    table = Table(box=box.SIMPLE_HEAD, show_edge=False)
    for name in ("kind", "entry", "size", "age", "belongs to"):
        table.add_column(name, justify="right" if name in ("size", "age") else "left", overflow="fold")
    for each in shown:
        of = ", ".join(each.runs[:2]) + (f" and {len(each.runs) - 2} more" if len(each.runs) > 2 else "")
        of = of or ("-" if each.kind in _notes() else "no run")
        marks = [*([] if each.whole else ["unfinished"]), *(["locked"] if each.locked else [])]
        marks = marks if each.ours else ["made by no stage"]
        of += f" ({', '.join(marks)})" if marks else ""
        age = _since(max(0.0, time.time() - each.changed))
        table.add_row(
            each.kind, Text(each.path.name), _size(each.size), age, Text(of), style="" if each.runs else "dim"
        )
    rich_console(highlight=False, emoji=False).print(table)


def _known(told: "Needs") -> str:
    count = len(told.unknown)
    they = "it needs" if count == 1 else "they need"
    unknown = f"; {counted(count, 'unfinished one')} can't say what {they}" if count else ""
    are = "is" if len(told.runs) == 1 else "are"
    return f"{counted(len(told.runs), 'run')} {are} known (--runs DIR adds some){unknown}"


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def _since(seconds: float) -> str:
    for unit, length in (("d", 24 * _HOUR), ("h", _HOUR)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds / 60:.0f} min"


def _say(line: str) -> None:
    print(line)


def _print_json(told: dict[str, Any]) -> None:
    import json

    print(json.dumps(told, indent=1, ensure_ascii=False))
