"""What a report draws: bars, matrices, curves and scatters, as data; drawing itself is the report's."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lightning_subliminal.analysis import statistics
from lightning_subliminal.analysis.estimates import (
    CellResult,
    by_answer,
    group_estimate,
    grouped,
    limits_of,
    lineage_digest,
    matrix_of,
    select,
)
from lightning_subliminal.analysis.statistics import Estimate
from lightning_subliminal.core.config.building import known_name
from lightning_subliminal.core.errors import InputError

__all__ = ["cell_sets", "check_figure", "figure_values", "make_figure"]

_KEYS = {
    "bars": ("kind", "title", "caption", "y", "value", "arms", "where", "by", "over"),
    "matrix": ("kind", "title", "caption", "arm", "where", "rows", "columns", "value"),
    "curves": ("kind", "title", "caption", "x", "y", "log_x", "value", "curves", "over"),
    "scatter": ("kind", "title", "caption", "x", "y", "arms", "where", "by", "over"),
}
FEWEST_RANKED = 20  # points of a scatter whose rank correlation is told
_CURVE_KEYS = ("label", "arm", "arms", "where", "x", "value", "values")


def check_figure(spec: Mapping[str, Any], arms: Sequence[str]) -> None:
    """Refuse a figure that can't be made, before anything is run.

    Raises:
        InputError: naming what is missing or unknown.
    """
    kind = str(spec.get("kind"))
    known_name(kind, _KEYS, f"there is no kind of figure {kind!r}")
    for key in spec:
        known_name(str(key), _KEYS[kind], f"a figure of {kind} takes no `{key}`")
    if kind == "curves" and not spec.get("curves"):
        raise InputError("a figure of curves lacks `curves`: give a list, each with `arm`.")
    for curve in spec.get("curves", []):
        for key in curve:
            known_name(str(key), _CURVE_KEYS, f"a curve takes no `{key}`")
    named = [*spec.get("arms", []), *([spec["arm"]] if "arm" in spec else [])]
    for curve in spec.get("curves", []):
        named += curve["arms"].values() if "arms" in curve else [curve.get("arm")]
    for arm in named:
        known_name(str(arm), arms, f"a figure names no arm {arm!r}")


def figure_values(spec: Mapping[str, Any]) -> list[str]:
    """Return the names of the numbers that a figure shows."""
    if spec["kind"] == "scatter":
        return [str(spec["x"]), str(spec["y"])]
    value = spec.get("value", "transfer")
    if spec["kind"] != "curves":
        return [value] if isinstance(value, str) else [str(each) for each in value]
    named = []
    for curve in spec["curves"]:
        named += list(curve["values"].values()) if "values" in curve else [curve.get("value", value)]
    return [str(each) for each in named]


def make_figure(spec: Mapping[str, Any], cells: Sequence[CellResult]) -> dict[str, Any]:
    """Return a figure as JSON-able data, by the schema of the report."""
    kind = spec["kind"]
    told = {"kind": kind, "title": spec.get("title", ""), "caption": " ".join(str(spec.get("caption", "")).split())}
    make = {"bars": _bars, "matrix": _matrix, "curves": _curves, "scatter": _scatter}[kind]
    return told | make(spec, cells)


def _bars(spec: Mapping[str, Any], cells: Sequence[CellResult]) -> dict[str, Any]:
    values = spec.get("value", "transfer")
    values = [values] if isinstance(values, str) else list(values)
    bars = []
    for label, mine in cell_sets(spec, cells):
        for value in values:
            groups, unit = grouped(mine, value, spec.get("over", "target"))
            estimate = group_estimate(groups, unit, limits=limits_of(mine, value))
            if estimate is not None:
                bars.append(
                    {
                        "label": label,
                        "group": value if len(values) > 1 else None,
                        "points": _points(groups, unit),
                        "lineage": _lineage(mine),
                        **_told(estimate),
                    }
                )
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
    told: dict[str, Any] = {"rows": [str(each) for each in first], "columns": [str(each) for each in second]}
    told |= {"row_title": rows, "column_title": columns, "value_title": value, "statistic": None}
    told |= {"limits": _limits(mine, [value]), "values": _table(found), "low": _table(low), "high": _table(high)}
    if first == second and len(first) > 1 and not np.isnan(found).any():
        test = statistics.matrix_statistic(found)
        told["statistic"] = (
            f"diagonal less grand mean {test.value:+.2f} [{test.low:+.2f}, {test.high:+.2f}] over rows; "
            f"less the other cells {test.contrast:+.2f} [{test.contrast_low:+.2f}, {test.contrast_high:+.2f}] "
            f"(rain-1's lambda); p = {test.p:.2g} by permuting columns"
            + (f"; {test.reading}" if test.reading else "")
            + (f"; {_beyond(found, first, rows)}" if columns == "answer" else "")
        )
    return told


def _beyond(found: np.ndarray, names: Sequence[Any], rows: str) -> str:
    """Say what each row's own answer gained beyond the same answer of the other rows, whose students are alike."""
    each = statistics.beyond_other_rows(found)
    mean = statistics.mean_estimate(each, f"{rows}s")
    listed = ", ".join(f"{name} {value:+.2f}" for name, value in zip(names, each, strict=True))
    ends = "" if np.isnan(mean.low) else f" [{mean.low:+.2f}, {mean.high:+.2f}]"
    return f"beyond the same answer in the other rows: {listed}; mean {mean.value:+.2f}{ends} over {mean.unit}"


def _curves(spec: Mapping[str, Any], cells: Sequence[CellResult]) -> dict[str, Any]:
    curves = []
    for curve in spec["curves"]:
        mine = select(cells, curve.get("arm"), curve.get("where"))
        value, points = curve.get("value", spec.get("value", "transfer")), []
        if "arms" in curve:  # an arm a place
            places = [(float(x), select(cells, arm, curve.get("where")), value) for x, arm in curve["arms"].items()]
        elif "values" in curve:  # a number a place, all of one cell
            places = [(float(x), mine, name) for x, name in curve["values"].items()]
        else:
            axis = curve.get("x", spec.get("x"))
            found = list(dict.fromkeys(cell.axes[axis] for cell in mine if axis in cell.axes))
            places = [(float(x), select(mine, None, {axis: x}), value) for x in found]
        for x, here, name in places:
            groups, unit = grouped(here, name, spec.get("over", "target"))
            estimate = group_estimate(groups, unit, limits=limits_of(here, name))
            if estimate is not None:
                dots = [point["value"] for point in _points(groups, unit)]
                points.append({"x": x, "points": dots, "lineage": _lineage(here), **_told(estimate)})
        curves.append(
            {"label": curve.get("label", curve.get("arm")), "points": sorted(points, key=lambda each: each["x"])}
        )
    x = spec.get("x", "")
    return {
        "x": x,
        "y": spec.get("y", spec.get("value", "transfer")),
        "log_x": bool(spec.get("log_x")),
        "limits": _limits(cells, figure_values(spec)),
        "curves": curves,
    }


def _scatter(spec: Mapping[str, Any], cells: Sequence[CellResult]) -> dict[str, Any]:
    points = []
    for label, mine in cell_sets(spec, cells):
        told: dict[str, Any] = {"label": label, "lineage": _lineage(mine)}
        if spec.get("by") is not None:  # of one look are those that share the first axis
            told["group"] = str(mine[0].axes.get(_axes(spec)[0]))
        for axis in ("x", "y"):
            groups, unit = grouped(mine, spec[axis], spec.get("over", "target"))
            estimate = group_estimate(groups, unit, limits=limits_of(mine, spec[axis]))
            if estimate is None:
                break
            numbers = estimate.as_json()
            told |= {axis: numbers["value"], f"{axis}_low": numbers["low"], f"{axis}_high": numbers["high"]}
        else:
            points.append(told)
    told = {"x": spec["x"], "y": spec["y"], "points": points, "statistic": _ranked(points)}
    return told | {f"{axis}_limits": _limits(cells, [spec[axis]]) for axis in ("x", "y")}


def _limits(cells: Sequence[CellResult], values: Sequence[str]) -> list[float] | None:
    """Return the range that none of some numbers can leave, for the scale; None where one of them can."""
    found = {limits_of(cells, value) for value in values}
    ends = found.pop() if len(found) == 1 else None
    return None if ends is None else list(ends)


def _ranked(points: Sequence[Mapping[str, Any]]) -> str | None:
    """Say how the two numbers of the points are ordered alike, where there are enough of them."""
    known = [each for each in points if each["x"] is not None and each["y"] is not None]
    if len(known) < FEWEST_RANKED:
        return None
    from scipy.stats import spearmanr

    found = spearmanr([each["x"] for each in known], [each["y"] for each in known]).statistic
    return f"rank correlation {found:+.2f} over {len(known)} points"  # no interval: points share targets and more


def _axes(spec: Mapping[str, Any]) -> list[str]:
    by = spec.get("by")
    return [] if by is None else [by] if isinstance(by, str) else list(by)


def cell_sets(spec: Mapping[str, Any], cells: Sequence[CellResult]) -> list[tuple[str, list[CellResult]]]:
    """Return the cells of each bar or point with its label: an arm, or values of axes of it."""
    by, found = _axes(spec), []
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
        return [{"value": value, "label": f"seed {_word(seed)}"} for seed, value in flat.items()]
    return [
        {"value": float(np.mean(list(seeds.values()))), "label": " ".join(map(str, key))}
        for key, seeds in groups.items()
    ]


def _word(seed: Any) -> str:
    return f"{seed[0]}.{seed[1]}" if isinstance(seed, tuple) else str(seed)


def _told(estimate: Estimate) -> dict[str, Any]:
    numbers = estimate.as_json()
    return {name: numbers[name] for name in ("value", "low", "high", "unit", "count")}


def _table(values: np.ndarray) -> list[list[float | None]]:
    return [[None if np.isnan(each) else float(each) for each in row] for row in values]


def _lineage(cells: Sequence[CellResult]) -> list[str]:
    """Return the digest of all measurements that a mark was read from; cells.csv names them cell by cell."""
    return [lineage_digest(key for cell in cells for key in cell.lineage)]
