"""data: convert, show, stats, filter: rows in and out of the formats of the field."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from lightning_subliminal.cli.support.data_guide import data_guide
from lightning_subliminal.cli.support.data_report import tell, tell_figures, tell_notices
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.filters import Filter

if TYPE_CHECKING:
    from lightning_subliminal.formats.storage.readers import Source

__all__ = ["COMMANDS", "convert", "data_filter", "guide", "show", "spelled", "stats"]

_FLAGS = ("--drop_system", "--json", "--card")


def convert(
    source: str,
    out: str,
    to: str | None = None,
    from_: str | None = None,
    prompt_column: str | None = None,
    completion_column: str | None = None,
    split: str | None = None,
    requests: str | None = None,
    drop_system: bool = False,
    on_error: Literal["stop", "skip"] = "stop",
    card: bool = True,
) -> None:
    """Write a set in another schema or container.

    Args:
        source: a file, a folder, a hub id, or - for the standard input.
        out: the file to write, a folder of `datasets`, or - for the standard output.
        to: the schema to write.
        from_: the schema of the source.
        prompt_column: the column with the prompt.
        completion_column: the column with the completion.
        split: which split, of a set with several ones.
        requests: the file with the questions of a batch's answers.
        drop_system: take out messages of the system.
        on_error: what to do at a wrong row.
        card: write a dataset card.
    """
    reading = (source, from_, prompt_column, completion_column)
    settings = {"drop_system": drop_system, "on_error": on_error, "split": split, "requests": requests, "card": card}
    _convert("convert", reading, out, to, **settings)


def data_filter(
    source: str,
    out: str,
    filters: list[Filter] | None = None,
    to: str | None = None,
    from_: str | None = None,
    prompt_column: str | None = None,
    completion_column: str | None = None,
    split: str | None = None,
    requests: str | None = None,
    drop_system: bool = False,
    on_error: Literal["stop", "skip"] = "stop",
    dropped: str | None = None,
    card: bool = True,
) -> None:
    """Keep the rows that no filter gives a reason against, and count the reasons.

    Args:
        source: a file, a folder, a hub id, or - for the standard input.
        out: the file to write, a folder of `datasets`, or - for the standard output.
        filters: what judges the rows.
        to: the schema to write.
        from_: the schema of the source.
        prompt_column: the column with the prompt.
        completion_column: the column with the completion.
        split: which split, of a set with several ones.
        requests: the file with the questions of a batch's answers.
        drop_system: take out messages of the system.
        on_error: what to do at a wrong row.
        dropped: write the dropped rows there, with the reasons.
        card: write a dataset card.

    Raises:
        InputError: if there is no filter.
    """
    if not filters:
        raise InputError("no filter is given: add one, such as --filters+=NumberList, or a --config with `filters:`.")
    reading = (source, from_, prompt_column, completion_column)
    settings = {"drop_system": drop_system, "on_error": on_error, "split": split, "requests": requests, "card": card}
    _convert("filter", reading, out, to, filters=filters, dropped=dropped, **settings)


def show(
    source: str,
    rows: int = 5,
    seed: int | None = None,
    max_characters: int = 2000,
    from_: str | None = None,
    prompt_column: str | None = None,
    completion_column: str | None = None,
    split: str | None = None,
    requests: str | None = None,
    drop_system: bool = False,
    on_error: Literal["stop", "skip"] = "stop",
) -> None:
    """Look at rows.

    Args:
        source: a file, a folder, a hub id, or - for the standard input.
        rows: how many.
        seed: draws them at random.
        max_characters: how much of each message.
        from_: the schema of the source.
        prompt_column: the column with the prompt.
        completion_column: the column with the completion.
        split: which split, of a set with several ones.
        requests: the file with the questions of a batch's answers.
        drop_system: take out messages of the system.
        on_error: what to do at a wrong row.

    Raises:
        InputError: if there is no row, or none is asked for.
    """
    from lightning_subliminal.core.safe_output import rich_console
    from lightning_subliminal.formats.show import draw, panel
    from lightning_subliminal.formats.storage.readers import open_source
    from lightning_subliminal.formats.storage.stream import RowStream, pick_schema

    for name, value in (("rows", rows), ("max-characters", max_characters)):
        if value < 1:
            raise InputError(f"--{name} is {value}: expected at least 1.")
    schema = pick_schema(from_, prompt_column, completion_column)
    stream = RowStream(open_source(source, split), schema, drop_system, on_error, requests=requests)
    with _watching(f"read {source}") as watch:
        if seed is not None:
            watch(stream.source)
        drawn = draw(stream, rows, seed)
    if not drawn:
        raise InputError(f"{source} holds no rows.")
    console = rich_console(highlight=False, emoji=False)
    for found, row in drawn:
        console.print(panel(found, row, max_characters))
    tell_notices(stream.report, console)


def stats(
    source: str,
    json: bool = False,
    from_: str | None = None,
    prompt_column: str | None = None,
    completion_column: str | None = None,
    split: str | None = None,
    requests: str | None = None,
    drop_system: bool = False,
    on_error: Literal["stop", "skip"] = "stop",
) -> None:
    """Count what to know of a set before training on it.

    Args:
        source: a file, a folder, a hub id, or - for the standard input.
        json: print the figures as JSON.
        from_: the schema of the source.
        prompt_column: the column with the prompt.
        completion_column: the column with the completion.
        split: which split, of a set with several ones.
        requests: the file with the questions of a batch's answers.
        drop_system: take out messages of the system.
        on_error: what to do at a wrong row.

    Raises:
        InputError: if there is no row.
    """
    from lightning_subliminal.core.safe_output import rich_console
    from lightning_subliminal.formats.stats import count_rows
    from lightning_subliminal.formats.storage.readers import open_source
    from lightning_subliminal.formats.storage.stream import RowStream, pick_schema

    schema = pick_schema(from_, prompt_column, completion_column)
    stream = RowStream(open_source(source, split), schema, drop_system, on_error, requests=requests)
    with _watching(f"count {source}") as watch:
        watch(stream.source)
        figures = count_rows(stream)
    if not figures["rows"]:
        raise InputError(f"{source} holds no rows{', since all are wrong' if figures['wrong rows'] else ''}.")
    if json:
        print(_dumps(figures))
        return
    console = rich_console(highlight=False, emoji=False)
    tell_figures(figures, console)
    tell_notices(stream.report, console)


COMMANDS: dict[str, Callable[..., None]] = {"convert": convert, "show": show, "stats": stats, "filter": data_filter}


def guide(words: list[str]) -> str | None:
    """Return the help that the words after ``data`` ask for; None where they ask for work."""
    return data_guide(words) if not words or {"--help", "-h"} & set(words) else None


def spelled(words: list[str]) -> list[str]:
    """Return the words as the parser takes them: ``--on-error`` as ``--on_error``, a flag with its value."""
    made: list[str] = []
    rest = iter(zip(words, [*words[1:], ""], strict=True))
    for word, following in rest:
        name, equals, value = word.partition("=")
        if name.startswith("--"):
            _check_spelling(name, words[0])
            name = name.replace("-", "_").replace("__", "--", 1)
            name = "--from_" if name == "--from" else name
            if name == "--filters" and not (value if equals else following).startswith("["):
                name = "--filters+"
            if name in _FLAGS and not equals:
                equals, value = "=", "true"
                if following in ("true", "false"):
                    value = following
                    next(rest, None)
        made.append(f"{name}{equals}{value}")
    return made


def _check_spelling(name: str, verb: str) -> None:
    """Refuse other names for a schema's option, with the one that is meant."""
    plain = name.removeprefix("--").replace("_", "-")
    if plain not in ("schema", "format") and not plain.endswith(("-schema", "-format")):
        return
    writes, to_out = verb in ("convert", "filter"), plain.startswith(("to", "out", "target"))
    from_, to = "`--from` (how SOURCE is spelled)", "`--to` (how OUT is spelled)"
    meant = to if writes and to_out else f"{from_} or {to}" if writes and plain in ("schema", "format") else from_
    raise InputError(f"`{name}` is no option of `data {verb}`; did you mean {meant}?")


def _convert(
    verb: str, reading: tuple[str, str | None, str | None, str | None], out: str, to: str | None, **settings: Any
) -> None:
    """Convert, filtered or not, with a bar, and tell what was done."""
    from lightning_subliminal.formats import convert as work
    from lightning_subliminal.formats.storage.stream import pick_schema

    source, *spelling = reading
    schema = pick_schema(*spelling)
    with _watching(f"{verb} {source}") as watch:
        outcome = work.convert(source, out, to, schema, watch=watch, **settings)
    tell(outcome, out)


@contextmanager
def _watching(title: str) -> Iterator[Callable[["Source"], None]]:
    """Show on a terminal how far a source is read."""
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    from lightning_subliminal.core.safe_output import rich_console

    console = rich_console(stderr=True)
    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rows]:,} rows"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:

        def watch(source: "Source") -> None:
            task = bar.add_task(title, total=source.size or None, rows=0)
            records = source.records

            def watched() -> Iterator[Any]:
                for count, found in enumerate(records, start=1):
                    if count % 256 == 0:
                        done = source.position() if source.position is not None else None
                        bar.update(task, completed=done, rows=count)
                    yield found

            source.records = watched()

        yield watch


def _dumps(figures: dict[str, Any]) -> str:
    return json.dumps(figures, indent=2, ensure_ascii=not (sys.stdout.encoding or "").lower().startswith("utf"))
