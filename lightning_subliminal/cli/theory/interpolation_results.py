"""What `interpolate` finds: as data, as tables, as CSV and as one picture."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from lightning_subliminal.core.io import files
from lightning_subliminal.core.plots import ARMS, GREY, SERIES, panels

__all__ = ["Interpolation", "Merge", "Point", "draw_interpolation", "merge_table", "point_table", "write_csv"]


@dataclass(frozen=True)
class Point:
    """What the model at one place of a line answers; the mean where the lines of several students run side by side.

    Attributes:
        line: such as ``base to student``.
        t: the place: 0 is the line's start, 1 its end.
        models: how many lines were averaged.
        rate: chance of the target.
        low: of the rate's 95 % interval.
        high: likewise.
        unit: what the interval is over: students (of one teacher), or questions where there is one line.
        log_odds: of the target, the mean over questions.
        no_candidate: chance of an answer that begins with none of the candidates: of a broken model it is high.
        loss: nats a token on rows of the teacher that no student saw; nan where there are none.
    """

    line: str
    t: float
    models: int
    rate: float
    low: float
    high: float
    unit: str
    log_odds: float
    no_candidate: float
    loss: float


@dataclass(frozen=True)
class Merge:
    """What the means of some models answer, beside the same models one by one.

    Attributes:
        arm: of what: students, controls, or a student and its control.
        size: how many models a mean is of.
        subsets: how many such sets were asked; all figures are means over them.
        rate: chance of the target.
        low: of the rate's 95 % interval.
        high: likewise.
        log_odds: of the target, the mean over questions.
        single: the same of the models one by one.
        gain: ``log_odds`` less ``single``.
        gain_low: of the gain's 95 % interval.
        gain_high: likewise.
        unit: what both intervals are over: questions, so they say nothing about other students.
        no_candidate: chance of an answer that begins with none of the candidates.
        loss: nats a token on rows of the teacher that no student saw; nan where there are none.
        length: of the way from the base, as a share of the teacher's; nan where the teacher has another base.
        cosine: between the way from the base and the teacher's; likewise.
    """

    arm: str
    size: int
    subsets: int
    rate: float
    low: float
    high: float
    log_odds: float
    single: float
    gain: float
    gain_low: float
    gain_high: float
    unit: str
    no_candidate: float
    loss: float
    length: float
    cosine: float


@dataclass(frozen=True)
class Interpolation:
    """Lines and merges of one config's models.

    Attributes:
        config: its path.
        trait: the trait's name.
        target: what is asked for.
        students: how many, and as many controls.
        space: what was mixed: steering vectors, or weights.
        held_out: how many rows the loss is of.
        points: of all lines.
        merges: of all sizes.
        made_from: the stages of students and controls.
        folder: where the files are.
    """

    config: str
    trait: str
    target: str
    students: int
    space: str
    held_out: int
    points: tuple[Point, ...]
    merges: tuple[Merge, ...]
    made_from: tuple[str, ...]
    folder: str

    def line(self, name: str) -> list[Point]:
        """Return the points of one line, in their order; none where there is no such line."""
        return [point for point in self.points if point.line == name]

    def as_json(self) -> dict[str, Any]:
        """Return all as JSON-able data; null stands for what is no finite number."""
        told: dict[str, Any] = _plain(asdict(self))
        return told


def point_table(found: Interpolation) -> Table:
    """Draw the lines as a table, at whole and half steps; the CSV has all places."""
    table = Table(title=f"How often is the answer {found.target}, along lines between models? Mixed: {found.space}")
    table.add_column("line, t", no_wrap=True)
    for name in ("rate", "from", "to", "log-odds", "no candidate", "loss"):
        table.add_column(name, justify="right")
    last = ""
    for point in found.points:
        if abs(2 * point.t - round(2 * point.t)) > 1e-6:
            continue
        if point.line != last:
            if last:
                table.add_section()
            table.add_row(point.line, style="bold")
            last = point.line
        table.add_row(
            f"  {point.t:g}",
            f"{point.rate:.1%}",
            *_range(point.low, point.high),
            f"{point.log_odds:+.2f}",
            f"{point.no_candidate:.1%}",
            f"{point.loss:.3f}",
        )
    table.caption = f"from, to: 95 %, {_units(found)}; loss: nats a token on the teacher's rows"
    return table


def merge_table(found: Interpolation) -> Table:
    """Draw the merges as a table."""
    table = Table(title=f"Means of models; gain: log-odds of {found.target} above the same ones singly")
    table.add_column("mean of", no_wrap=True)
    for name in ("rate", "log-odds", "gain", "from", "to", "length", "cosine"):
        table.add_column(name, justify="right")
    last = ""
    for merge in found.merges:
        if merge.arm != last:
            if last:
                table.add_section()
            table.add_row("one of each" if "+" in merge.arm else merge.arm, style="bold")
            last = merge.arm
        several = merge.size > 1
        table.add_row(
            f"  {merge.size}, {merge.subsets} set{'s' * (merge.subsets > 1)}",
            f"{merge.rate:.1%}",
            f"{merge.log_odds:+.2f}",
            *(f"{value:+.3f}" if several else "" for value in (merge.gain, merge.gain_low, merge.gain_high)),
            f"{merge.length:.2f}",
            f"{merge.cosine:+.2f}",
        )
    table.caption = (
        "from, to: 95 % of the gain, over questions; length and cosine: of the way from the base, by the teacher's"
    )
    return table


def write_csv(found: Interpolation, path: Path) -> None:
    """Write points and merges as one CSV; a cell is empty where a row has no such figure."""
    rows = [{"part": "line", **asdict(each)} for each in found.points]
    rows += [{"part": "merge", **asdict(each)} for each in found.merges]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    told = [[row.get(name, "") for name in columns] for row in rows]
    files.write_csv(path, columns, [["" if _lost(value) else value for value in row] for row in told])


def draw_interpolation(found: Interpolation, path: Path) -> None:
    """Draw the trait along each line with its interval, under it the loss; and the merges by their size."""
    across = bool(found.line("student to teacher"))
    pairs = [("base", "student"), ("base", "teacher"), *([("student", "teacher")] if across else [])]
    size, grid = (3.1 * (len(pairs) + 1), 5.2), {"height_ratios": [1.6, 1]}
    with panels(path, size, 2, len(pairs) + 1, gridspec_kw=grid) as axes:
        _draw(axes, pairs, found)


def _draw(axes: Any, pairs: list[tuple[str, str]], found: Interpolation) -> None:
    for column, (start, end) in enumerate(pairs):
        names = [end] if start == "base" else ["student", "control"]
        if (start, end) == ("base", "student"):
            names = ["student", "control"]
        lines = {name: found.line(f"base to {name}" if start == "base" else f"{name} to {end}") for name in names}
        _draw_lines(axes[0, column], axes[1, column], lines, start, end)
    for row, label in (
        (0, f"chance that the answer is {found.target}"),
        (1, "loss, nats a token"),
    ):
        axes[row, 0].set_ylabel(label, fontsize=8)
    _draw_merges(axes[0, -1], axes[1, -1], found)
    for each in axes.flat:
        each.tick_params(labelsize=8)
    axes[0, 0].figure.suptitle(_caption(found), fontsize=8)


def _draw_lines(rates: Any, losses: Any, lines: dict[str, list[Point]], start: str, end: str) -> None:
    for name, points in lines.items():
        places = [point.t for point in points]
        rates.plot(places, [point.rate for point in points], color=ARMS[name], marker="o", markersize=2.5, label=name)
        low, high = [max(0.0, point.low) for point in points], [min(1.0, point.high) for point in points]
        rates.fill_between(places, low, high, color=ARMS[name], alpha=0.18, linewidth=0)
        losses.plot(places, [point.loss for point in points], color=ARMS[name], marker="o", markersize=2.5)
    for axes in (rates, losses):
        for place in (0, 1):
            axes.axvline(place, color=GREY, linewidth=0.6, zorder=0)
        axes.set_xlim(min(places), max(places))
    rates.set_ylim(0, 1)
    rates.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    rates.set_title(f"{start} + t ({end} - {start})", fontsize=9)
    if len(lines) > 1:
        rates.legend(fontsize=7, frameon=False)
    losses.set_xlabel("t", fontsize=8)
    found = [point.loss for points in lines.values() for point in points if math.isfinite(point.loss)]
    if found and max(found) > 10 * min(found):
        losses.set_yscale("log")  # far out, a broken model's loss would flatten all else


def _draw_merges(odds: Any, cosines: Any, found: Interpolation) -> None:
    for arm, marker in (("student", "o"), ("control", "o"), ("student + control", "D")):
        merges = [merge for merge in found.merges if merge.arm == arm]
        sizes = [merge.size for merge in merges]
        look = {"color": ARMS.get(arm, SERIES[2]), "marker": marker, "markersize": 4}
        odds.plot(sizes, [merge.log_odds for merge in merges], **look)
        odds.plot(sizes, [merge.single for merge in merges], **look | {"linestyle": "--", "marker": ""})
        cosines.plot(sizes, [merge.cosine for merge in merges], label=arm, **look)
    for name, line, t in (("base", "base to student", 0.0), ("teacher", "base to teacher", 1.0)):
        value = next(point.log_odds for point in found.line(line) if point.t == t)
        odds.axhline(value, color=ARMS[name], linewidth=1, linestyle=":", zorder=0)
        odds.annotate(name, (0.01, value), (0, 2), odds.get_yaxis_transform(), "offset points", fontsize=7)
    odds.set_title("means of models; dashed: singly", fontsize=9)
    odds.set_ylabel(f"log-odds of {found.target}", fontsize=8)
    cosines.legend(fontsize=7, frameon=False)
    cosines.set_ylabel("cosine with teacher", fontsize=8)
    cosines.set_xlabel("models in a mean", fontsize=8)
    most = max(2, found.students)
    for axes in (odds, cosines):
        axes.set_xticks(range(1, most + 1))
        axes.set_xlim(0.7, most + 0.3)
    odds.margins(y=0.12)


def _caption(found: Interpolation) -> str:
    return (
        f"{Path(found.config).stem}: trained models stand at t = 0 and 1. Bands: 95 % {_units(found)}. "
        f"Loss: {found.held_out} rows of the teacher that no student saw."
    )


def _units(found: Interpolation) -> str:
    several = f"over {found.students} students of one teacher, "
    return (
        several if found.students > 1 else ""
    ) + f"over questions{' where one model stands' * bool(found.students > 1)}"


def _range(low: float, high: float) -> tuple[str, str]:
    return (f"{max(0.0, low):.1%}", f"{min(1.0, high):.1%}") if math.isfinite(low) else ("-", "-")


def _lost(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)


def _plain(told: Any) -> Any:
    if isinstance(told, dict):
        return {key: _plain(value) for key, value in told.items()}
    if isinstance(told, Sequence) and not isinstance(told, str):
        return [_plain(value) for value in told]
    return None if _lost(told) else told
