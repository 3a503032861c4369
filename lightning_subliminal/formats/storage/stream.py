"""Rows in a stream: out of any source, into any file, with a wrong row told by file, line and field."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Row, completion_text
from lightning_subliminal.formats.detection import guess
from lightning_subliminal.formats.digest import RowsDigest
from lightning_subliminal.formats.layouts.nested import Nested
from lightning_subliminal.formats.layouts.schema import Schema
from lightning_subliminal.formats.layouts.schemas import Trl, make_schema
from lightning_subliminal.formats.layouts.shapes import no_object, one_object, row_lists, table_shape
from lightning_subliminal.formats.row_errors import Fault, printable
from lightning_subliminal.formats.storage.readers import Source, open_source
from lightning_subliminal.formats.storage.records import Found
from lightning_subliminal.formats.storage.writers import Sink

__all__ = [
    "NoRowsError",
    "OnError",
    "Report",
    "RowStream",
    "Written",
    "default_schema",
    "pick_schema",
    "read_rows",
    "write_rows",
    "write_stream",
]

OnError = Literal["stop", "skip"]
_EMPTY = "an empty answer, or one of spaces, kept: training on it teaches little but the end of the turn"


class NoRowsError(InputError):
    """A source holds no rows, or none is left of them."""


@dataclass
class Report:
    """What happened while rows were read or written.

    Attributes:
        rows: rows that were read well.
        notices: what was dropped, merged or renamed, and in how many rows.
        bad: the rows that were left out, by reason.
    """

    rows: int = 0
    notices: Counter[str] = field(default_factory=Counter)
    bad: Counter[str] = field(default_factory=Counter)

    @property
    def num_bad(self) -> int:
        """How many rows were left out."""
        return sum(self.bad.values())

    def lines(self) -> Iterator[str]:
        """Yield what a user should know, a line each."""
        for notice, count in self.notices.most_common():
            yield f"{count:,} x {printable(notice)}"
        for reason, count in self.bad.most_common():
            yield f"{count:,} x left out, {reason}"
        if self.bad:
            yield f"{self.num_bad:,} of the {self.rows + self.num_bad:,} rows read are left out"


class RowStream:
    """Rows of a source, each with the record that it was read from.

    Args:
        source: the opened source.
        schema: how its records are spelled; told by the columns of the first good one where it is None.
        drop_system: whether to take out messages of the system.
        on_error: `stop` at a wrong row, or `skip` it and count the reason.
        aside: is given each wrong row that is skipped, with what is wrong.
        requests: the file with the questions of a batch's answers.

    Raises:
        InputError: if ``on_error`` is neither.
    """

    def __init__(
        self,
        source: Source,
        schema: Schema | None = None,
        drop_system: bool = False,
        on_error: str = "stop",
        aside: Callable[[Found, Fault], None] | None = None,
        requests: str | Path | None = None,
    ) -> None:
        if on_error not in get_args(OnError):
            raise InputError(f"`on_error` is {on_error!r}: choose stop or skip.")
        self.source = source
        self.schema = schema
        self.drop_system = drop_system
        self.on_error = on_error
        self.aside = aside
        self.requests = requests
        self.asked_in: Path | None = None  # the file of requests, once questions were taken from it
        self.report = Report()

    def __iter__(self) -> Iterator[tuple[Found, Row]]:
        """Read the rows.

        Raises:
            InputError: naming file, line and field, at a wrong row that is not skipped.
        """
        self._count_into_report()
        for found in self._found():
            try:
                row = self._row(found)
            except Fault as fault:
                self.refuse(found, fault)
                continue
            self.report.rows += 1
            yield found, row

    def _found(self) -> Iterator[Found]:
        """Yield the records; where no schema is asked for, the rows inside those that hold several."""
        nested = Nested(self.source, self.requests, self.report.notices) if self.schema is None else None
        for found in self.source.records:
            rows = nested.rows(found.record) if nested is not None and found.fault is None else None
            if rows is None:
                yield found
                continue
            for part, row in enumerate(rows, start=1):
                place = found._replace(part=part if len(rows) > 1 else 0)
                yield place._replace(fault=row) if isinstance(row, Fault) else place._replace(record=row)
        if nested is not None:
            self.asked_in = nested.finish()

    def refuse(self, found: Found, fault: Fault) -> None:
        """Leave a row out and count why, or stop at it.

        Raises:
            InputError: naming file, line and field, unless wrong rows are skipped.
        """
        if self.on_error == "stop":
            raise InputError(f"{found}{', ' if fault.field else ': '}{fault}") from fault
        self.report.bad[fault.reason] += 1
        if self.aside is not None:
            self.aside(found, fault)

    def _row(self, found: Found) -> Row:
        if found.fault is not None:
            raise found.fault
        try:
            if self.schema is None:
                self.schema = _told_by(found.record)
                self._count_into_report()
            row = self.schema.parse(found.record)
        except RecursionError as err:
            raise Fault("", "expected an object, found one nested too deep to read") from err
        except Fault as fault:
            if isinstance(found.record, dict) and (shape := table_shape(found.record)):
                raise Fault("", f"the file {shape}", "a whole table, not a row") from fault
            raise
        if any(message["role"] == "system" for message in row["prompt"]):
            if not self.drop_system:
                self.report.notices["system turns kept (--drop-system takes them out)"] += 1
                return row
            row["prompt"] = [message for message in row["prompt"] if message["role"] != "system"]
            if not row["prompt"]:
                raise Fault("", "expected a user message, found none but the system's")
            self.report.notices["system turns dropped"] += 1
        return row

    def _count_into_report(self) -> None:
        if self.schema is not None:
            self.schema.notices = self.report.notices


def pick_schema(
    name: str | None, prompt_column: str | None = None, completion_column: str | None = None
) -> Schema | None:
    """Make the schema that a user asks for by name, by two columns, or not at all.

    Raises:
        InputError: if one column is without the other, or both stand beside the name of another schema.
    """
    if prompt_column is None and completion_column is None:
        return make_schema(name) if name is not None else None
    if prompt_column is None or completion_column is None:
        lacking = "--prompt-column" if prompt_column is None else "--completion-column"
        raise InputError(f"{lacking} is missing: name the columns of both texts.")
    if name not in (None, "columns"):
        raise InputError(f"--prompt-column and --completion-column go with the schema columns, not with {name}.")
    return make_schema(f"columns:{prompt_column},{completion_column}")


def read_rows(
    source: str | Path,
    schema: str | None = None,
    drop_system: bool = True,
    on_error: str = "stop",
    *,
    prompt_column: str | None = None,
    completion_column: str | None = None,
    split: str | None = None,
    report: Report | None = None,
    requests: str | Path | None = None,
) -> Iterator[Row]:
    """Read rows from a file, a folder or a set on the hub, one by one.

    Columns with a system prompt are dropped: they would tell a student the trait. Results of evaluations, with several
    answers to a question, and the answers of batches are rows, too, one an answer.

    Args:
        source: a file by its ending (.jsonl, .json, .csv, .txt, each also with .gz, or .parquet), a folder of ours or
            of `datasets`, a hub id, or "-" for JSON lines from the standard input.
        schema: how records are spelled: trl, trl-plain, openai, sharegpt, alpaca, text, columns:question,response;
            told by the columns of the first record where it is None.
        drop_system: whether to take out messages of the system.
        on_error: `stop` at a wrong row, or `skip` it.
        prompt_column: the column of prompts, for a schema that is not known.
        completion_column: the column of completions.
        split: of a set with several ones.
        report: is filled with counts of rows, notices and wrong rows by reason; printed at the end where it is None.
        requests: of a batch's answers, the file with the questions; looked for beside the source where it is None.

    Returns:
        Rows with prompt, completion, meta columns and an ``id``: the row's own, or else the number of its line
        (of a folder's files, with the file's name before it).

    Raises:
        InputError: at once if the source can't be opened; at a wrong row, naming file, line and field.
    """
    picked = pick_schema(schema, prompt_column, completion_column)
    stream = RowStream(open_source(source, split), picked, drop_system, on_error, requests=requests)
    if report is not None:
        stream.report = report
    return _with_ids(stream, tell=report is None)


def _with_ids(stream: RowStream, tell: bool) -> Iterator[Row]:
    for found, row in stream:
        own = f"{Path(found.place).stem}-{found.number}" if found.place != stream.source.name else str(found.number)
        yield {"id": f"{own}-{found.part}" if found.part else own, **row}
    lines = list(stream.report.lines()) if tell else []
    if lines:
        from lightning_subliminal.core.console import say  # it imports lightning, which takes seconds

        say("\n".join(f"{stream.source.name}: {line}" for line in lines))


@dataclass
class Written:
    """What was written.

    Attributes:
        rows: how many rows.
        digest: of the rows, as ``content_digest`` gives it.
        root: of the tree over the rows, as ``rows_root`` gives it.
        notices: what was dropped, merged or changed, and in how many rows.
    """

    rows: int
    digest: str
    root: str
    notices: Counter[str]


def write_rows(rows: Iterable[Row], out: str | Path, schema: str | None = None) -> Written:
    """Write rows to a file, whole or not at all.

    Args:
        rows: rows with prompt and completion, such as `read_rows` gives.
        out: the file by its ending (.jsonl, .json, .csv, .txt, each also with .gz, or .parquet); without one a folder
            of `datasets`; "-" for JSON lines to the standard output.
        schema: how records are spelled; trl where it is None, text in a .txt, trl-plain in CSV.

    Raises:
        InputError: if a row is wrong or the schema can't hold it, naming its number and field; if ``out`` can't be
            written.
    """
    numbered = (Found("rows", "row", number, row) for number, row in enumerate(rows, start=1))
    stream = RowStream(Source("rows", "rows", numbered), Trl())
    return write_stream(stream, out, make_schema(schema or default_schema(out)), stream)


def write_stream(rows: Iterable[tuple[Found, Row]], out: str | Path, schema: Schema, stream: RowStream) -> Written:
    """Write the rows of a stream, which also hears of those that the schema can't hold.

    Raises:
        InputError: if there is no row, a row is wrong, or ``out`` can't be written.
    """
    sink = Sink(out, schema.name)
    digest = RowsDigest()

    def encoded() -> Iterator[Any]:
        for found, row in rows:
            try:
                held = schema.fit(row)
                data = sink.encode(schema.record(held))
            except Fault as fault:
                stream.refuse(found, fault)
                continue
            digest.add(held)
            if not completion_text(held).strip():
                stream.report.notices[_EMPTY] += 1
            yield data
        if not digest.rows:
            raise NoRowsError(_nothing(stream))

    sink.write(encoded())
    return Written(
        digest.rows, digest.hexdigest(), digest.tree.root(), stream.report.notices + schema.notices + sink.notices
    )


def default_schema(out: str | Path) -> str:
    """Return the schema that a file is written in where none is asked for: trl, if its container can hold that."""
    name = Path(out).name.lower().removesuffix(".gz")
    return "text" if name.endswith(".txt") else "trl-plain" if name.endswith(".csv") else "trl"


def _told_by(record: Any) -> Schema:
    """Make the schema that fits a record's columns."""
    if not isinstance(record, dict):
        raise no_object(record)
    lists = any(isinstance(record.get(key), list) for key in ("prompt", "completion"))
    try:
        return make_schema(guess(record.keys(), lists))
    except InputError as err:
        more = f" It {one_object(record)}." if row_lists(record) else ""
        raise Fault("", f"{err}{more}", "no schema fits its columns") from err


def _nothing(stream: RowStream) -> str:
    name, report = stream.source.name, stream.report
    if not report.num_bad and not report.rows:
        return f"{name} holds no rows."
    top = ", ".join(f"{reason} ({count})" for reason, count in report.bad.most_common(3))
    return f"{name}: no row is left; wrong rows: {top}." if top else f"{name}: no row is left."
