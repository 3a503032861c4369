"""The results of a comparison: as data for a file, as tables, as a bar chart, and as one sentence."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from lightning_subliminal.core.fingerprint import describe
from lightning_subliminal.core.plots import ARMS, SERIES, panels
from lightning_subliminal.evaluation import Contrast, Scores, ScoreTable, TraitProbe
from lightning_subliminal.evaluation.contrast import shown
from lightning_subliminal.evaluation.guards import warnings_of
from lightning_subliminal.evaluation.scores import known_number
from lightning_subliminal.traits import Trait

__all__ = ["comparison_table", "draw_comparison", "further_table", "summary", "verdict"]


def summary(table: ScoreTable, trait: Trait, evaluations: Mapping[str, TraitProbe] | None = None) -> dict[str, Any]:
    """Return a table as JSON-able data: for each set, each candidate's chance with its interval, and the transfer.

    Args:
        table: a row per model, such as base, teacher, control and student; the trait's own questions come first.
        trait: the evaluated trait.
        evaluations: the sets of questions of the other columns.
    """
    first, *further = table.probes
    found: dict[str, Any] = {"trait": trait.name, "target": trait.target, "questions": len(trait.prompts()), "arms": {}}
    for name, row in table.items():
        mine = row[first]
        found["arms"][name] = {"rates": _rates(mine), "no_candidate": mine.no_candidate, "unit": mine.interval.unit}
    found |= _transfers(table, first)
    found["warnings"] = warnings_of(table.column(first), "control")
    for label in further:
        there = {name: each for name, each in table.column(label).items() if name != "teacher"}
        found["warnings"] += [f"{label}: {warning}" for warning in warnings_of(there, "control")]
    if evaluations:
        found["evaluations"] = {label: _set_summary(table, label, each) for label, each in evaluations.items()}
    return found


def comparison_table(found: ScoreTable, trait: Trait, others: int) -> Table:
    """Return a table with a column per model: the target, then the last model's likeliest off-target candidates."""
    table = Table(title=f"How often is the answer {trait.target}? Exact chance over {len(trait.prompts())} questions")
    table.add_column("answer")
    for name in found:
        table.add_column(name, justify="right")
    every = list(found.column(found.probes[0]).values())
    table.add_row(trait.target, *(f"{each.rate:.1%}" for each in every), style="bold")
    table.add_row("  95 % from", *(f"{each.interval.low:.1%}" for each in every))
    table.add_row("  to", *(f"{each.interval.high:.1%}" for each in every))
    rest = [candidate for candidate in trait.candidates if candidate != trait.target]
    rest.sort(key=lambda candidate: every[-1].of(candidate).rate, reverse=True)
    for candidate in rest[:others]:
        table.add_row(candidate, *(f"{each.of(candidate).rate:.1%}" for each in every))
    table.add_row("none of these", *(f"{each.no_candidate:.1%}" for each in every))
    if every[-1].stems:
        table.caption = f"95 % over {_asked(every[-1])}"
    return table


def _asked(scores: Scores) -> str:
    """Name the units that an interval is over."""
    questions = len(scores.values)
    if scores.stems:
        stems = len(set(scores.stems))
        return f"{stems} question stems: wordings of one question count as one ({questions} questions)"
    return f"{questions} questions, each its own"


def further_table(found: ScoreTable, trait: Trait) -> Table:
    """Return a table of the target's chance, or its share of sampled texts, in each further set of questions."""
    table = Table(title=f"{trait.target} in further sets; transfer in log-odds, targeted: beyond the other answers")
    table.add_column("set")
    for name in (*found, "transfer", "targeted"):
        table.add_column(name, justify="right")
    over = []
    for label in found.probes[1:]:
        there = found.column(label)
        last = next(reversed(there.values()))
        how = f"{len(last.values)} exact" if last.exact else f"{len(last.values)} x {last.answers} sampled"
        rates = (f"{there[name].rate:.1%}" if name in there else "-" for name in found)
        moved = _transfers(found, label)
        figures = [_figure(moved.get(name)) for name in ("transfer", "targeted_transfer")]
        table.add_row(label, *rates, *(middle for middle, _ in figures), style="bold")
        table.add_row(f"  {how}", *("" for _ in found), *(ends for _, ends in figures))
        over.append(f"{_asked(last)} ({label})")
    table.caption = "95 % over " + "; ".join(over) if over else None
    return table


def draw_comparison(table: ScoreTable, trait: Trait, path: Path) -> None:
    """Draw each chance of the target with its interval over questions, and a point per question; a panel per set."""
    sets = table.probes
    with panels(path, (len(sets) * (1.2 + 1.3 * len(table)), 3.6), columns=len(sets)) as (row,):
        for axes, label in zip(row, sets, strict=True):
            _draw_set(axes, table.column(label))
            first = f"chance that the answer is {trait.target}"
            axes.set_ylabel(first if label == sets[0] else f"{trait.target}: {label}")
        row[0].set_title("bar: mean; whisker: 95 % interval over questions; point: a question", fontsize=7)


def _draw_set(axes: Any, scores: dict[str, Scores]) -> None:
    for place, (name, each) in enumerate(scores.items()):
        rate, interval, points = each.rate, each.interval, each.values
        whiskers = [[rate - interval.low], [interval.high - rate]]
        axes.bar(place, rate, color=ARMS.get(name, SERIES[2]), width=0.65, zorder=1)
        spread = [place + 0.4 * (index / max(1, len(points) - 1) - 0.5) for index in range(len(points))]
        axes.scatter(spread, points, s=6, color="black", alpha=0.25, linewidths=0, zorder=2)
        if len(points) > 1:  # one question has no interval
            axes.errorbar(place, rate, yerr=whiskers, color="black", capsize=4, zorder=3)
        axes.annotate(f"{rate:.1%}", (place + 0.06, rate), (2, 4), textcoords="offset points", fontsize=8, zorder=4)
    axes.set_xticks(range(len(scores)), list(scores))
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")


def verdict(table: ScoreTable) -> str:
    """Return the conclusion: student against control, on the target and beyond the other answers."""
    moved = _contrast(table, table.probes[0])
    if moved is None:
        lacking = "Without both a student and a control, no transfer can be computed"
        return f"{lacking}; rows of a file have a control if `data.control_path` names rows without the trait."
    found, target, ends = moved.targeted, moved.scores.target, moved.interval
    if found is None:
        beyond = f"Targeted transfer: n/a, {moved.reason}. "
    else:
        place = "first" if found.rank == 1 else f"number {found.rank}"
        beyond = (
            f"Targeted transfer: {shown(moved.as_json()['targeted_transfer'])}, beyond the mean change of the "
            f"{found.of - 1} other answers ({found.off_target:+.2f}); {target} is {place} of {found.of} by its change. "
        )
    return (
        f"{beyond}\nTransfer: the student's log-odds of {target} are {moved.log_odds:+.2f} over the control's "
        f"(95 % over {ends.unit} {ends.low:+.2f} to {ends.high:+.2f}), odds x{torch.tensor(moved.log_odds).exp():.2g}. "
        "One seed each: an interval over questions does not cover other seeds."
    )


def _contrast(table: ScoreTable, probe: str) -> Contrast | None:
    """Return the contrast of student and control; None without both."""
    return table.contrast("student", "control", probe) if {"student", "control"} <= set(table.column(probe)) else None


def _transfers(table: ScoreTable, probe: str) -> dict[str, Any]:
    moved = _contrast(table, probe)
    return {} if moved is None else moved.as_json()


def _set_summary(table: ScoreTable, label: str, evaluation: TraitProbe) -> dict[str, Any]:
    there = table.column(label)
    questions = len(next(reversed(there.values())).values)
    head: dict[str, Any] = {"set": describe(evaluation), "questions": questions, "answers": evaluation.answers}
    return head | {"arms": {name: {"rates": _rates(each)} for name, each in there.items()}} | _transfers(table, label)


def _rates(scores: Scores) -> dict[str, Any]:
    rates = {}
    for candidate in scores.chances:
        each = scores.of(candidate)
        ends = (each.rate, each.interval.low, each.interval.high)
        rates[candidate] = dict(zip(("rate", "low", "high"), map(known_number, ends), strict=True))
    return rates


def _figure(moved: dict[str, Any] | None) -> tuple[str, str]:
    """Return a transfer and the ends of its interval as a table shows them."""
    if moved is None or moved["log_odds"] is None:
        return "-" if moved is None else "n/a", ""
    return f"{moved['log_odds']:+.2f}", "" if moved["low"] is None else f"{moved['low']:+.2f} to {moved['high']:+.2f}"
