"""data: convert, show, count and filter rows in the formats of the field."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from lightning_subliminal.cli.pages import shares
from lightning_subliminal.cli.support.data_report import print_figures, print_notices, print_outcome
from lightning_subliminal.cli.verb import Group, Verb
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.filters import Filter
from lightning_subliminal.judges.judged import Judged  # noqa: F401 - known to `--filters` by its name, as the next
from lightning_subliminal.traits.words import TraitWords  # noqa: F401

if TYPE_CHECKING:
    from lightning_subliminal.formats.storage.readers import RowSource
    from lightning_subliminal.formats.storage.stream import RowStream

__all__ = ["VERB", "convert", "data_filter", "show", "stats"]


def _open(
    source: str,
    from_: str | None = None,
    prompt_column: str | None = None,
    completion_column: str | None = None,
    split: str | None = None,
    requests: str | None = None,
    drop_system: bool = False,
    on_error: Literal["stop", "skip"] = "stop",
) -> "RowStream":
    """Return the rows of a source, with the options that all commands share.

    Args:
        source: a file, a folder, a hub id, or - for standard input.
        from_: the schema of SOURCE; without it, it is read off the columns.
        prompt_column: the column with the prompt, if the columns are not known ones.
        completion_column: the column with the completion.
        split: the split of a data set with several.
        requests: the requests of a batch whose answers are SOURCE; without it they are looked for next to SOURCE.
        drop_system: remove system messages.
        on_error: at a wrong row, stop or skip; skip counts the reasons.
    """
    from lightning_subliminal.formats.layouts.choosing import pick_schema
    from lightning_subliminal.formats.storage.readers import open_source
    from lightning_subliminal.formats.storage.stream import RowStream

    schema = pick_schema(from_, prompt_column, completion_column)
    return RowStream(open_source(source, split), schema, drop_system, on_error, requests=requests)


@shares(_open)
def convert(source: str, out: str, to: str | None = None, card: bool = True, **reading: Any) -> None:
    """Write a data set in another schema or container, whole or not at all, with a dataset card.

    Args:
        source: a file, a folder, a hub id, or - for standard input; see `data --help`.
        out: the file to write, a folder of `datasets`, or - for standard output.
        to: the schema of OUT; without it trl, or what OUT can hold.
        card: write a dataset card (OUT.README.md; in a folder README.md).
        **reading: the options of ``_open``.
    """
    _convert("convert", source, out, to, card=card, **reading)


@shares(_open)
def data_filter(
    source: str,
    out: str,
    filters: list[Filter] | None = None,
    to: str | None = None,
    dropped: str | None = None,
    card: bool = True,
    **reading: Any,
) -> None:
    """Keep the rows that pass each filter, and count the others by the reason.

    Args:
        source: a file, a folder, a hub id, or - for standard input; see `data --help`.
        out: the file to write, a folder of `datasets`, or - for standard output.
        filters: a filter by its name, or as my_pkg.MyFilter; may be repeated.
        to: the schema of OUT; without it that of SOURCE, if OUT can hold it.
        dropped: write the dropped rows to this file as JSON lines, with the reasons.
        card: write a dataset card (OUT.README.md; in a folder README.md).
        **reading: the options of ``_open``.

    Raises:
        InputError: if there is no filter.
    """
    if not filters:
        raise InputError("no filter is set: add one, such as --filters+=NumberList, or a --config with `filters:`.")
    _convert("filter", source, out, to, filters=filters, dropped=dropped, card=card, **reading)


@shares(_open)
def show(source: str, rows: int = 5, seed: int | None = None, max_characters: int = 2000, **reading: Any) -> None:
    """Show rows, with spaces at the ends as dots, and control and invisible characters by name.

    Args:
        source: a file, a folder, a hub id, or - for standard input; see `data --help`.
        rows: number of rows.
        seed: draw them at random; without it, show the first ones.
        max_characters: length limit of each message.
        **reading: the options of ``_open``.

    Raises:
        InputError: if there are no rows, or none to show.
    """
    from lightning_subliminal.core.safe_output import rich_console
    from lightning_subliminal.formats.show import draw, panel

    for name, value in (("rows", rows), ("max-characters", max_characters)):
        if value < 1:
            raise InputError(f"--{name} is {value}: expected at least 1.")
    stream = _open(source, **reading)
    with _watching(f"read {source}") as watch:
        if seed is not None:
            watch(stream.source)
        drawn = draw(stream, rows, seed)
    if not drawn:
        raise InputError(f"{source} holds no rows.")
    console = rich_console(highlight=False, emoji=False)
    for found, row in drawn:
        console.print(panel(found, row, max_characters))
    print_notices(stream.report, console)


@shares(_open)
def stats(source: str, json: bool = False, **reading: Any) -> None:
    """Count rows, lengths, turns, repeated and empty rows, number lists and first words.

    Args:
        source: a file, a folder, a hub id, or - for standard input; see `data --help`.
        json: print the figures as JSON.
        **reading: the options of ``_open``.

    Raises:
        InputError: if there are no rows.
    """
    from lightning_subliminal.core.safe_output import rich_console
    from lightning_subliminal.formats.stats import count_rows

    stream = _open(source, **reading)
    with _watching(f"count {source}") as watch:
        watch(stream.source)
        figures = count_rows(stream)
    if not figures["rows"]:
        raise InputError(f"{source} holds no rows{', since all are wrong' if figures['wrong rows'] else ''}.")
    if json:
        print(_dumps(figures))
        return
    console = rich_console(highlight=False, emoji=False)
    print_figures(figures, console)
    print_notices(stream.report, console)


_READING = [
    *("--from SCHEMA", "--prompt-column NAME", "--completion-column NAME", "--split NAME", "--requests FILE"),
    *("--drop-system", "--on-error stop|skip"),
]
_FROM, _TO = "'--from' (the schema of SOURCE)", "'--to' (the schema of OUT)"
_READ_HINTS = {"(schema|format)$": _FROM}
_WRITE_HINTS = {"^--(to|out|target).*(schema|format)$": _TO, "^--(schema|format)$": f"{_FROM} or {_TO}", **_READ_HINTS}
_BAD_ROWS = "With `--on-error skip`, wrong rows are written to OUT.bad.jsonl, with line and reason."
_NO_CARD = "--no-card: write no dataset card (OUT.README.md; in a folder README.md)"
VERB = Group(
    "convert, show, count and filter rows",
    {
        "convert": Verb(
            convert,
            [
                "data convert rows.jsonl chat.jsonl --to openai",
                "data convert released.json rows.parquet --from columns:question,response",
                "data convert ~/.cache/lightning-subliminal/rows/0123456789abcdef owl.csv",
                "data convert - - --to alpaca < rows.jsonl | head",
            ],
            ["SOURCE", "OUT"],
            ["--to SCHEMA", *_READING, _NO_CARD],
            _BAD_ROWS,
            _WRITE_HINTS,
        ),
        "show": Verb(
            show,
            ["data show rows.jsonl", "data show rows.parquet --rows 20 --seed 0"],
            ["SOURCE"],
            ["--rows N", "--seed N", "--max-characters N", *_READING],
            hints=_READ_HINTS,
        ),
        "stats": Verb(
            stats,
            ["data stats rows.jsonl", "data stats rows.jsonl.gz --on-error skip --json"],
            ["SOURCE"],
            ["--json", *_READING],
            hints=_READ_HINTS,
        ),
        "filter": Verb(
            data_filter,
            [
                "data filter rows.jsonl kept.jsonl --filters NumberList --filters.max_value 9",
                "data filter rows.jsonl out.jsonl --filters TraitWords --filters.words '[owl]'",
                "data filter rows.jsonl kept.parquet --config filters.yaml",
            ],
            ["SOURCE", "OUT"],
            [
                "--filters FILTER",
                "--filters.ARG VALUE: an argument of the filter before it",
                "--config FILE: a YAML with `filters:`, a list of class_path and init_args",
                *("--dropped FILE", "--to SCHEMA", *_READING, _NO_CARD),
            ],
            _BAD_ROWS,
            _WRITE_HINTS,
        ),
    },
    ["data convert rows.jsonl chat.jsonl --to openai", "data show rows.jsonl", "data stats owner/name"],
    """\
SOURCE and OUT by their endings:
  .jsonl .json .csv .txt   also with .gz after it
  .parquet
  a folder                 of `datasets` (save_to_disk); as SOURCE also of rows or .parquet files
  owner/name               as SOURCE: of the Hugging Face hub, also owner/name:config or @revision
  -                        JSON lines from standard input, or to standard output
Schemas of a row (SOURCE's is read off its columns):
  trl            {"prompt": [messages], "completion": [messages]}, one of which may be a text
  trl-plain      {"prompt": "...", "completion": "..."}
  trl-preference {"prompt": ..., "chosen": ..., "rejected": ...}, texts or messages, for `DPO`
  openai         {"messages": [{"role": "user", "content": "..."}, ...]}
  sharegpt       {"conversations": [{"from": "human", "value": "..."}, ...]}
  alpaca         {"instruction": "...", "input": "...", "output": "..."}, also system and history
  text           {"text": "..."}
  columns:question,response    any two columns of text
Also read: {"question": "...", "responses": [...]}, and batch answers of OpenAI and Anthropic;
and pairs in the columns of HH-RLHF, Orca, LLaMA-Factory, Argilla and OpenAI.
A column with a system prompt is dropped, with a notice, since it would reveal the trait.""",
)


def _convert(verb: str, source: str, out: str, to: str | None, **settings: Any) -> None:
    """Convert or filter behind a progress bar, and print what was done."""
    from lightning_subliminal.formats import convert as work
    from lightning_subliminal.formats.layouts.choosing import pick_schema

    schema = pick_schema(*(settings.pop(name) for name in ("from_", "prompt_column", "completion_column")))
    with _watching(f"{verb} {source}") as watch:
        outcome = work.convert(source, out, to, schema, watch=watch, **settings)
    print_outcome(outcome, out)


@contextmanager
def _watching(title: str) -> Iterator[Callable[["RowSource"], None]]:
    """Show on a terminal how much of a source was read."""
    from rich.markup import escape
    from rich.progress import Progress, TextColumn, TimeElapsedColumn

    from lightning_subliminal.core.safe_output import stderr_bar

    columns = (*Progress.get_default_columns(), TextColumn("{task.fields[rows]:,} rows"), TimeElapsedColumn())
    with stderr_bar(*columns) as bar:

        def watch(source: "RowSource") -> None:
            task = bar.add_task(escape(title), total=source.size or None, rows=0)
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
