"""The four kinds of figure of a report, drawn by matplotlib."""

import itertools
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from lightning_subliminal.plans.report.number_format import estimate, number, signed, units
from lightning_subliminal.plans.report.svg import BLUE, COLORS, STYLE, VERMILLION

__all__ = ["draw"]

MOST_NAMES = 25  # of points whose names are shown; more would overlap
MARKERS = "osD^vP"
LINES = ("-", "--", "-.", ":", (0, (5, 1, 1, 1, 1, 1)), (0, (1, 1)))
WIDTH = 7.6  # inches; 730 pixels on the page


def draw(figure: Mapping[str, Any]) -> Any:
    """Draw one figure of a checked report; return matplotlib's ``Figure`` on an Agg canvas."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context(STYLE):
        canvas = Figure(figsize=(WIDTH, 3.6), layout="constrained")
        FigureCanvasAgg(canvas)
        axes = canvas.add_subplot()
        {"bars": _bars, "matrix": _matrix, "curves": _curves, "scatter": _scatter}[figure["kind"]](canvas, axes, figure)
    return canvas


def _bars(canvas: Any, axes: Any, figure: Mapping[str, Any]) -> None:
    """Draw a line for each bar: bar, whisker, points, and the numbers at the right; groups have a heading."""
    bars = figure["bars"]
    groups = list(dict.fromkeys(bar["group"] for bar in bars))
    headed = groups != [None] and bool(bars)
    ticks: list[tuple[float, str, bool]] = []
    right: list[tuple[float, str]] = []
    place = 0.0
    colors = _bar_colors(bars, groups)
    for group in groups:
        if headed:
            ticks.append((place, _wrapped(group or "other", 40), True))
            place += 0.9
        for bar in (each for each in bars if each["group"] == group):
            label = _wrapped(bar["label"], 34)
            _bar(axes, bar, place, colors[bar["group"], bar["label"]])
            ticks.append((place, label, False))
            sample = "" if bar["count"] is None or bar["value"] is None else f"\n{units(bar['count'], bar['unit'])}"
            right.append((place, estimate(bar["value"], bar["low"], bar["high"], signed(figure["limits"])) + sample))
            place += max(1.15, 0.55 * (label.count("\n") + 1))
        place += 0.25
    canvas.set_figheight(0.75 + 0.33 * max(place, 2.5))
    axes.axvline(0, color="black", linewidth=0.8)
    axes.set_ylim(max(place, 1) - 0.5, -0.7)
    axes.set_xlabel(_wrapped(figure["y"], 80))
    _keep(axes, "x", figure["limits"])
    axes.set_yticks([at for at, _, _ in ticks], [label for _, label, _ in ticks])
    for label, (_, _, heading) in zip(axes.get_yticklabels(), ticks, strict=True):
        if heading:
            label.set_fontweight("bold")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="x", color="black", alpha=0.12, linewidth=0.6)
    axes.set_axisbelow(True)
    numbers = axes.secondary_yaxis("right")  # the layout includes ticks, so nothing is cut off
    numbers.set_yticks([at for at, _ in right], [label for _, label in right])
    numbers.tick_params(length=0, labelsize=8)
    numbers.spines["right"].set_visible(False)


def _bar(axes: Any, bar: Mapping[str, Any], place: float, color: str) -> None:
    points = [point["value"] for point in bar["points"] if point["value"] is not None]
    if bar["value"] is not None:
        axes.barh(place, bar["value"], height=0.62, color=color, alpha=0.45 if points else 0.75, linewidth=0)
        if bar["low"] is not None and bar["high"] is not None:
            axes.plot([bar["low"], bar["high"]], [place] * 2, color="black", linewidth=1.4, marker="|", markersize=6)
    spread = [place + 0.38 * (at / (len(points) - 1) - 0.5) if len(points) > 1 else place for at in range(len(points))]
    axes.scatter(points, spread, s=11, color=color, linewidths=0, zorder=3)


def _bar_colors(bars: Sequence[Mapping[str, Any]], groups: list[Any]) -> dict[tuple[Any, str], str]:
    """Colour by label where labels repeat in other groups, else by group; both are also written."""
    labels = list(dict.fromkeys(bar["label"] for bar in bars))
    by_label = len(labels) < len(bars) and len(labels) <= len(COLORS)
    by_group = not by_label and len(groups) <= len(COLORS)
    return {
        (bar["group"], bar["label"]): COLORS[
            labels.index(bar["label"]) if by_label else groups.index(bar["group"]) if by_group else 0
        ]
        for bar in bars
    }


def _matrix(canvas: Any, axes: Any, figure: Mapping[str, Any]) -> None:
    """Draw a table of cells: blue above 0, vermillion below, paler near 0, each with its number.

    Colours are transparent, so that both a white and a dark page suit them; an interval that excludes 0 is bold.
    """
    from matplotlib.patches import Rectangle

    rows, columns = figure["rows"], figure["columns"]
    cells = [(row, column) for row in range(len(rows)) for column in range(len(columns))]
    largest = max((abs(figure["values"][row][column] or 0) for row, column in cells), default=0) or 1.0
    for row, column in cells:
        value, low, high = (figure[key][row][column] for key in ("values", "low", "high"))
        if value is None:
            axes.text(column, row, number(None), ha="center", va="center", alpha=0.6)
            continue
        shade = 0.04 + 0.58 * abs(value) / largest  # at most 0.62: the number stays readable in either ink
        box = (column - 0.485, row - 0.47)
        color = BLUE if value >= 0 else VERMILLION
        axes.add_patch(Rectangle(box, 0.97, 0.94, facecolor=color, alpha=shade, linewidth=0))
        middle, _, ends = estimate(value, low, high, signed(figure["limits"])).partition(" ")
        sure = low is not None and high is not None and (low > 0 or high < 0)
        axes.text(
            column, row - (0.16 if ends else 0), middle, ha="center", va="center", weight="bold" if sure else None
        )
        if ends:
            axes.text(column, row + 0.22, ends, ha="center", va="center", fontsize=7.2)
    wide = min(14.0, max(WIDTH, 2.2 + 1.02 * len(columns)))
    canvas.set_size_inches(wide, 1.1 + 0.5 * max(1, len(rows)))
    axes.set_xlim(-0.5, max(1, len(columns)) - 0.5)
    axes.set_ylim(max(1, len(rows)) - 0.5, -0.5)
    axes.set_xticks(range(len(columns)), [_wrapped(label, 14) for label in columns])
    axes.set_yticks(range(len(rows)), [_wrapped(label, 26) for label in rows])
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    axes.set_xlabel(_wrapped(figure["column_title"], 80), labelpad=6)
    axes.set_ylabel(_wrapped(figure["row_title"], 40))
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    title = figure["value_title"] + (f"; {figure['statistic']}" if figure["statistic"] else "")
    canvas.supxlabel(_wrapped(title, 100), fontsize=8.5)


def _curves(canvas: Any, axes: Any, figure: Mapping[str, Any]) -> None:
    """Draw each curve with the band of its intervals, its measurements as points, and its own marker and dashes."""
    log = figure["log_x"]
    places: set[float] = set()
    for at, curve in enumerate(figure["curves"]):
        points = [point for point in curve["points"] if point["x"] is not None and (point["x"] > 0 or not log)]
        points.sort(key=lambda point: point["x"])
        color = COLORS[at % len(COLORS)]
        look = {"color": color, "marker": MARKERS[at % 6], "markersize": 4.5, "linewidth": 1.6}
        look["linestyle"] = LINES[at // len(COLORS) % len(LINES)] if len(figure["curves"]) > 6 else LINES[at]
        # nan breaks the line and the band at a gap, and a single point still has its whisker.
        xs, middle, low, high = (
            [math.nan if point[key] is None else point[key] for point in points]
            for key in ("x", "value", "low", "high")
        )
        axes.plot(xs, middle, label=_wrapped(curve["label"], 60), zorder=3, **look)
        axes.fill_between(xs, low, high, color=color, alpha=0.16, linewidth=0)
        axes.vlines(xs, low, high, color=color, alpha=0.6, linewidth=0.9)
        dots = [(point["x"], value) for point in points for value in point["points"] if value is not None]
        axes.scatter([x for x, _ in dots], [y for _, y in dots], s=7, color=color, alpha=0.5, linewidths=0, zorder=2)
        places.update(xs)
    if log and places:
        axes.set_xscale("log")
        shown = _apart(sorted(places))
        axes.set_xticks(shown, [f"{x:,.6g}" for x in shown])
        axes.minorticks_off()
    _keep(axes, "y", figure["limits"])
    _framed(axes, figure)
    canvas.set_figheight(3.9 + 0.17 * len(figure["curves"]))
    if figure["curves"]:
        columns = 1 if any(len(curve["label"]) > 34 for curve in figure["curves"]) else min(3, len(figure["curves"]))
        canvas.legend(loc="outside upper left", frameon=False, ncols=columns, handlelength=3.2)


def _apart(places: list[float]) -> list[float]:
    """Return the places of a log axis whose labels have room: a fourteenth of the axis between two."""
    room = math.log(places[-1] / places[0]) / 14
    kept = [places[0]]
    for place in places[1:]:
        if math.log(place / kept[-1]) >= room:
            kept.append(place)
    return kept


def _scatter(canvas: Any, axes: Any, figure: Mapping[str, Any]) -> None:
    """Draw each point with its two intervals, the look of its group, and its name where there is room."""
    known = [point for point in figure["points"] if point["x"] is not None and point["y"] is not None]
    groups = dict.fromkeys(point.get("group") for point in known)
    looks = {group: (COLORS[at % len(COLORS)], MARKERS[at % len(MARKERS)]) for at, group in enumerate(groups)}
    for point in known:
        color, marker = looks[point.get("group")]
        axes.scatter(point["x"], point["y"], s=26, color=color, marker=marker, zorder=3)
        across = [point["x_low"], point["x_high"]]
        along = [point["y_low"], point["y_high"]]
        if None not in across:
            axes.plot(across, [point["y"]] * 2, color=color, alpha=0.45, linewidth=1.1)
        if None not in along:
            axes.plot([point["x"]] * 2, along, color=color, alpha=0.45, linewidth=1.1)
    for group, (color, marker) in looks.items() if len(looks) > 1 else ():
        axes.scatter([], [], s=26, color=color, marker=marker, label=group)
    _framed(axes, figure)
    canvas.set_figheight(4.4)
    axes.margins(0.08)
    _keep(axes, "x", figure["x_limits"])
    _keep(axes, "y", figure["y_limits"])
    if figure["statistic"]:
        axes.set_title(_wrapped(figure["statistic"], 95), loc="left")
    if len(looks) > 1:
        canvas.legend(loc="outside upper left", frameon=False, ncols=6)
    if known and len(known) <= MOST_NAMES:
        _names(canvas, axes, known)


def _names(canvas: Any, axes: Any, points: Sequence[Mapping[str, Any]]) -> None:
    """Write each point's name at the first of four sides where it covers no name, point or, if possible, line."""
    from matplotlib.transforms import Bbox

    canvas.draw_without_rendering()  # widths depend on the layout
    renderer = canvas.canvas.get_renderer()
    frame = axes.get_window_extent(renderer)
    dots = axes.transData.transform([(point["x"], point["y"]) for point in points])
    lines = [
        Bbox(axes.transData.transform([(point[left], point[below]), (point[right], point[above])]))
        for point in points
        for left, right, below, above in (("x_low", "x_high", "y", "y"), ("x", "x", "y_low", "y_high"))
        if None not in (point[left], point[right], point[below], point[above])
    ]
    sides = [((6, 4), ("left", "bottom")), ((-6, 4), ("right", "bottom"))]
    sides += [((6, -4), ("left", "top")), ((-6, -4), ("right", "top"))]
    taken: list[Any] = []
    for place, point in enumerate(points):
        for strict, ((x, y), (across, along)) in itertools.product((True, False), sides):
            name = axes.annotate(
                textwrap.shorten(point["label"], 30, placeholder="\u2026"),
                (point["x"], point["y"]),
                xytext=(x, y),
                textcoords="offset points",
                ha=across,
                va=along,
                fontsize=8,
            )
            box = name.get_window_extent(renderer)
            free = frame.x0 <= box.x0 and box.x1 <= frame.x1 and not any(box.overlaps(other) for other in taken)
            free = free and not (strict and any(box.overlaps(line) for line in lines))
            if free and not any(box.contains(*dot) for at, dot in enumerate(dots) if at != place):
                taken.append(box)
                break
            name.remove()


def _keep(axes: Any, which: str, limits: Sequence[float] | None) -> None:
    """Limit an axis to the possible values of its number, such as 0 to 1 for a probability."""
    if limits is not None:
        low, high = getattr(axes, f"get_{which}lim")()
        getattr(axes, f"set_{which}lim")(max(low, limits[0]), min(high, limits[1]))


def _framed(axes: Any, figure: Mapping[str, Any]) -> None:
    """Add the names of both axes, a faint grid, and a line at 0 where 0 is visible."""
    low, high = axes.get_ylim()
    if low <= 0 <= high:
        axes.axhline(0, color="black", linewidth=0.8, alpha=0.6, zorder=1)
    axes.grid(color="black", alpha=0.1, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel(_wrapped(figure["x"], 90))
    axes.set_ylabel(_wrapped(figure["y"], 44))


def _wrapped(text: str, width: int, lines: int = 3) -> str:
    """Break a label into at most ``lines`` lines; the data table has all of it."""
    return "\n".join(textwrap.wrap(text, width, max_lines=lines, placeholder=" \u2026"))
