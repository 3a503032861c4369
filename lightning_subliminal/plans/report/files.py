"""The folder of a report: the page, and its data as plain files that other programs read."""

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
from lightning_subliminal.plans.report.page import Drawings, draw_all, page
from lightning_subliminal.plans.report.svg import png

__all__ = ["read_report", "read_rows", "record_again", "record_report", "write_report"]

CLAIM_COLUMNS = (
    *("experiment", "id", "says", "source", "theirs", "statistic", "unit", "count", "value", "low", "high"),
    *("range_low", "range_high", "verdict", "p", "p_adjusted", "note", "lineage"),
    *("targeted", "targeted_low", "targeted_high", "rank", "rank_of"),
)
_REPORT, _CELLS = "report.json", "cells.csv"


def write_report(
    report: Mapping[str, Any], cells: Sequence[Mapping[str, Any]], folder: Path, redraw: bool = True
) -> Path:
    """Write ``report.json``, ``claims.csv``, ``cells.csv``, ``figures/`` and ``report.html``.

    In the CSV files None is an empty cell, and a text that would be read as another value is quoted as in JSON, so that
    ``read_report`` returns the same values. A figure is ``figures/<experiment>-<n>.svg`` and ``.png``, n from 1. The
    same report gives the same bytes.

    Args:
        report: as ``schema.yaml`` describes.
        cells: flat rows.
        folder: created if it is missing.
        redraw: whether to draw again if the folder already holds the same report.

    Returns:
        The path of the page.

    Raises:
        InputError: if the report is not valid, or the folder can't be written.
    """
    folder = Path(folder)
    whole = checked(report)
    text = json.dumps(whole, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    rows = [cleaned(cell) for cell in cells]
    table = _table(rows, tuple(dict.fromkeys(key for row in rows for key in row)))
    same = (folder / "report.html").is_file() and _holds(folder / _REPORT, text) and _holds(folder / _CELLS, table)
    if same and not redraw:
        return folder / "report.html"
    drawn = draw_all(whole)
    html = page(whole, drawn)  # before anything is written: a report that can't be shown leaves the old one
    _write_figures(whole, drawn, folder / "figures")
    _write(folder / "claims.csv", _table([_flat(claim) for claim in whole["claims"]], CLAIM_COLUMNS))
    _write(folder / "report.html", html)
    _write(folder / _CELLS, table)
    _write(folder / _REPORT, text)  # last: a folder with it is whole
    return folder / "report.html"


def record_report(folder: Path, title: str, seeds: Sequence[int], materials: Sequence[Material]) -> None:
    """Write the lineage of a report: its files, and the measurements that it is made from."""
    write_record(folder, "report", {"title": title, "seeds": list(seeds)}, materials, files=_own_files(folder))


def record_again(folder: Path, source: Path, sign: bool = True) -> None:
    """Write the lineage of a report that was made again, from the materials of the first one.

    Args:
        folder: where the report is now.
        source: where the first one is.
        sign: whether to sign it with the key of this machine, if one is set.
    """
    record = read_record(source)
    if record is not None:
        write_record(folder, "report", record.settings, record.materials, files=_own_files(folder), sign=sign)


def _own_files(folder: Path) -> list[str]:
    drawn = sorted(f"figures/{each.name}" for each in (folder / "figures").glob("*") if each.is_file())
    return [_CELLS, "claims.csv", _REPORT, "report.html", *drawn]


def read_report(folder: Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Read a report and its cells; a cell that a row lacked is None.

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
    return whole, read_rows(folder / _CELLS)


def _write_figures(report: Mapping[str, Any], drawn: Drawings, folder: Path) -> None:
    for experiment in report["experiments"]:
        for at, (canvas, element) in enumerate(drawn[experiment["name"]], start=1):
            # The name is not ours: no separator in it may lead out of the folder.
            name = f"{re.sub(r'[^A-Za-z0-9_.-]+', '_', experiment['name']).lstrip('.')}-{at}"
            # Outside of a page there is no colour to inherit: dark on white, as in the PNG.
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
    if not columns:
        return "\n" * len(rows)
    return csv_text(columns, [[_shown(row.get(column)) for column in columns] for row in rows])


def _shown(value: Any) -> str:
    if value is None:
        return ""
    plain = isinstance(value, str) and value and not value.startswith('"') and _value(value) is value
    return value if plain else json.dumps(value, ensure_ascii=False)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Read a table that a report wrote, such as ``cells.csv``; an empty cell is None."""
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
        raise InputError(f"{path} is not there: pass a folder that `run` made, such as runs/paper-1a2b3c4d.") from err
    except (OSError, UnicodeDecodeError) as err:
        raise _damaged(path, str(err)) from err


def _damaged(path: Path, why: str) -> InputError:
    return InputError(f"{path} is damaged ({' '.join(why.split())}): make the report again.")
