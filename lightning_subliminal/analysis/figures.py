"""Figures of a report as data: bars, matrices, curves and scatters; the report draws them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lightning_subliminal.analysis.cells import (
    CellResult,
    as_names,
    by_answer,
    grouped,
    limits_of,
    lineage_digest,
    matrix_of,
    select,
)
from lightning_subliminal.analysis.estimates import group_estimate
from lightning_subliminal.analysis.resampling import beyond_other_rows, matrix_statistic
from lightning_subliminal.analysis.statistics import mean_estimate
from lightning_subliminal.core.config.building import known_name
from lightning_subliminal.core.errors import InputError

__all__ = ["cell_sets", "check_figure", "figure_values", "make_figure"]

_KEYS = {
    "bars": ("kind", "title", "caption", "y", "value", "arms", "where", "by", "over"),
    "matrix": ("kind", "title", "caption", "arm", "where", "rows", "columns", "value"),
    "curves": ("kind", "title", "caption", "x", "y", "log_x", "value", "curves", "over"),
    "scatter": ("kind", "title", "caption", "x", "y", "arms", "where", "by", "over"),
}
FEWEST_RANKED = 20  # points of a scatter below which no rank correlation is shown
_CURVE_KEYS = ("label", "arm", "arms", "where", "x", "value", "values")


def check_figure(spec: Mapping[str, Any], arms: Sequence[str]) -> None:
    """Check that a figure can be made, before anything is run.

    Raises:
        InputError: naming what is missing or unknown.
    """
    kind = str(spec.get("kind"))
    known_name(kind, _KEYS, f"there is no kind of figure {kind!r}")
    for key in spec:
        known_name(str(key), _KEYS[kind], f"a figure of {kind} takes no `{key}`")
    if kind == "curves" and not spec.get("curves"):
        raise InputError("a figure of curves lacks `curves`: add a list, each with `arm`.")
    for curve in spec.get("curves", []):
        for key in curve:
            known_name(str(key), _CURVE_KEYS, f"a curve takes no `{key}`")
    named = [*spec.get("arms", []), *([spec["arm"]] if "arm" in spec else [])]
    for curve in spec.get("curves", []):
        named += curve["arms"].values() if "arms" in curve else [curve.get("arm")]
    for arm in named:
        known_name(str(arm), arms, f"a figure names an unknown arm {arm!r}")


def figure_values(spec: Mapping[str, Any]) -> list[str]:
    """Return the names of the numbers that a figure shows."""
    if spec["kind"] == "scatter":
        return [str(spec["x"]), str(spec["y"])]
    value = spec.get("value", "transfer")
    if spec["kind"] != "curves":
        return [str(each) for each in as_names(value)]
    named = []
    for curve in spec["curves"]:
        named += list(curve["values"].values()) if "values" in curve else [curve.get("value", value)]
    return [str(each) for each in named]


def make_figure(spec: Mapping[str, Any], cells: Sequence[CellResult]) -> dict[str, Any]:
    """Return a figure as JSON-able data, by the schema of the report."""
    make = {"bars": _bars, "matrix": _matrix, "curves": _curves, "scatter": _scatter}[spec["kind"]]
    caption = " ".join(str(spec.get("caption", "")).split())
    return {"kind": spec["kind"], "title": spec.get("title", ""), "caption": caption} | make(spec, cells)


def _bars(spec: Mapping[str, Any], cells: Sequence[CellResult]) -> dict[str, Any]:
    values = as_names(spec.get("value", "transfer"))
    bars = []
    for label, mine in cell_sets(spec, cells):
        for value in values:
            if (mark := _mark(mine, value, spec.get("over", "target"))) is not None:
                bars.append({"label": label, "group": value if len(values) > 1 else None} | mark)
    return {"y": spec.get("y", values[0]), "limits": _limits(cells, values), "bars": bars}


def _matrix(spec: Mapping[str, Any], cells: Sequence[CellResult]) -> dict[str, Any]:
    rows, columns, value = spec.get("rows", "teacher"), spec.get("columns", "student"), spec.get("value", "transfer")
    mine, value = by_answer(select(cells, spec.get("arm"), spec.get("where")), rows, columns, value)
    found, first, second = matrix_of(mine, rows, columns, value)
    low, high = (np.full_like(found, np.nan) for _ in range(2))
    for i, row in enumerate(first):
        for j, column in enumerate(second):
            groups, unit = grouped(select(mine, None, {rows: row, columns: column}), value, "target")
            estimate = group_estimate(groups, unit, limits=limits_of(mine, value))
            if estimate is not None:
                low[i, j], high[i, j] = estimate.low, estimate.high
    figure: dict[str, Any] = {"rows": [str(each) for each in first], "columns": [str(each) for each in second]}
    figure |= {"row_title": rows, "column_title": columns, "value_title": value, "statistic": None}
    figure |= {"limits": _limits(mine, [value]), "values": _table(found), "low": _table(low), "high": _table(high)}
    if first == second and len(first) > 1 and not np.isnan(found).any():
        test = matrix_statistic(found)
        figure["statistic"] = (
            f"diagonal less grand mean {test.value:+.2f} [{test.low:+.2f}, {test.high:+.2f}] over rows; "
            f"less the other cells {test.contrast:+.2f} [{test.contrast_low:+.2f}, {test.contrast_high:+.2f}] "
            f"(rain-1's lambda); p = {test.p:.2g} by permuting columns"
            + (f"; {test.reading}" if test.reading else "")
            + (f"; {_beyond(found, first, rows)}" if columns == "answer" else "")
        )
    return figure


def _beyond(found: np.ndarray, names: Sequence[Any], rows: str) -> str:
    """Return in words how much more each row's own answer gained than the same answer in the other rows."""
    each = beyond_other_rows(found)
    mean = mean_estimate(each, f"{rows}s")
    listed = ", ".join(f"{name} {value:+.2f}" for name, value in zip(names, each, strict=True))
    ends = "" if np.isnan(mean.low) else f" [{mean.low:+.2f}, {mean.high:+.2f}]"
    return f"beyond the same answer in the other rows: {listed}; mean {mean.value:+.2f}{ends} over {mean.unit}"


def _curves(spec: Mapping[str, Any], cells: Sequence[CellResult]) -> dict[str, Any]:
    curves = []
    for curve in spec["curves"]:
        mine = select(cells, curve.get("arm"), curve.get("where"))
        value, points = curve.get("value", spec.get("value", "transfer")), []
        if "arms" in curve:  # one arm per place
            places = [(float(x), select(cells, arm, curve.get("where")), value) for x, arm in curve["arms"].items()]
        elif "values" in curve:  # one number per place, all of one cell
            places = [(float(x), mine, name) for x, name in curve["values"].items()]
        else:
            axis = curve.get("x", spec.get("x"))
            found = list(dict.fromkeys(cell.axes[axis] for cell in mine if axis in cell.axes))
            places = [(float(x), select(mine, None, {axis: x}), value) for x in found]
        for x, here, name in places:
            if (mark := _mark(here, name, spec.get("over", "target"))) is not None:
                points.append(mark | {"x": x, "points": [point["value"] for point in mark["points"]]})
        curves.append(
            {"label": curve.get("label", curve.get("arm")), "points": sorted(points, key=lambda each: each["x"])}
        )
    return {
        "x": spec.get("x", ""),
        "y": spec.get("y", spec.get("value", "transfer")),
        "log_x": bool(spec.get("log_x")),
        "limits": _limits(cells, figure_values(spec)),
        "curves": curves,
    }


def _scatter(spec: Mapping[str, Any], cells: Sequence[CellResult]) -> dict[str, Any]:
    points = []
    for label, mine in cell_sets(spec, cells):
        x, y = (_mark(mine, spec[axis], spec.get("over", "target")) for axis in ("x", "y"))
        if x is None or y is None:
            continue
        point: dict[str, Any] = {"label": label, "lineage": x["lineage"]}
        if spec.get("by") is not None:  # points with the same value of the first axis look alike
            point["group"] = str(mine[0].axes.get(as_names(spec["by"])[0]))
        for axis, mark in (("x", x), ("y", y)):
            point |= {axis: mark["value"], f"{axis}_low": mark["low"], f"{axis}_high": mark["high"]}
        points.append(point)
    figure = {"x": spec["x"], "y": spec["y"], "points": points, "statistic": _ranked(points)}
    return figure | {f"{axis}_limits": _limits(cells, [spec[axis]]) for axis in ("x", "y")}


def _limits(cells: Sequence[CellResult], values: Sequence[str]) -> list[float] | None:
    """Return the range of possible values of all numbers, for the scale; None where they differ or one has none."""
    found = {limits_of(cells, value) for value in values}
    ends = found.pop() if len(found) == 1 else None
    return None if ends is None else list(ends)


def _ranked(points: Sequence[Mapping[str, Any]]) -> str | None:
    """Return the rank correlation of the points in words; None where there are too few."""
    known = [each for each in points if each["x"] is not None and each["y"] is not None]
    if len(known) < FEWEST_RANKED:
        return None
    from scipy.stats import spearmanr

    found = spearmanr([each["x"] for each in known], [each["y"] for each in known]).statistic
    return f"rank correlation {found:+.2f} over {len(known)} points"  # no interval: points share targets and more


def cell_sets(spec: Mapping[str, Any], cells: Sequence[CellResult]) -> list[tuple[str, list[CellResult]]]:
    """Return the cells of each bar or point with its label: an arm, or values of axes of it."""
    by, found = as_names(spec.get("by") or []), []
    arms = spec.get("arms") or list(dict.fromkeys(cell.arm for cell in cells))
    for arm in arms:
        mine = select(cells, arm, spec.get("where"))
        if not by:
            found.append((arm, mine))
            continue
        for values in dict.fromkeys(tuple(cell.axes.get(axis) for axis in by) for cell in mine):
            label = ", ".join(str(each) for each in values if each is not None)
            here = [cell for cell in mine if tuple(cell.axes.get(axis) for axis in by) == values]
            found.append((f"{arm}, {label}" if len(arms) > 1 and label else label or arm, here))
    return [(label, mine) for label, mine in found if mine]


def _points(groups: Mapping[Any, Mapping[Any, float]], unit: str) -> list[dict[str, Any]]:
    if unit == "seeds":
        flat = {seed: value for seeds in groups.values() for seed, value in seeds.items()}
        names = ((f"{seed[0]}.{seed[1]}" if isinstance(seed, tuple) else seed, value) for seed, value in flat.items())
        return [{"value": value, "label": f"seed {name}"} for name, value in names]
    return [
        {"value": float(np.mean(list(seeds.values()))), "label": " ".join(map(str, key))}
        for key, seeds in groups.items()
    ]


def _table(values: np.ndarray) -> list[list[float | None]]:
    return [[None if np.isnan(each) else float(each) for each in row] for row in values]


def _mark(cells: Sequence[CellResult], value: str, over: str | Sequence[str]) -> dict[str, Any] | None:
    """Return the estimate of a number, its points and the digest of all measurements behind it; None without any.

    ``cells.csv`` names the measurements cell by cell.
    """
    groups, unit = grouped(cells, value, over)
    estimate = group_estimate(groups, unit, limits=limits_of(cells, value))
    if estimate is None:
        return None
    lineage = [lineage_digest(key for cell in cells for key in cell.lineage)]
    numbers = estimate.as_json()
    mark = {name: numbers[name] for name in ("value", "low", "high", "unit", "count")}
    return mark | {"points": _points(groups, unit), "lineage": lineage}
