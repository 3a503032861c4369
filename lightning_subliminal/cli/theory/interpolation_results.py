"""Results of `theory interpolate`: data, tables, CSV rows and a picture."""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from lightning_subliminal.core.io.files import finite
from lightning_subliminal.core.plots import ARMS, GREY, SERIES, panels

__all__ = ["Interpolation", "Merge", "Point", "csv_table", "draw_interpolation", "merge_table", "point_table"]


@dataclass(frozen=True)
class Point:
    """Answers of the model at one point of a line, averaged over the parallel lines of several students.

    Attributes:
        line: such as ``base to student``.
        t: position on the line: 0 is its start, 1 its end.
        models: number of lines averaged.
        rate: probability of the target.
        low: lower end of the rate's 95 % interval.
        high: upper end.
        unit: units of the interval: students (of one teacher), or questions if there is one line.
        log_odds: log-odds of the target, averaged over questions.
        no_candidate: probability of an answer that begins with none of the candidates; high for a broken model.
        loss: nats a token on rows of the teacher that no student saw; nan if there are none.
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
    """Answers of averaged models, next to those of the same models one by one.

    Attributes:
        arm: student, control, or a student with its control.
        size: number of models in a mean.
        subsets: number of such sets; all figures are averaged over them.
        rate: probability of the target.
        low: lower end of the rate's 95 % interval.
        high: upper end.
        log_odds: log-odds of the target, averaged over questions.
        single: log-odds of the models one by one.
        gain: ``log_odds`` minus ``single``.
        gain_low: lower end of the gain's 95 % interval.
        gain_high: upper end.
        unit: units of both intervals: questions, so that they do not cover other students.
        no_candidate: probability of an answer that begins with none of the candidates.
        loss: nats a token on rows of the teacher that no student saw; nan if there are none.
        length: length of the displacement from the base relative to the teacher's; nan if the teacher has another base.
        cosine: cosine between the displacement from the base and the teacher's; nan likewise.
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
        target: the answer whose probability is measured.
        students: number of students, and of controls.
        space: what was averaged: steering vectors, or weights.
        held_out: number of rows for the loss.
        points: points of all lines.
        merges: merges of all sizes.
        made_from: keys of the stages of students and controls.
        folder: folder of the files.
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
        """Return the points of one line in their order."""
        return [point for point in self.points if point.line == name]

    def as_json(self) -> dict[str, Any]:
        """Return all fields as JSON-able data, with null for numbers that are not finite."""
        fields: dict[str, Any] = finite(asdict(self))
        return fields


def point_table(found: Interpolation) -> Table:
    """Return the lines as a table, at multiples of 0.5; the CSV has all points."""
    table = Table(title=f"How often is the answer {found.target} on lines between models? Averaged: {found.space}")
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
    """Return the merges as a table."""
    table = Table(title=f"Means of models; gain: log-odds of {found.target} minus those of single models")
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
    table.caption = "from, to: 95 % of the gain, over questions; length, cosine: of the displacement, by the teacher's"
    return table


def csv_table(found: Interpolation) -> tuple[list[str], Iterator[list[Any]]]:
    """Return head and rows of a CSV with points and merges; a cell is empty if a row has no such figure."""
    rows = [{"part": "line", **asdict(each)} for each in found.points]
    rows += [{"part": "merge", **asdict(each)} for each in found.merges]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return columns, (["" if finite(row.get(name)) is None else row[name] for name in columns] for row in rows)


def draw_interpolation(found: Interpolation, path: Path) -> None:
    """Draw the rate along each line with its interval, the loss below it, and the merges by size."""
    pairs = [("base", "student"), ("base", "teacher")]
    pairs += [("student", "teacher")] if found.line("student to teacher") else []
    size, grid = (3.1 * (len(pairs) + 1), 5.2), {"height_ratios": [1.6, 1]}
    with panels(path, size, 2, len(pairs) + 1, gridspec_kw=grid) as axes:
        for column, (start, end) in enumerate(pairs):
            ends = ["student", "control"] if end == "student" else [end]
            lines = {name: found.line(f"base to {name}") for name in ends}
            if start == "student":
                lines = {name: found.line(f"{name} to {end}") for name in ("student", "control")}
            _draw_lines(axes[0, column], axes[1, column], lines, start, end)
        axes[0, 0].set_ylabel(f"chance that the answer is {found.target}", fontsize=8)
        axes[1, 0].set_ylabel("loss, nats a token", fontsize=8)
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
        losses.set_yscale("log")  # else the loss of a broken model, far out, would flatten the rest


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
    odds.set_title("means of models; dashed: single models", fontsize=9)
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
        f"{Path(found.config).stem}: trained models are at t = 0 and 1. Bands: 95 % {_units(found)}. "
        f"Loss: {found.held_out} rows of the teacher that no student saw."
    )


def _units(found: Interpolation) -> str:
    if found.students == 1:
        return "over questions"
    return f"over {found.students} students of one teacher, over questions where there is one model"


def _range(low: float, high: float) -> tuple[str, str]:
    return (f"{max(0.0, low):.1%}", f"{min(1.0, high):.1%}") if math.isfinite(low) else ("-", "-")
