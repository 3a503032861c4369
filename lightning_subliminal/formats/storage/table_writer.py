"""Write records as tables, in a stream: a Parquet file, or a folder of ``datasets``."""

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

__all__ = ["write_folder", "write_parquet"]

_ROWS = 8192  # rows written at once
_WEIGHT = 1 << 25  # characters written at once


def write_parquet(records: Iterable[dict[str, Any]], path: Path) -> list[str]:
    """Write records as one Parquet file, holding some thousands at a time.

    A column may appear late, or be empty at first: each batch is written to a file of its own, and all are joined under
    one schema at the end. A column of several types becomes JSON text.

    Returns:
        The columns that became JSON text.
    """
    import pyarrow
    import pyarrow.parquet

    with TemporaryDirectory(dir=path.parent, prefix=f"{path.name}.") as folder:
        parts: list[tuple[Path, set[str]]] = []  # each with its columns that are already JSON
        schemas = []
        for batch in _batches(records):
            table, as_json = _table(batch)
            parts.append((Path(folder, str(len(parts))), as_json))
            schemas.append(table.schema)
            pyarrow.parquet.write_table(table, parts[-1][0])
        mixed: set[str] = set().union(*(as_json for _, as_json in parts))
        if len(parts) == 1:
            os.replace(parts[0][0], path)
            return sorted(mixed)
        try:
            _join(parts, path, _united(schemas, mixed), mixed)
        except pyarrow.ArrowException:  # types that combine, but values that do not: 2**60 and 0.5
            first = {field.name: field.type for schema in reversed(schemas) for field in schema}
            mixed |= {field.name for schema in schemas for field in schema if field.type != first[field.name]}
            _join(parts, path, _united(schemas, mixed), mixed)
    return sorted(mixed)


def write_folder(records: Iterable[dict[str, Any]], path: Path) -> list[str]:
    """Write records as a folder of ``datasets`` at ``path``, by way of Parquet; return the columns that became JSON."""
    import datasets

    datasets.disable_progress_bars()
    try:
        with TemporaryDirectory(dir=path.parent, prefix=f"{path.name}.") as work:
            mixed = write_parquet(records, Path(work, "rows.parquet"))
            made = datasets.Dataset.from_parquet(str(Path(work, "rows.parquet")), cache_dir=str(Path(work, "cache")))
            made.save_to_disk(str(path))
    except BaseException:
        shutil.rmtree(path, ignore_errors=True)
        raise
    return mixed


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
    """Return the records as a table, and the columns of several types, which are JSON text in it."""
    import pyarrow

    columns: dict[str, Any] = {}
    as_json = set()
    for name in dict.fromkeys(key for record in records for key in record):
        values = [record.get(name) for record in records]
        try:
            columns[name] = pyarrow.array(values)
            if _is_hollow(columns[name].type):
                raise pyarrow.ArrowInvalid("Parquet holds no object without keys")
        except (pyarrow.ArrowException, OverflowError, TypeError, ValueError):
            columns[name] = pyarrow.array(_json_texts(values), pyarrow.string())
            as_json.add(name)
    return pyarrow.table(columns), as_json


def _json_texts(values: list[Any]) -> list[str | None]:
    return [None if value is None else json.dumps(value, default=str) for value in values]


def _is_hollow(kind: Any) -> bool:
    import pyarrow

    if pyarrow.types.is_struct(kind):
        return kind.num_fields == 0 or any(_is_hollow(kind.field(place).type) for place in range(kind.num_fields))
    return pyarrow.types.is_list(kind) and _is_hollow(kind.value_type)


def _united(schemas: list[Any], mixed: set[str]) -> Any:
    """Return the one schema of all parts; a column without a common type is added to ``mixed`` and becomes text."""
    import pyarrow

    fields: dict[str, Any] = {}
    for field in (field for schema in schemas for field in schema):
        try:
            pair = [pyarrow.schema([fields.get(field.name, field)]), pyarrow.schema([field])]
            fields[field.name] = pyarrow.unify_schemas(pair, promote_options="permissive").field(0)
        except pyarrow.ArrowException:
            mixed.add(field.name)
    return pyarrow.schema(
        [pyarrow.field(name, pyarrow.string()) if name in mixed else field for name, field in fields.items()]
    )


def _join(parts: list[tuple[Path, set[str]]], path: Path, whole: Any, mixed: set[str]) -> None:
    """Write the parts as one file of the schema ``whole``, in which the columns ``mixed`` are JSON text.

    Raises:
        ArrowException: if a value can't be converted to the type of its column.
    """
    import pyarrow
    import pyarrow.parquet

    with pyarrow.parquet.ParquetWriter(path, whole) as writer:
        for part, as_json in parts:
            with pyarrow.parquet.ParquetFile(part) as file:
                table = file.read()
            if mixed - as_json or not table.schema.equals(whole):
                columns = []
                for field in whole:
                    known = field.name in table.column_names
                    values = table[field.name].to_pylist() if known else [None] * table.num_rows
                    texts = field.name in mixed - as_json
                    columns.append(pyarrow.array(_json_texts(values) if texts else values, field.type))
                table = pyarrow.table(columns, schema=whole)
            writer.write_table(table)
