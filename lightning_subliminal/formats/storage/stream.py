"""Read rows from any source and write them to any file, in a stream; errors name file, line and field."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Row, completion_text
from lightning_subliminal.formats.digest import RowsDigest
from lightning_subliminal.formats.layouts.choosing import default_schema, pick_schema, schema_of
from lightning_subliminal.formats.layouts.nested import Nested
from lightning_subliminal.formats.layouts.schema import Schema
from lightning_subliminal.formats.layouts.schemas import Trl, make_schema
from lightning_subliminal.formats.layouts.shapes import table_shape
from lightning_subliminal.formats.row_errors import Fault, printable
from lightning_subliminal.formats.storage.readers import RowSource, open_source
from lightning_subliminal.formats.storage.records import Found
from lightning_subliminal.formats.storage.writers import Sink

__all__ = ["NoRowsError", "OnError", "Report", "RowStream", "Written", "read_rows", "write_rows", "write_stream"]

OnError = Literal["stop", "skip"]
_EMPTY = "an empty answer, or one of spaces, kept: training on it teaches little but the end of the turn"


class NoRowsError(InputError):
    """A source holds no rows, or none is left of them."""


@dataclass
class Report:
    """Counts of rows that were read or written.

    Attributes:
        rows: rows that were read without a fault.
        notices: what was dropped, merged or renamed, and in how many rows.
        bad: the rows that were skipped, by reason.
    """

    rows: int = 0
    notices: Counter[str] = field(default_factory=Counter)
    bad: Counter[str] = field(default_factory=Counter)

    @property
    def num_bad(self) -> int:
        """How many rows were skipped."""
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
        schema: of its records; detected from the columns of the first good one where it is None.
        drop_system: whether to drop system messages.
        on_error: `stop` at a wrong row, or `skip` it and count the reason.
        aside: called with each wrong row that is skipped, and what is wrong.
        requests: the file with the questions of a batch's answers.

    Raises:
        InputError: if ``on_error`` is neither.
    """

    def __init__(
        self,
        source: RowSource,
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
        self.requests_file: Path | None = None  # once questions were taken from it
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
        """Yield the records; where no schema is set, the rows inside those that hold several."""
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
            self.requests_file = nested.finish()

    def refuse(self, found: Found, fault: Fault) -> None:
        """Skip a row and count the reason, or stop at it.

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
                self.schema = schema_of(found.record)
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
                self.report.notices["system turns kept (--drop-system drops them)"] += 1
                return row
            row["prompt"] = [message for message in row["prompt"] if message["role"] != "system"]
            if not row["prompt"]:
                raise Fault("", "expected a user message, found a system message only")
            self.report.notices["system turns dropped"] += 1
        return row

    def _count_into_report(self) -> None:
        if self.schema is not None:
            self.schema.notices = self.report.notices


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

    Columns with a system prompt are dropped: they would reveal the trait to a student. Evaluation results with several
    answers to a question, and the answers of batches, are read too, a row an answer.

    Args:
        source: a file by its extension (.jsonl, .json, .csv, .txt, each also with .gz, or .parquet), a folder of ours
            or of `datasets`, a hub id, or "-" for JSON lines from the standard input.
        schema: of the records: trl, trl-plain, trl-preference, openai, sharegpt, alpaca, text,
            columns:question,response; detected from the columns of the first record where it is None.
        drop_system: whether to drop system messages.
        on_error: `stop` at a wrong row, or `skip` it.
        prompt_column: the column of prompts, for an unknown schema.
        completion_column: the column of completions.
        split: of a set with several ones.
        report: receives the counts of rows, notices and wrong rows by reason; printed at the end where it is None.
        requests: of a batch's answers, the file with the questions; searched next to the source where it is None.

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
    return _with_ids(stream, print_report=report is None)


def _with_ids(stream: RowStream, print_report: bool) -> Iterator[Row]:
    for found, row in stream:
        own = f"{Path(found.place).stem}-{found.number}" if found.place != stream.source.name else str(found.number)
        yield {"id": f"{own}-{found.part}" if found.part else own, **row}
    lines = list(stream.report.lines()) if print_report else []
    if lines:
        from lightning_subliminal.core.console import say  # it imports lightning, which takes seconds

        say("\n".join(f"{stream.source.name}: {line}" for line in lines))


@dataclass
class Written:
    """The result of writing rows.

    Attributes:
        rows: how many rows.
        digest: of the rows, as ``content_digest`` computes it.
        root: of the tree over the rows, as ``rows_root`` computes it.
        notices: what was dropped, merged or changed, and in how many rows.
    """

    rows: int
    digest: str
    root: str
    notices: Counter[str]


def write_rows(rows: Iterable[Row], out: str | Path, schema: str | None = None) -> Written:
    """Write rows to a file, whole or not at all.

    Args:
        rows: rows with prompt and completion, such as those of `read_rows`.
        out: the file by its extension (.jsonl, .json, .csv, .txt, each also with .gz, or .parquet); without one a
            folder of `datasets`; "-" for JSON lines to the standard output.
        schema: of the records; trl where it is None, text in a .txt, trl-plain in CSV.

    Raises:
        InputError: if a row is wrong or the schema can't hold it, naming its number and field; if ``out`` can't be
            written.
    """
    numbered = (Found("rows", "row", number, row) for number, row in enumerate(rows, start=1))
    stream = RowStream(RowSource("rows", "rows", numbered), Trl())
    return write_stream(stream, out, make_schema(schema or default_schema(out)), stream)


def write_stream(rows: Iterable[tuple[Found, Row]], out: str | Path, schema: Schema, stream: RowStream) -> Written:
    """Write the rows of a stream, which also records those that the schema can't hold.

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
                stream.refuse(found, sink.advise(fault))
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


def _nothing(stream: RowStream) -> str:
    name, report = stream.source.name, stream.report
    if not report.num_bad and not report.rows:
        return f"{name} holds no rows."
    top = ", ".join(f"{reason} ({count})" for reason, count in report.bad.most_common(3))
    return f"{name}: no row is left; wrong rows: {top}." if top else f"{name}: no row is left."
