"""Records into tables, in a stream: a Parquet file, or a folder of ``datasets``."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

__all__ = ["write_folder", "write_parquet"]

_ROWS = 8192  # rows written at once
_WEIGHT = 1 << 25  # characters written at once


def write_parquet(records: Iterable[dict[str, Any]], path: Path) -> list[str]:
    """Write records as one Parquet file, holding some thousands at a time.

    A column may come late, or hold nothing at first: parts with the same types are written to files of their own, and
    put together at the end. A column of several types becomes JSON text.

    Returns:
        The columns that became JSON text.
    """
    parts = _Parts(path)
    try:
        for batch in _batches(records):
            parts.add(batch)
        parts.join()
    finally:
        parts.clear()
    return sorted(parts.mixed)


def write_folder(records: Iterable[dict[str, Any]], path: Path) -> list[str]:
    """Write records as a folder of ``datasets`` at ``path``, by way of Parquet; give the columns that became JSON."""
    import datasets

    datasets.disable_progress_bars()
    work = path.with_name(f"{path.name}.work")
    try:
        work.mkdir(parents=True)
        mixed = write_parquet(records, work / "rows.parquet")
        made = datasets.Dataset.from_parquet(str(work / "rows.parquet"), cache_dir=str(work / "cache"))
        made.save_to_disk(str(path))
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return mixed


class _Parts:
    """Parquet files that together are one.

    Args:
        path: of the whole file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.mixed: set[str] = set()
        self._done: list[tuple[Path, set[str]]] = []  # each with its columns that are JSON already
        self._writer: Any = None
        self._json: set[str] = set()

    def add(self, records: list[dict[str, Any]]) -> None:
        """Write records, to the open part if their types are the same."""
        import pyarrow.parquet

        table, as_json = _table(records)
        if self._writer is not None and (self._json != as_json or not table.schema.equals(self._writer.schema)):
            fitted = _cast(table, self._writer.schema) if self._json == as_json else None
            if fitted is None:
                self.close()
            else:
                table = fitted
        if self._writer is None:
            part = self.path.with_name(f"{self.path.name}.part{len(self._done)}")
            self._writer = pyarrow.parquet.ParquetWriter(part, table.schema)
            self._json = as_json
            self._done.append((part, as_json))
        self._writer.write_table(table)
        self.mixed |= as_json

    def close(self) -> None:
        """End the open part."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def join(self) -> None:
        """Put the parts together at ``path``."""
        import pyarrow
        import pyarrow.parquet

        self.close()
        if len(self._done) == 1:
            os.replace(self._done[0][0], self.path)
            return
        schemas = [pyarrow.parquet.read_schema(part) for part, _ in self._done]
        try:
            self._write(_united(schemas, self.mixed))
        except pyarrow.ArrowException:  # types that go together, but values that don't: 2**60 and 0.5
            first = {field.name: field.type for schema in reversed(schemas) for field in schema}
            self.mixed |= {field.name for schema in schemas for field in schema if field.type != first[field.name]}
            self._write(_united(schemas, self.mixed))

    def _write(self, whole: Any) -> None:
        import pyarrow
        import pyarrow.parquet

        with pyarrow.parquet.ParquetWriter(self.path, whole) as writer:
            for part, as_json in self._done:
                with pyarrow.parquet.ParquetFile(part) as file:
                    for place in range(file.num_row_groups):
                        records = file.read_row_group(place).to_pylist()
                        for name in self.mixed - as_json:
                            _to_json(records, name)
                        writer.write_table(pyarrow.Table.from_pylist(records, whole))

    def clear(self) -> None:
        """Leave no part behind."""
        with contextlib.suppress(Exception):
            self.close()
        for part, _ in self._done:
            part.unlink(missing_ok=True)


def _batches(records: Iterable[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    weight = 0
    for record in records:
        batch.append(record)
        weight += _weight(record)
        if len(batch) >= _ROWS or weight >= _WEIGHT:
            yield batch
            batch, weight = [], 0
    if batch:
        yield batch


def _weight(value: Any) -> int:
    """Return about how many characters a value holds."""
    if isinstance(value, str):
        return len(value)
    if isinstance(value, dict):
        return sum(map(_weight, value.values()))
    if isinstance(value, list):
        return sum(map(_weight, value))
    return 8


def _table(records: list[dict[str, Any]]) -> tuple[Any, set[str]]:
    """Make a table of records; give the columns too that are of several types, and so are JSON text in it."""
    import pyarrow

    columns: dict[str, Any] = {}
    as_json = set()
    for name in dict.fromkeys(key for record in records for key in record):
        values = [record.get(name) for record in records]
        try:
            array = pyarrow.array(values)
            if _is_hollow(array.type):
                raise pyarrow.ArrowInvalid("Parquet holds no object without keys")
        except (pyarrow.ArrowException, OverflowError, TypeError, ValueError):
            texts = [{name: value} for value in values]
            _to_json(texts, name)
            array = pyarrow.array([each[name] for each in texts], pyarrow.string())
            as_json.add(name)
        columns[name] = array
    return pyarrow.table(columns), as_json


def _to_json(records: list[dict[str, Any]], name: str) -> None:
    for record in records:
        value = record.get(name)
        if value is not None:
            record[name] = json.dumps(value, default=str)


def _is_hollow(kind: Any) -> bool:
    import pyarrow

    if pyarrow.types.is_struct(kind):
        return kind.num_fields == 0 or any(_is_hollow(kind.field(place).type) for place in range(kind.num_fields))
    return pyarrow.types.is_list(kind) and _is_hollow(kind.value_type)


def _cast(table: Any, schema: Any) -> Any:
    """Return a table in another schema, if it loses nothing there; else None."""
    import pyarrow

    if not set(table.column_names) <= set(schema.names):
        return None
    columns = []
    for field in schema:
        if field.name not in table.column_names:
            columns.append(pyarrow.nulls(table.num_rows, field.type))
            continue
        column = table.column(field.name)
        if column.type != field.type:
            if not pyarrow.types.is_null(column.type):
                return None
            column = pyarrow.nulls(table.num_rows, field.type)
        columns.append(column)
    return pyarrow.table(columns, schema=schema)


def _united(schemas: list[Any], mixed: set[str]) -> Any:
    """Return the one schema for all; what has no common type is added to ``mixed`` and becomes text."""
    import pyarrow

    fields: dict[str, Any] = {}
    for schema in schemas:
        for field in schema:
            old = fields.get(field.name)
            if field.name in mixed or old is None:
                fields[field.name] = field
                continue
            try:
                pair = [pyarrow.schema([old]), pyarrow.schema([field])]
                fields[field.name] = pyarrow.unify_schemas(pair, promote_options="permissive").field(0)
            except pyarrow.ArrowException:
                mixed.add(field.name)
    return pyarrow.schema(
        [pyarrow.field(name, pyarrow.string()) if name in mixed else field for name, field in fields.items()]
    )
