"""The folder of a report: the page, and what it was made from as plain files that other programs read."""

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.files import atomically, csv_text, read_bytes, read_text
from lightning_subliminal.lineage import Material, read_record, write_record
from lightning_subliminal.plans.report.contents import checked, cleaned
from lightning_subliminal.plans.report.drawing import png
from lightning_subliminal.plans.report.page import Drawings, draw_all, page

__all__ = ["read_report", "record_again", "record_report", "write_report"]

CLAIM_COLUMNS = (
    *("experiment", "id", "says", "source", "theirs", "statistic", "unit", "count", "value", "low", "high"),
    *("range_low", "range_high", "verdict", "p", "p_adjusted", "note", "lineage"),
    *("targeted", "targeted_low", "targeted_high", "rank", "rank_of"),
)
_REPORT, _CELLS = "report.json", "cells.csv"


def write_report(
    report: Mapping[str, Any], cells: Sequence[Mapping[str, Any]], folder: Path, anew: bool = True
) -> Path:
    """Write ``report.json``, ``claims.csv``, ``cells.csv``, ``figures/`` and ``report.html``; give the page's path.

    In the CSV files None is an empty cell, and a text that would be read as something else is quoted as in JSON, so
    that ``read_report`` gives the same values. A figure is ``figures/<experiment>-<n>.svg`` and ``.png``, n from 1.
    The same report gives the same bytes.

    Args:
        report: by the schema of ``contents.py``.
        cells: flat rows.
        folder: made if it is missing.
        anew: also where the folder holds the same report already; else nothing is drawn again then.

    Raises:
        InputError: if the report lacks something, or the folder can't be written.
    """
    folder = Path(folder)
    whole = checked(report)
    told = json.dumps(whole, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    rows = [cleaned(cell) for cell in cells]
    table = _table(rows, tuple(dict.fromkeys(key for row in rows for key in row)))
    if (
        not anew
        and (folder / "report.html").is_file()
        and _holds(folder / _REPORT, told)
        and _holds(folder / _CELLS, table)
    ):
        return folder / "report.html"
    drawn = draw_all(whole)
    html = page(whole, drawn)  # before anything is written: a report that can't be shown leaves the old one
    _write_figures(whole, drawn, folder / "figures")
    _write(folder / "claims.csv", _table([_flat(claim) for claim in whole["claims"]], CLAIM_COLUMNS))
    _write(folder / "report.html", html)
    _write(folder / _CELLS, table)
    _write(folder / _REPORT, told)  # last: a folder with it is whole
    return folder / "report.html"


def record_report(folder: Path, title: str, seeds: Sequence[int], materials: Sequence[Material]) -> None:
    """Write the lineage of a report: its files, and the measurements that it was read from."""
    write_record(folder, "report", {"title": title, "seeds": list(seeds)}, materials, files=_own_files(folder))


def record_again(folder: Path, source: Path, sign: bool = True) -> None:
    """Write the lineage of a report that was made again: from what the first one was made from.

    Args:
        folder: where the report is now.
        source: where the first one is.
        sign: whether the key of this machine, if one is named, signs it.
    """
    told = read_record(source)
    if told is not None:
        write_record(folder, "report", told.settings, told.materials, files=_own_files(folder), sign=sign)


def _own_files(folder: Path) -> list[str]:
    drawn = sorted(f"figures/{each.name}" for each in (folder / "figures").glob("*") if each.is_file())
    return [_CELLS, "claims.csv", _REPORT, "report.html", *drawn]


def read_report(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Read a report and its cells again; a cell that a row lacked is None.

    Raises:
        InputError: if a file is missing or damaged.
    """
    folder = Path(folder)
    text = _text(folder / _REPORT)
    try:
        report = json.loads(text)
    except (ValueError, RecursionError) as err:
        raise _damaged(folder / _REPORT, str(err)) from err
    try:
        whole = checked(report)
    except InputError as err:
        raise _damaged(folder / _REPORT, str(err)) from err
    return whole, _rows(folder / _CELLS)


def _write_figures(report: Mapping[str, Any], drawn: Drawings, folder: Path) -> None:
    for experiment in report["experiments"]:
        for at, (canvas, element) in enumerate(drawn[experiment["name"]], start=1):
            # The name comes from outside: no separator in it may lead out of the folder.
            name = f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', experiment['name']).lstrip('.')}-{at}"
            # Outside of a page there is no ink to take: dark on white, as in the PNG.
            alone = element.replace('style="', 'style="color: #1b1c1f; background: #fff; font-family: sans-serif; ', 1)
            _write(folder / f"{name}.svg", f'<?xml version="1.0" encoding="utf-8"?>\n{alone}\n')
            atomically(folder / f"{name}.png", partial(_write_bytes, png(canvas)))


def _holds(path: Path, text: str) -> bool:
    try:
        return read_bytes(path) == text.encode()
    except (OSError, InputError):
        return False


def _write_bytes(content: bytes, path: Path) -> None:
    path.write_bytes(content)


def _flat(claim: Mapping[str, Any]) -> dict[str, Any]:
    low, high = claim["range"]
    flat = {**claim, "range_low": low, "range_high": high, "lineage": " ".join(claim["lineage"])}
    beside = claim["targeted"] or {}
    flat |= {"targeted": beside.get("value"), "rank": beside.get("rank"), "rank_of": beside.get("rank_of")}
    flat |= {f"targeted_{end}": beside.get(end) for end in ("low", "high")}
    return {key: flat[key] for key in CLAIM_COLUMNS}


def _write(path: Path, text: str) -> None:
    atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline=""))


def _table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    return (
        csv_text(columns, [[_shown(row.get(column)) for column in columns] for row in rows])
        if columns
        else "\n" * len(rows)
    )


def _shown(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str) and value and not value.startswith('"') and not _is_json(value):
        return value
    return json.dumps(value, ensure_ascii=False)


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _rows(path: Path) -> list[dict[str, Any]]:
    try:
        lines = list(csv.reader(io.StringIO(_text(path), newline=""), strict=True))
        if any(len(line) != len(lines[0]) for line in lines):
            raise _damaged(path, "not all lines have the same number of cells")
        columns = lines[0] if lines else []
        return [{key: _value(cell) for key, cell in zip(columns, line, strict=True)} for line in lines[1:]]
    except csv.Error as err:
        raise _damaged(path, str(err)) from err


def _value(cell: str) -> Any:
    if not cell:
        return None
    try:
        return json.loads(cell)
    except (ValueError, RecursionError):
        return cell


def _text(path: Path) -> str:
    try:
        return read_text(path)
    except (FileNotFoundError, NotADirectoryError) as err:
        raise InputError(f"{path} is not there: give a folder that `run` made, such as runs/paper-1a2b3c4d.") from err
    except (OSError, UnicodeDecodeError) as err:
        raise _damaged(path, str(err)) from err


def _damaged(path: Path, why: str) -> InputError:
    return InputError(f"{path} is damaged ({' '.join(why.split())}): make the report again.")
