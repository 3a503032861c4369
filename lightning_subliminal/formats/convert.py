"""One set into another format, by way of rows in a stream; filtered on the way where filters are given."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import file_digest
from lightning_subliminal.core.io.files import replace, temporary_file
from lightning_subliminal.core.kinds import kind_of
from lightning_subliminal.core.rows import Row
from lightning_subliminal.filters import Filter, FilterReport
from lightning_subliminal.filters.base import row_reasons
from lightning_subliminal.formats.card import write_card
from lightning_subliminal.formats.filter_outcome import Outcome
from lightning_subliminal.formats.layouts.schema import Schema
from lightning_subliminal.formats.layouts.schemas import make_schema
from lightning_subliminal.formats.row_errors import Fault
from lightning_subliminal.formats.storage.readers import Source, container, open_source
from lightning_subliminal.formats.storage.records import Found
from lightning_subliminal.formats.storage.stream import NoRowsError, RowStream, default_schema, write_stream
from lightning_subliminal.formats.storage.writers import json_line
from lightning_subliminal.lineage import (
    Material,
    file_material,
    provenance,
    setting_material,
    source_material,
    write_record,
    write_statement,
)
from lightning_subliminal.lineage.names import RECORD

__all__ = ["convert"]

TOGETHER = 1000  # rows that filters see at once: a judge asks in batches


def convert(
    source: str | Path,
    out: str | Path,
    to: str | None = None,
    schema: Schema | None = None,
    *,
    filters: Sequence[Filter] = (),
    drop_system: bool = False,
    on_error: str = "stop",
    split: str | None = None,
    dropped: str | Path | None = None,
    card: bool = True,
    watch: Callable[[Source], None] | None = None,
    requests: str | Path | None = None,
) -> Outcome:
    """Read a set, keep what the filters keep, and write it, whole or not at all, with a card beside it.

    Args:
        source: what ``read_rows`` takes.
        out: what ``write_rows`` takes.
        to: the schema to write; where it is None the source's own if there are filters, else trl; or what ``out`` can
            hold.
        schema: the source's; told by its columns where it is None.
        filters: which rows are kept.
        drop_system: whether to take out messages of the system.
        on_error: `stop` at a wrong row, or `skip` it and write it to ``OUT.bad.jsonl`` with line and reason.
        split: of a source with several ones.
        dropped: where rows that a filter dropped are written, with the reasons.
        card: whether to write a dataset card and the set's lineage.
        watch: is given the opened source, to show how far it is read.
        requests: of a batch's answers, the file with the questions; looked for beside the source where it is None.

    Raises:
        InputError: if a row is wrong, no row is left, a file can't be read or written, or one would overwrite another.
    """
    bad_path = _beside(out, ".bad.jsonl") if on_error == "skip" and str(out) != "-" else None
    _check_apart(source, out, bad_path, dropped)
    _check_apart(requests, out, bad_path, dropped)
    opened = open_source(source, split)
    if opened.path is not None and Path(out).absolute() in opened.path.absolute().parents:
        raise InputError(f"{out} is the folder that {source} is in: name another one.")
    if watch is not None:
        watch(opened)
    with _Aside(bad_path) as bad, _Aside(Path(dropped) if dropped is not None else None) as aside:
        stream = RowStream(opened, schema, drop_system, on_error, bad.wrong, requests)
        rows: Iterable[tuple[Found, Row]] = stream
        report = FilterReport(0, 0, {}) if filters else None
        if report is not None:
            rows, to = _begun(rows, stream, out, to)
            rows = _filtered(rows, filters, report, aside)
        target = make_schema(to or default_schema(out))
        try:
            written = write_stream(rows, out, target, stream)
        except NoRowsError as err:
            if report is None or not report.made:
                raise
            raise NoRowsError(_all_dropped(report)) from err
        files = [path for path in (bad.finish(), aside.finish()) if path is not None]
    source_schema = stream.schema.spelled if stream.schema is not None else ""
    outcome = Outcome(source_schema, target.spelled, written, stream.report.bad, report, files, [])
    if str(out) != "-":
        files.insert(0, Path(out))
        if card:
            path, remark = write_card(Path(out), opened, outcome, filters)
            files.append(_write_lineage(Path(out), opened, outcome, filters, stream.asked_in))
            files += [path] if path is not None else []
            outcome.remarks += [remark] if remark else []
    return outcome


def _write_lineage(
    out: Path, source: Source, outcome: Outcome, filters: Sequence[Filter], requests: Path | None
) -> Path:
    """Write what the set was made from beside it, as NAME.lineage.json, or into it where it is a folder."""
    came_from = (
        source_material("rows", source.path)
        if source.path and source.path.exists()
        else Material("rows", source.name, {})
    )
    told: dict[str, Any] = {"schema": outcome.schema, "rows": outcome.written.rows}
    if outcome.filtered is not None:
        told |= {"made": outcome.filtered.made, "reasons": outcome.filtered.reasons}
    judged = [_filter_material(each) for each in filters]
    judged += [file_material(requests, "requests")] if requests is not None else []
    if out.is_dir():
        write_record(out, "rows", told, [came_from, *judged])
        return out / RECORD
    rows = {out.name: (outcome.written.root, outcome.written.rows)}
    path = out.with_name(f"{out.name}.{RECORD}")
    write_statement(path, provenance("rows", told, {out.name: file_digest(out)}, [came_from, *judged], rows))
    return path


def _filter_material(each: Filter) -> Material:
    try:
        return setting_material("filter", each)
    except InputError:  # a filter that does not keep its arguments
        return Material("filter", kind_of(type(each)), {})


def _begun(
    rows: Iterable[tuple[Found, Row]], stream: RowStream, out: str | Path, to: str | None
) -> tuple[Iterable[tuple[Found, Row]], str | None]:
    """Read the first row, which tells the source's schema; filtered rows stay in that, if ``out`` can hold it."""
    begun = iter(rows)
    first = next(begun, None)
    if to is None and stream.schema is not None and str(out) != "-":
        plain = {"txt": ("text",), "csv": ("trl-plain", "alpaca", "text", "columns")}
        kind = container(str(out)) if Path(out).suffix else "folder"
        if stream.schema.name in plain.get(kind, (stream.schema.name,)):
            to = stream.schema.spelled
    return _again(first, begun), to


def _again(first: Any, rest: Iterator[Any]) -> Iterator[Any]:
    if first is not None:
        yield first
        yield from rest


def _filtered(
    rows: Iterable[tuple[Found, Row]], filters: Sequence[Filter], report: FilterReport, aside: "_Aside"
) -> Iterator[tuple[Found, Row]]:
    """Let through what no filter gives a reason against, and count the reasons."""
    counts: Counter[str] = Counter()
    rows = iter(rows)
    while chunk := list(islice(rows, TOGETHER)):
        report.made += len(chunk)
        judged = row_reasons([row for _, row in chunk], filters, [found for found, _ in chunk])
        for (found, row), reasons in zip(chunk, judged, strict=True):
            if reasons:
                counts.update(reasons)
                aside.add({"line": found.number, "reasons": sorted(reasons), **row})
            else:
                report.kept += 1
                yield found, row
    report.reasons = dict(counts.most_common())


def _all_dropped(report: FilterReport) -> str:
    top = ", ".join(f"{reason} ({count})" for reason, count in list(report.reasons.items())[:3])
    return f"The filters dropped all {report.made} rows: {top}. Nothing is written; loosen the filters."


class _Aside:
    """A file of JSON lines for rows that are left out; it is there, if there were any, once all has gone well.

    Args:
        path: the file; None writes nothing.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        if path is not None and path.exists() and not path.is_file():
            raise InputError(f"{path} is no regular file: name a new one, for the rows that are left out.")
        self._temporary: Path | None = None
        self._stream: Any = None

    def __enter__(self) -> "_Aside":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, err: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._stream is not None:
            self._stream.close()
        if self._temporary is not None:
            self._temporary.unlink(missing_ok=True)

    def wrong(self, found: Found, fault: Fault) -> None:
        """Keep a wrong row with its place and what is wrong."""
        self.add({"file": found.place, found.unit: found.number, "reason": str(fault), "record": found.record})

    def add(self, record: dict[str, Any]) -> None:
        """Keep one record, whatever is in it."""
        if self.path is None:
            return
        try:
            if self._stream is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._temporary = temporary_file(self.path)
                self._stream = self._temporary.open("w", encoding="utf-8")
            self._stream.write(_any_line(record) + "\n")
        except OSError as err:
            raise InputError(f"{self.path} can't be written ({err.strerror}).") from err

    def finish(self) -> Path | None:
        """Put the file in its place, or take an older one away where there is nothing to keep."""
        if self.path is None:
            return None
        if self._temporary is None:
            self.path.unlink(missing_ok=True)
            return None
        self._stream.close()
        replace(self._temporary, self.path)
        return self.path


def _any_line(record: dict[str, Any]) -> str:
    try:
        return json_line(record, Counter())
    except Fault:  # half of a surrogate pair, or too deep
        try:
            return json.dumps(record, default=str)
        except RecursionError:
            return json.dumps(record | {"record": "nested too deep to write"}, default=str)


def _beside(out: str | Path, ending: str) -> Path:
    path = Path(out)
    return path.with_name(path.name + ending)


def _check_apart(*names: str | Path | None) -> None:
    """Refuse two names for one file: a row would overwrite what it is read from."""
    seen: dict[Path, str] = {}
    for name in names:
        if name is None or str(name) == "-":
            continue
        try:
            path = Path(name).resolve()
        except (OSError, ValueError):
            continue
        if path in seen:
            raise InputError(f"{name} would overwrite {seen[path]}: give another name.")
        seen[path] = str(name)
