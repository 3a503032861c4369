"""The results of a comparison: as data for a file, as tables, and as one sentence."""

from collections.abc import Mapping
from typing import Any

import torch
from rich.table import Table

from lightning_subliminal.core.fingerprint import describe
from lightning_subliminal.evaluation import Contrast, Scores, ScoreTable, TraitProbe
from lightning_subliminal.evaluation.contrast import shown
from lightning_subliminal.evaluation.guards import warnings_of
from lightning_subliminal.evaluation.scores import known_number
from lightning_subliminal.traits import Trait

__all__ = ["comparison_table", "further_table", "summary", "verdict"]


def summary(table: ScoreTable, trait: Trait, evaluations: Mapping[str, TraitProbe] | None = None) -> dict[str, Any]:
    """Return a table as JSON-able data: each candidate's chance with its interval, and the transfer; for each set.

    Args:
        table: a row a model, such as base, teacher, control and student; its first column is the trait's own questions.
        trait: what was asked for.
        evaluations: the sets of questions of the other columns.
    """
    first, *further = table.probes
    told: dict[str, Any] = {"trait": trait.name, "target": trait.target, "questions": len(trait.prompts()), "arms": {}}
    for name, row in table.items():
        mine = row[first]
        told["arms"][name] = {"rates": _rates(mine), "no_candidate": mine.no_candidate, "unit": mine.interval.unit}
    told |= _transfers(table, first)
    told["warnings"] = warnings_of(table.column(first), "control")
    for label in further:
        there = {name: each for name, each in table.column(label).items() if name != "teacher"}
        told["warnings"] += [f"{label}: {warning}" for warning in warnings_of(there, "control")]
    if evaluations:
        told["evaluations"] = {label: _set_summary(table, label, each) for label, each in evaluations.items()}
    return told


def comparison_table(found: ScoreTable, trait: Trait, others: int) -> Table:
    """Draw the rows as columns: the target first, then the off-target candidates that the last model likes best."""
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
    """Say what an interval over questions is over."""
    questions = len(scores.values)
    if scores.stems:
        stems = len(set(scores.stems))
        return f"{stems} question stems: wordings of one question count as one ({questions} questions)"
    return f"{questions} questions, each its own"


def further_table(found: ScoreTable, trait: Trait) -> Table:
    """Draw the target's chance, or its share of sampled texts, in each further set of questions."""
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
        told = [_figure(moved.get(name)) for name in ("transfer", "targeted_transfer")]
        table.add_row(label, *rates, *(middle for middle, _ in told), style="bold")
        table.add_row(f"  {how}", *("" for _ in found), *(ends for _, ends in told))
        over.append(f"{_asked(last)} ({label})")
    table.caption = "95 % over " + "; ".join(over) if over else None
    return table


def verdict(table: ScoreTable) -> str:
    """Say what the student has over the control: of the target, and of the target beyond the other answers."""
    moved = _contrast(table, table.probes[0])
    if moved is None:
        return "No control beside this arm: nothing can be said of transfer."
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
        "One seed each: an interval over questions says nothing about other seeds."
    )


def _contrast(table: ScoreTable, probe: str) -> Contrast | None:
    """Return what the student has over the control; None without both."""
    return table.contrast("student", "control", probe) if {"student", "control"} <= set(table.column(probe)) else None


def _transfers(table: ScoreTable, probe: str) -> dict[str, Any]:
    moved = _contrast(table, probe)
    return {} if moved is None else moved.as_json()


def _set_summary(table: ScoreTable, label: str, evaluation: TraitProbe) -> dict[str, Any]:
    there = table.column(label)
    questions = len(next(reversed(there.values())).values)
    told: dict[str, Any] = {"set": describe(evaluation), "questions": questions, "answers": evaluation.answers}
    return told | {"arms": {name: {"rates": _rates(each)} for name, each in there.items()}} | _transfers(table, label)


def _rates(scores: Scores) -> dict[str, Any]:
    rates = {}
    for candidate in scores.chances:
        each = scores.of(candidate)
        ends = (each.rate, each.interval.low, each.interval.high)
        rates[candidate] = dict(zip(("rate", "low", "high"), map(known_number, ends), strict=True))
    return rates


def _figure(told: dict[str, Any] | None) -> tuple[str, str]:
    """Return a transfer and the ends of its interval as a table shows them."""
    if told is None or told["log_odds"] is None:
        return "-" if told is None else "n/a", ""
    return f"{told['log_odds']:+.2f}", "" if told["low"] is None else f"{told['low']:+.2f} to {told['high']:+.2f}"
