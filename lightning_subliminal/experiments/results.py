"""The results of a comparison: as data for a file, as tables, and as one sentence."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from rich.table import Table

from lightning_subliminal.describe import describe
from lightning_subliminal.experiments.arms import Arm
from lightning_subliminal.experiments.evaluations import Evaluation
from lightning_subliminal.metrics.functional import transfer, transfer_interval
from lightning_subliminal.traits import Trait

__all__ = ["comparison_table", "further_table", "summary", "verdict"]


def summary(arms: list[Arm], trait: Trait, evaluations: Mapping[str, Evaluation] | None = None) -> dict[str, Any]:
    """Give the arms as JSON-able data: each candidate's chance with its interval, and the transfer; for each set."""
    told: dict[str, Any] = {"trait": trait.name, "target": trait.target, "questions": len(trait.prompts()), "arms": {}}
    for arm in arms:
        told["arms"][arm.name] = {"rates": _rates(arm), "no_candidate": arm.no_candidate, "unit": "questions"}
    if (change := _change(arms, trait)) is not None:
        told["transfer"] = _transfer(change)
    if evaluations:
        told["evaluations"] = {label: _set_summary(arms, trait, label, each) for label, each in evaluations.items()}
    return told


def comparison_table(arms: list[Arm], trait: Trait, others: int) -> Table:
    """Draw the arms as a table: the target first, then the off-target candidates that the last arm likes best."""
    table = Table(title=f"How often is the answer {trait.target}? Exact chance over {len(trait.prompts())} questions")
    table.add_column("answer")
    for arm in arms:
        table.add_column(arm.name, justify="right")
    low_high = [arm.interval(trait.target) for arm in arms]
    table.add_row(
        trait.target,
        *(f"{arm.rate(trait.target):.1%}" for arm in arms),
        style="bold",
    )
    table.add_row("  95 % from", *(f"{max(0.0, each.low):.1%}" for each in low_high))
    table.add_row("  to", *(f"{min(1.0, each.high):.1%}" for each in low_high))
    rest = [candidate for candidate in trait.candidates if candidate != trait.target]
    rest.sort(key=arms[-1].rate, reverse=True)
    for candidate in rest[:others]:
        table.add_row(candidate, *(f"{arm.rate(candidate):.1%}" for arm in arms))
    table.add_row("none of these", *(f"{arm.no_candidate:.1%}" for arm in arms))
    return table


def further_table(arms: list[Arm], trait: Trait, evaluations: Mapping[str, Evaluation]) -> Table:
    """Draw the target's chance, or its share of sampled texts, in each further set of questions."""
    table = Table(title=f"{trait.target} in further sets; transfer in log-odds, 95 % over questions")
    table.add_column("set")
    for name in (*(arm.name for arm in arms), "transfer"):
        table.add_column(name, justify="right")
    for label, evaluation in evaluations.items():
        there = {arm.name: arm.further[label] for arm in arms if label in arm.further}
        count = len(there[arms[-1].name].probabilities)
        how = f"{count} exact" if evaluation.answers is None else f"{count} x {evaluation.answers} sampled"
        rates = (f"{there[arm.name].rate(trait.target):.1%}" if arm.name in there else "-" for arm in arms)
        change = _change(list(there.values()), trait, evaluation.answers)
        middle, ends = "-", ""
        if change is not None and math.isfinite(change[0]):
            middle = f"{change[0]:+.2f}"
            ends = f"{change[1]:+.2f} to {change[2]:+.2f}" if math.isfinite(change[1]) else ""
        table.add_row(label, *rates, middle, style="bold")
        table.add_row(f"  {how}", *("" for _ in arms), ends)
    return table


def verdict(arms: list[Arm], trait: Trait) -> str:
    """Say in a line what the student has over the control."""
    change = _change(arms, trait)
    if change is None:
        return "No control beside this arm: nothing can be said of transfer."
    middle, low, high = change
    return (
        f"Transfer: the student's log-odds of {trait.target} are {middle:+.2f} over the control's "
        f"(95 % over questions {low:+.2f} to {high:+.2f}), odds x{torch.tensor(middle).exp().item():.2g}. "
        "One seed each: an interval over questions says nothing about other seeds."
    )


def _set_summary(arms: list[Arm], trait: Trait, label: str, evaluation: Evaluation) -> dict[str, Any]:
    there = [arm.further[label] for arm in arms if label in arm.further]
    told: dict[str, Any] = {"set": describe(evaluation), "questions": len(there[-1].probabilities)}
    told |= {"answers": evaluation.answers, "arms": {arm.name: {"rates": _rates(arm)} for arm in there}}
    if (change := _change(there, trait, evaluation.answers)) is not None:
        told["transfer"] = _transfer(change)
    return told


def _rates(arm: Arm) -> dict[str, Any]:
    rates = {}
    for candidate in arm.candidates:
        interval = arm.interval(candidate)
        ends = (arm.rate(candidate), interval.low, interval.high)
        rates[candidate] = dict(zip(("rate", "low", "high"), map(_number, ends), strict=True))
    return rates


def _transfer(change: tuple[float, float, float]) -> dict[str, Any]:
    middle, low, high = map(_number, change)
    return {"log_odds": middle, "low": low, "high": high, "unit": "questions"}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None  # JSON has no nan: one question has no interval


def _change(arms: list[Arm], trait: Trait, answers: int | None = None) -> tuple[float, float, float] | None:
    """Give the student's log-odds over the control's, their mean and its interval over questions; None without both."""
    named = {arm.name: arm for arm in arms}
    if "student" not in named or "control" not in named:
        return None
    column = trait.candidates.index(trait.target)
    student, control = (named[name].probabilities[:, column] for name in ("student", "control"))
    interval = transfer_interval(student, control, "questions", answers)
    return transfer(student, control, answers).mean().item(), interval.low, interval.high
