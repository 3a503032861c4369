"""Convert a set to another format, as a stream of rows, which filters may thin out."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import file_digest
from lightning_subliminal.core.io.files import replace, temporary_file
from lightning_subliminal.core.kinds import kind_of
from lightning_subliminal.core.rows import Row
from lightning_subliminal.filters import Filter, FilterReport
from lightning_subliminal.filters.base import row_reasons
from lightning_subliminal.formats.card import write_card
from lightning_subliminal.formats.conversion import Conversion
from lightning_subliminal.formats.layouts.choosing import default_schema
from lightning_subliminal.formats.layouts.schema import Schema
from lightning_subliminal.formats.layouts.schemas import make_schema
from lightning_subliminal.formats.row_errors import Fault
from lightning_subliminal.formats.storage.readers import RowSource, container, open_source
from lightning_subliminal.formats.storage.records import Found
from lightning_subliminal.formats.storage.stream import NoRowsError, RowStream, write_stream
from lightning_subliminal.formats.storage.writers import HELD, json_line
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

__all__ = ["Conversion", "convert"]

_CHUNK = 1000  # rows that filters see at once: a judge works in batches


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
    watch: Callable[[RowSource], None] | None = None,
    requests: str | Path | None = None,
) -> Conversion:
    """Read a set, filter it, and write it, whole or not at all, with a dataset card.

    Args:
        source: as ``read_rows`` takes it.
        out: as ``write_rows`` takes it.
        to: the schema to write; where it is None the source's own if there are filters, else trl; or what ``out`` can
            hold.
        schema: the source's; detected from its columns where it is None.
        filters: which rows are kept.
        drop_system: whether to drop system messages.
        on_error: `stop` at a wrong row, or `skip` it and write it to ``OUT.bad.jsonl`` with line and reason.
        split: of a source with several ones.
        dropped: where rows that a filter dropped are written, with the reasons.
        card: whether to write a dataset card and the set's lineage.
        watch: called with the opened source, to show how far it is read.
        requests: of a batch's answers, the file with the questions; searched next to the source where it is None.

    Raises:
        InputError: if a row is wrong, no row is left, a file can't be read or written, or one would overwrite another.
    """
    bad_path = Path(f"{Path(out)}.bad.jsonl") if on_error == "skip" and str(out) != "-" else None
    _check_apart(source, out, bad_path, dropped)
    _check_apart(requests, out, bad_path, dropped)
    opened = open_source(source, split)
    if opened.path is not None and Path(out).absolute() in opened.path.absolute().parents:
        raise InputError(f"{out} is the folder that {source} is in: name another one.")
    if watch is not None:
        watch(opened)
    dropped_path = Path(dropped) if dropped is not None else None
    with _aside(bad_path) as add_bad, _aside(dropped_path) as add_dropped:

        def skip(found: Found, fault: Fault) -> None:
            add_bad({"file": found.place, found.unit: found.number, "reason": str(fault), "record": found.record})

        stream = RowStream(opened, schema, drop_system, on_error, skip, requests)
        rows: Iterable[tuple[Found, Row]] = stream
        report = FilterReport(0, 0, {}) if filters else None
        if report is not None:
            rows, to = _peek(rows, stream, out, to)
            rows = _filtered(rows, filters, report, add_dropped)
        target = make_schema(to or default_schema(out))
        try:
            written = write_stream(rows, out, target, stream)
        except NoRowsError as err:
            if report is None or not report.made:
                raise
            top = ", ".join(f"{reason} ({count})" for reason, count in list(report.reasons.items())[:3])
            dropped_all = f"The filters dropped all {report.made} rows: {top}. Nothing is written; loosen the filters."
            raise NoRowsError(dropped_all) from err
    files = [path for path in (bad_path, dropped_path) if path is not None and path.exists()]
    source_schema = stream.schema.spelled if stream.schema is not None else ""
    outcome = Conversion(source_schema, target.spelled, written, stream.report.bad, report, files, [])
    if str(out) != "-":
        files.insert(0, Path(out))
        if card:
            path, remark = write_card(Path(out), opened, outcome, filters)
            files.append(_write_lineage(Path(out), opened, outcome, filters, stream.requests_file))
            files += [path] if path is not None else []
            outcome.remarks += [remark] if remark else []
    return outcome


def _write_lineage(
    out: Path, source: RowSource, outcome: Conversion, filters: Sequence[Filter], requests: Path | None
) -> Path:
    """Write what the set was made from to NAME.lineage.json, or into the set where it is a folder."""
    is_local = source.path is not None and source.path.exists()
    materials = [source_material("rows", source.path) if is_local else Material("rows", source.name, {})]  # type: ignore[arg-type]
    parameters: dict[str, Any] = {"schema": outcome.schema, "rows": outcome.written.rows}
    if outcome.filtered is not None:
        parameters |= {"made": outcome.filtered.made, "reasons": outcome.filtered.reasons}
    materials += [_filter_material(each) for each in filters]
    materials += [file_material(requests, "requests")] if requests is not None else []
    if out.is_dir():
        write_record(out, "rows", parameters, materials)
        return out / RECORD
    rows = {out.name: (outcome.written.root, outcome.written.rows)}
    path = out.with_name(f"{out.name}.{RECORD}")
    write_statement(path, provenance("rows", parameters, {out.name: file_digest(out)}, materials, rows))
    return path


def _filter_material(each: Filter) -> Material:
    try:
        return setting_material("filter", each)
    except InputError:  # a filter that does not keep its arguments
        return Material("filter", kind_of(type(each)), {})


def _peek(
    rows: Iterable[tuple[Found, Row]], stream: RowStream, out: str | Path, to: str | None
) -> tuple[Iterable[tuple[Found, Row]], str | None]:
    """Read the first row, which sets the source's schema; filtered rows stay in that, if ``out`` can hold it."""
    rest = iter(rows)
    first = list(islice(rest, 1))
    if to is None and stream.schema is not None and str(out) != "-":
        kind = container(str(out)) if Path(out).suffix else "folder"
        if stream.schema.name in HELD.get(kind, (stream.schema.name,)):
            to = stream.schema.spelled
    return chain(first, rest), to


def _filtered(
    rows: Iterable[tuple[Found, Row]],
    filters: Sequence[Filter],
    report: FilterReport,
    add_dropped: Callable[[dict[str, Any]], None],
) -> Iterator[tuple[Found, Row]]:
    """Yield the rows that no filter drops, and count the reasons."""
    counts: Counter[str] = Counter()
    rows = iter(rows)
    while chunk := list(islice(rows, _CHUNK)):
        report.made += len(chunk)
        all_reasons = row_reasons([row for _, row in chunk], filters, [found for found, _ in chunk])
        for (found, row), reasons in zip(chunk, all_reasons, strict=True):
            if reasons:
                counts.update(reasons)
                add_dropped({"line": found.number, "reasons": sorted(reasons), **row})
            else:
                report.kept += 1
                yield found, row
    report.reasons = dict(counts.most_common())


@contextmanager
def _aside(path: Path | None) -> Iterator[Callable[[dict[str, Any]], None]]:
    """Yield a function that writes records to a file of JSON lines; on success it replaces ``path``, or removes it.

    Args:
        path: the file, for rows that are left out; None writes nothing.

    Raises:
        InputError: if the file can't be written.
    """
    if path is not None and path.exists() and not path.is_file():
        raise InputError(f"{path} is not a regular file: name a new one, for the rows that are left out.")
    temporary: Path | None = None
    stream: IO[str] | None = None

    def add(record: dict[str, Any]) -> None:
        nonlocal temporary, stream
        if path is None:
            return
        try:
            if stream is None:
                path.parent.mkdir(parents=True, exist_ok=True)
                temporary = temporary_file(path)
                stream = temporary.open("w", encoding="utf-8")
            stream.write(_any_line(record) + "\n")
        except OSError as err:
            raise InputError(f"{path} can't be written ({err.strerror}).") from err

    try:
        yield add
        if stream is not None and temporary is not None and path is not None:
            stream.close()
            replace(temporary, path)
        elif path is not None:
            path.unlink(missing_ok=True)
    finally:
        if stream is not None:
            stream.close()
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def _any_line(record: dict[str, Any]) -> str:
    try:
        return json_line(record, Counter())
    except Fault:  # half of a surrogate pair, or too deep
        try:
            return json.dumps(record, default=str)
        except RecursionError:
            return json.dumps(record | {"record": "nested too deep to write"}, default=str)


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
            raise InputError(f"{name} would overwrite {seen[path]}: choose another name.")
        seen[path] = str(name)
