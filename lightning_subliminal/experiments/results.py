"""The results of a comparison: as data for a file, as tables, and as one sentence."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from rich.table import Table

from lightning_subliminal.describe import describe
from lightning_subliminal.evaluation import TraitProbe
from lightning_subliminal.evaluation.guards import Said, guard_warnings, pair_doubts
from lightning_subliminal.experiments.arms import Arm
from lightning_subliminal.metrics.functional import targeted_transfer, transfer, why_untargeted
from lightning_subliminal.traits import Trait

__all__ = ["comparison_table", "doubts_of", "further_table", "summary", "verdict", "warnings_of"]


def summary(arms: list[Arm], trait: Trait, evaluations: Mapping[str, TraitProbe] | None = None) -> dict[str, Any]:
    """Give the arms as JSON-able data: each candidate's chance with its interval, and the transfer; for each set."""
    told: dict[str, Any] = {"trait": trait.name, "target": trait.target, "questions": len(trait.prompts()), "arms": {}}
    for arm in arms:
        unit = arm.interval(trait.target).unit
        told["arms"][arm.name] = {"rates": _rates(arm), "no_candidate": arm.no_candidate, "unit": unit}
    if (change := _change(arms, trait)) is not None:
        told["transfer"] = _transfer(change)
        told["targeted_transfer"] = _targeted(arms, trait)
    told["warnings"] = warnings_of(arms, trait, evaluations or {})
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
    table.add_row("  95 % from", *(f"{each.low:.1%}" for each in low_high))
    table.add_row("  to", *(f"{each.high:.1%}" for each in low_high))
    rest = [candidate for candidate in trait.candidates if candidate != trait.target]
    rest.sort(key=arms[-1].rate, reverse=True)
    for candidate in rest[:others]:
        table.add_row(candidate, *(f"{arm.rate(candidate):.1%}" for arm in arms))
    table.add_row("none of these", *(f"{arm.no_candidate:.1%}" for arm in arms))
    if len(set(arms[-1].stems)) < len(arms[-1].stems):
        table.caption = f"95 % over {_asked(arms[-1])}"
    return table


def _asked(arm: Arm) -> str:
    """Say what intervals over an arm's questions are over."""
    stems, questions = len(set(arm.stems)), len(arm.probabilities)
    if stems < len(arm.stems):
        return f"{stems} question stems: wordings of one question count as one ({questions} questions)"
    return f"{questions} questions, each its own"


def further_table(arms: list[Arm], trait: Trait, evaluations: Mapping[str, TraitProbe]) -> Table:
    """Draw the target's chance, or its share of sampled texts, in each further set of questions."""
    table = Table(title=f"{trait.target} in further sets; transfer in log-odds, targeted: beyond the other answers")
    table.add_column("set")
    for name in (*(arm.name for arm in arms), "transfer", "targeted"):
        table.add_column(name, justify="right")
    for label, evaluation in evaluations.items():
        there = {arm.name: arm.further[label] for arm in arms if label in arm.further}
        count = len(there[arms[-1].name].probabilities)
        how = f"{count} exact" if evaluation.answers is None else f"{count} x {evaluation.answers} sampled"
        rates = (f"{there[arm.name].rate(trait.target):.1%}" if arm.name in there else "-" for arm in arms)
        change = _change(list(there.values()), trait, evaluation.answers)
        told = [_figure(change), _figure(_targeted(list(there.values()), trait, evaluation.answers))]
        table.add_row(label, *rates, *(middle for middle, _ in told), style="bold")
        table.add_row(f"  {how}", *("" for _ in arms), *(ends for _, ends in told))
    over = {label: _asked(arms[-1].further[label]) for label in evaluations if label in arms[-1].further}
    table.caption = "95 % over " + "; ".join(f"{told} ({label})" for label, told in over.items()) if over else None
    return table


def _figure(told: Any) -> tuple[str, str]:
    """Return a transfer and the ends of its interval as a table shows them."""
    if isinstance(told, dict):
        told = tuple(told[key] for key in ("log_odds", "low", "high"))
    if told is None or told[0] is None or not math.isfinite(told[0]):
        return "-" if told is None else "n/a", ""
    known = told[1] is not None and math.isfinite(told[1])
    return f"{told[0]:+.2f}", f"{told[1]:+.2f} to {told[2]:+.2f}" if known else ""


def verdict(arms: list[Arm], trait: Trait) -> str:
    """Say what the student has over the control: of the target, and of the target beyond the other answers."""
    change = _change(arms, trait)
    if change is None:
        return "No control beside this arm: nothing can be said of transfer."
    middle, low, high, unit = change
    told = _targeted(arms, trait) or {"log_odds": None, "reason": "there is no control"}
    if told["log_odds"] is None:
        beyond = f"Targeted transfer: n/a, {told['reason']}. "
    else:
        place = "first" if told["rank"] == 1 else f"number {told['rank']}"
        ends = "" if told["low"] is None else f" (95 % over {told['unit']} {told['low']:+.2f} to {told['high']:+.2f})"
        beyond = (
            f"Targeted transfer: {told['log_odds']:+.2f}{ends}, beyond the mean change of the {told['of'] - 1} other "
            f"answers ({told['off_target']:+.2f}); {trait.target} is {place} of {told['of']} by its change. "
        )
    return (
        f"{beyond}\nTransfer: the student's log-odds of {trait.target} are {middle:+.2f} over the control's "
        f"(95 % over {unit} {low:+.2f} to {high:+.2f}), odds x{torch.tensor(middle).exp().item():.2g}. "
        "One seed each: an interval over questions says nothing about other seeds."
    )


def warnings_of(arms: Sequence[Arm], trait: Trait, evaluations: Mapping[str, TraitProbe] | None = None) -> list[str]:
    """Return what makes the figures hard to read as the trait, a sentence each; of further sets, where exact."""
    told = guard_warnings(_said(arms, trait), trait.target, len(trait.candidates))
    for label in [label for label, each in (evaluations or {}).items() if each.answers is None]:
        there = {arm.name: arm.further[label] for arm in arms if label in arm.further and arm.name != "teacher"}
        found = guard_warnings(_said(list(there.values()), trait), trait.target, len(trait.candidates))
        told += [f"{label}: {warning}" for warning in found]
    return told


def doubts_of(arm: Arm, beside: Arm, trait: Trait) -> list[str]:
    """Return why a test of an arm beside another can't pass, a sentence each."""
    return pair_doubts(_said([arm, beside], trait), trait.target, len(trait.candidates), (arm.name, beside.name))


def _said(arms: Sequence[Arm], trait: Trait) -> dict[str, Said]:
    return {arm.name: Said.of(arm.probabilities, trait.candidates, trait.target) for arm in arms}


def _set_summary(arms: list[Arm], trait: Trait, label: str, evaluation: TraitProbe) -> dict[str, Any]:
    there = [arm.further[label] for arm in arms if label in arm.further]
    told: dict[str, Any] = {"set": describe(evaluation), "questions": len(there[-1].probabilities)}
    told |= {"answers": evaluation.answers, "arms": {arm.name: {"rates": _rates(arm)} for arm in there}}
    if (change := _change(there, trait, evaluation.answers)) is not None:
        told["transfer"] = _transfer(change)
        told["targeted_transfer"] = _targeted(there, trait, evaluation.answers)
    return told


def _rates(arm: Arm) -> dict[str, Any]:
    rates = {}
    for candidate in arm.candidates:
        interval = arm.interval(candidate)
        ends = (arm.rate(candidate), interval.low, interval.high)
        rates[candidate] = dict(zip(("rate", "low", "high"), map(_number, ends), strict=True))
    return rates


def _transfer(change: tuple[float, float, float, str]) -> dict[str, Any]:
    middle, low, high = map(_number, change[:3])
    return {"log_odds": middle, "low": low, "high": high, "unit": change[3]}


def _targeted(arms: Sequence[Arm], trait: Trait, answers: int | None = None) -> dict[str, Any] | None:
    """Return the targeted transfer as JSON-able data, or the reason why there is none; None without both arms."""
    named = {arm.name: arm for arm in arms}
    if not {"student", "control"} <= set(named):
        return None
    student, control = (named[name].probabilities for name in ("student", "control"))
    target = trait.candidates.index(trait.target)
    found = targeted_transfer(student, control, target, answers)
    if found is None:
        empty: dict[str, Any] = dict.fromkeys(("log_odds", "low", "high", "rank", "of"))
        return empty | {"reason": why_untargeted(student, control, target, answers)}
    interval = named["student"].over_questions(found.by_question)
    told: dict[str, Any] = {"log_odds": _number(found.log_odds), "low": _number(interval.low)}
    told |= {"high": _number(interval.high), "unit": interval.unit, "rank": found.rank, "of": found.of}
    left_out = [trait.candidates[place] for place in found.left_out]
    return told | {"off_target": found.off_target, "left_out": left_out}


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None  # JSON has no nan: one question has no interval


def _change(arms: Sequence[Arm], trait: Trait, answers: int | None = None) -> tuple[float, float, float, str] | None:
    """Return the student's log-odds over the control's: mean, interval over questions, its unit; None without both."""
    named = {arm.name: arm for arm in arms}
    if "student" not in named or "control" not in named:
        return None
    column = trait.candidates.index(trait.target)
    student, control = (named[name].probabilities[:, column] for name in ("student", "control"))
    moved = transfer(student, control, answers)
    interval = named["student"].over_questions(moved)
    return moved.mean().item(), interval.low, interval.high, interval.unit
