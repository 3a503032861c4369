"""Transfer of a suite's measures, targeted and plain, and what makes it hard to read."""

import math
from typing import Any

import torch
from torch import Tensor

from lightning_subliminal.experiments.guards import Said, guard_warnings, pair_doubts
from lightning_subliminal.metrics.functional import Interval, targeted_transfer, transfer, why_untargeted
from lightning_subliminal.suites.base import Outcome

__all__ = ["doubts_of", "transfer_json", "transfer_lines", "warning_lines"]

_PAIRED = "the two were asked different questions, or for other answers"


def transfer_json(outcome: Outcome, control: Outcome) -> dict[str, Any] | None:
    """Return what a model has over its control in log-odds, plain and targeted, as JSON-able data.

    Returns:
        Keys ``transfer`` and ``targeted_transfer``, each with log-odds, interval and unit; the targeted one with the
        target's rank among the answers, or with the reason why there is none. None of a measure without candidates.
    """
    if not outcome.chances or not control.chances:
        return None
    if outcome.units != control.units or list(outcome.chances) != list(control.chances):
        return {"transfer": None, "targeted_transfer": {"log_odds": None, "reason": _PAIRED}}
    mine, theirs, target, answers = _table(outcome), _table(control), _target(outcome), _answers(outcome)
    plain = transfer(mine, theirs, answers)[:, target]
    told = {"transfer": _figure(plain, outcome)}
    found = targeted_transfer(mine, theirs, target, answers)
    if found is None:
        return told | {"targeted_transfer": {"log_odds": None, "reason": why_untargeted(mine, theirs, target, answers)}}
    beside = {"rank": found.rank, "of": found.of, "off_target": found.off_target}
    return told | {"targeted_transfer": _figure(found.by_question, outcome) | beside}


def transfer_lines(found: dict[str, dict[str, Outcome]], control: str) -> list[str]:
    """Return a line for each model beside the control and each measure of a target: its targeted and plain transfer."""
    lines = []
    for model, outcomes in found.items():
        for name, outcome in outcomes.items():
            told = transfer_json(outcome, found[control][name]) if model != control else None
            if told is None:
                continue
            targeted, plain = told["targeted_transfer"], told["transfer"]
            if targeted["log_odds"] is None:
                beyond = f"targeted transfer n/a, {targeted['reason']}"
            else:
                place = "first" if targeted["rank"] == 1 else f"number {targeted['rank']}"
                beyond = f"targeted transfer {_shown(targeted)}, {outcome.target} is {place} of {targeted['of']}"
            said = f"; transfer {_shown(plain)}" if plain is not None else ""
            lines.append(f"{model} less {control}, {name}: {beyond}{said}")
    return lines


def warning_lines(found: dict[str, dict[str, Outcome]], control: str | None = None) -> list[str]:
    """Return what makes the measures' figures hard to read as a trait, a sentence each; of exact chances alone.

    Models called teacher and base are looked at as such: has the teacher learned anything?
    """
    lines = []
    for name in next(iter(found.values()), {}):
        here = {model: outcomes[name] for model, outcomes in found.items() if name in outcomes}
        said = {model: _said(each) for model, each in here.items() if each.chances and each.exact}
        if not said:
            continue
        first = here[next(iter(said))]
        base = "base" if "base" in said else control or ""
        others = [model for model in said if model not in (control, "teacher", "base")]
        told: dict[str, None] = {}
        for model in others or [""]:
            pair = (model, control or "")
            told |= dict.fromkeys(guard_warnings(said, str(first.target), len(first.chances), pair, ("teacher", base)))
        lines += [f"{name}: {warning}" for warning in told]
    return lines


def doubts_of(outcome: Outcome, control: Outcome | None, names: tuple[str, str]) -> list[str]:
    """Return why a test of a model beside its control can't pass, a sentence each; of exact chances alone."""
    pair = {name: each for name, each in zip(names, (outcome, control), strict=True) if each is not None}
    said = {name: _said(each) for name, each in pair.items() if each.chances and each.exact and each.reason is None}
    return pair_doubts(said, str(outcome.target), len(outcome.chances), names)


def _said(outcome: Outcome) -> Said:
    return Said.of(_table(outcome), list(outcome.chances), str(outcome.target))


def _table(outcome: Outcome) -> Tensor:
    """Return the chance of each candidate at each unit, (units, candidates)."""
    return torch.tensor(list(outcome.chances.values()), dtype=torch.float64).T


def _target(outcome: Outcome) -> int:
    return list(outcome.chances).index(str(outcome.target))


def _answers(outcome: Outcome) -> int | None:
    """Return how many answers each unit's chance comes from; None where it was computed."""
    return None if outcome.exact else outcome.counts.get("answers", 0) // max(len(outcome.values), 1) or None


def _figure(values: Tensor, outcome: Outcome) -> dict[str, Any]:
    known = bool(values.isfinite().all())  # a chance of 0 has no odds
    ends = outcome.over_units(values) if known else Interval(math.nan, math.nan, outcome.interval.unit)
    told = {"log_odds": values.mean().item(), "low": ends.low, "high": ends.high}
    return {key: each if math.isfinite(each) else None for key, each in told.items()} | {"unit": ends.unit}


def _shown(told: dict[str, Any]) -> str:
    if told["log_odds"] is None:
        return "n/a, a chance of 0 has no odds"
    ends = "" if told["low"] is None else f" (95 % over {told['unit']} {told['low']:+.2f} to {told['high']:+.2f})"
    return f"{told['log_odds']:+.2f}{ends}"
