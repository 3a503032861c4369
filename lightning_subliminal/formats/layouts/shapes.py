"""Describe JSON values that are not rows: one object with the rows inside, a table of pandas, a list in a list."""

from collections.abc import Mapping
from itertools import chain
from typing import Any

from lightning_subliminal.formats.detection import SCHEMA_COLUMNS
from lightning_subliminal.formats.row_errors import Fault, expected, printable

__all__ = ["no_object", "one_object", "row_lists", "table_shape"]

_RECORDS = "write it with `to_json(path, orient='records', lines=True)`"


def one_object(whole: dict[str, Any]) -> str:
    """Return the keys of a JSON object in words, and under which its rows seem to be."""
    if shape := table_shape(whole):
        return shape
    keys = ", ".join(str(key)[:40] for key in list(whole)[:8])
    remedy = "write a list of rows, or one object a line"
    if lists := row_lists(whole):
        key, size = max(lists, key=lambda entry: entry[1])
        remedy = f"save the list under `{key}` ({size} objects) as the file"
    return printable(f"is one JSON object with the keys {keys or 'none'}, not a list of rows: {remedy}")


def row_lists(record: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Return the keys of an object under which rows may be, with their number; messages are not rows."""
    lists = [(key, each) for key, each in record.items() if isinstance(each, list) and each]
    lists = [(key, each) for key, each in lists if isinstance(each[0], dict) and not {"role", "from"} & set(each[0])]
    return [(key, len(each)) for key, each in lists]


def table_shape(whole: Mapping[str, Any]) -> str:
    """Describe an object that is a whole table, as pandas or `datasets` write one; return "" for any other."""
    values = list(whole.values())
    names = printable(", ".join(str(key)[:40] for key in list(whole)[:8]))
    if not values:
        return ""
    if all(isinstance(each, dict) and each for each in values):
        indices = set(values[0])
        if all(set(each) == indices for each in values) and all(map(_is_number, indices)):
            return f"is a pandas table by columns ({names}; {len(indices)} rows), not rows: {_RECORDS}"
        if all(map(_is_number, whole)):
            return f"is a table by row numbers ({len(values)} rows), as pandas writes with orient='index': {_RECORDS}"
    split = {"columns", "data"} <= set(whole) <= {"columns", "index", "data", "index_names", "column_names"}
    if split and isinstance(whole["data"], list) and all(isinstance(each, list) for each in whole["data"]):
        return f"is a pandas table in parts ({names}; {len(whole['data'])} rows), not rows: {_RECORDS}"
    lengths = {len(each) if isinstance(each, list) else 0 for each in values}
    if (
        not SCHEMA_COLUMNS.isdisjoint(whole)
        and len(values) > 1
        and len(lengths) == 1
        and 0 not in lengths
        and all(map(_is_plain, chain(*values)))
    ):
        return f"is a table by columns ({names}; {lengths.pop()} values each), not a row: write one object a row"
    return ""


def no_object(record: Any) -> Fault:
    """Return the fault of a record that is not an object, with what it seems to be."""
    hint = ""
    if isinstance(record, list) and record:
        if all(isinstance(each, (dict, list)) for each in record):
            talk = any(isinstance(each, dict) and {"role", "from"} & set(each) for each in record)
            hint = '; name the messages: {"messages": [...]}' if talk else "; take its items out of the inner list"
        elif all(isinstance(each, str) for each in record):
            hint = '; name the texts: {"prompt": ..., "completion": ...}'
    elif isinstance(record, str) and record.lstrip()[:1] in ("{", "["):
        hint = "; it was encoded as JSON twice: decode it once"
    return expected("", "an object", record, hint)


def _is_number(key: Any) -> bool:
    return str(key).isdecimal()


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, (str, int, float))
