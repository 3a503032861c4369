"""What a plan has found: the numbers of its cells, its figures and claims, as the data of a report."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lightning_subliminal.analysis import statistics
from lightning_subliminal.analysis.claims import RULE, Claim, verdict
from lightning_subliminal.analysis.estimates import (
    CellResult,
    claim_estimate,
    claim_limits,
    lineage_digest,
    select,
)
from lightning_subliminal.analysis.figures import make_figure
from lightning_subliminal.analysis.statistics import Estimate
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.plans.default_figures import TARGETED, arm_table, default_figures
from lightning_subliminal.plans.plan import Cell, Experiment, Plan
from lightning_subliminal.workflow.stages import MeasureStage

__all__ = ["BY_QUESTION", "QUESTION_LEVEL", "cell_table", "read_cells", "report_data", "settling"]

BY_QUESTION = " by question"  # after the name of a column that holds a number of each question, of one stem as one
QUESTION_LEVEL = ("bootstrap", "mixed model")
_OF = ("value", "beside", "arm", "arms", "where", "less", "statistic", "over", "null", "published")


def read_cells(
    cells: Sequence[Cell], broken: Mapping[str, str]
) -> tuple[list[CellResult], dict[str, list[dict[str, str]]]]:
    """Read the numbers of cells that were measured.

    Args:
        cells: the plan's.
        broken: why stages are not there, by key.

    Returns:
        The numbers, and for each experiment what is missing: a stage and why.
    """
    results: list[CellResult] = []
    missing: dict[str, dict[str, dict[str, str]]] = {}
    for cell in cells:
        lost = {stage.key: stage for stage in cell.stages.values() if stage.key in broken or not _is_there(stage)}
        if lost:
            for key, stage in lost.items():
                told = {"stage": f"{stage.title} ({key})", "says": broken.get(key, "not made")}
                missing.setdefault(cell.experiment, {})[key] = told
            continue
        try:
            numbers = cell.trial.numbers(cell.setting, cell.stages)
            vectors = cell.trial.vectors(cell.setting, cell.stages)
            stems = tuple(cell.trial.stems(cell.setting)) if vectors else ()
            limits, reasons = cell.trial.limits(), cell.trial.reasons(cell.setting, cell.stages)
            warned = tuple(cell.trial.warnings(cell.setting, cell.stages))
        except Exception as err:  # a trial of the user's own: its mistake costs its cells alone
            says = f"{type(cell.trial).__name__}: {type(err).__name__}: {' '.join(str(err).split())}"
            missing.setdefault(cell.experiment, {})[cell.name] = {"stage": cell.name, "says": says}
            continue
        if odd := next((name for name, told in numbers.items() if not np.isfinite(told).all()), None):
            says = f"its `{odd}` is no finite number: {numbers[odd]}"
            missing.setdefault(cell.experiment, {})[cell.name] = {"stage": cell.name, "says": says}
            continue
        keys = tuple(sorted(stage.key for stage in cell.stages.values()))
        where = (cell.experiment, cell.arm, cell.axes, cell.seed)
        results.append(CellResult(*where, numbers, vectors, keys, limits, stems, reasons, warned))
    return results, {name: list(each.values()) for name, each in missing.items()}


def report_data(
    plan: Plan,
    results: Sequence[CellResult],
    missing: Mapping[str, list[dict[str, str]]],
    stages: Mapping[str, int],
    seeds: Sequence[int],
    command: str,
) -> dict[str, Any]:
    """Return the report as JSON-able data: the same for the same artefacts, whenever and however often they were made."""
    claims = [each for experiment in plan.experiments for each in _claims(experiment, results)]
    for each, adjusted in zip(claims, statistics.adjust([_nan(each["p"]) for each in claims], "holm"), strict=True):
        each["p_adjusted"] = None if math.isnan(adjusted) else float(adjusted)
    return {
        "title": plan.title,
        "about": plan.about,
        "command": command,
        "seeds": sorted(seeds),
        "rule": RULE,
        "stages": dict(stages),
        "claims": claims,
        "experiments": [
            {
                "name": each.name,
                "title": each.title,
                "about": each.about,
                "source": each.source,
                "warnings": _warnings(_of(each, results)),
                "table": arm_table(_of(each, results)),
                "figures": _figures(each, results),
                "failures": missing.get(each.name, []),
            }
            for each in plan.experiments
        ],
    }


def cell_table(results: Sequence[CellResult], experiments: Sequence[Experiment] = ()) -> list[dict[str, Any]]:
    """Return the cells as flat rows, for a table; a list of numbers becomes a row each.

    Args:
        results: the cells.
        experiments: the plan's. Of those with a claim over questions the cells' values by question are columns, too, so
            that each claim can be computed again from the table.
    """
    asked = {each.name for each in experiments if any(claim.statistic in QUESTION_LEVEL for claim in each.claims)}
    rows: list[dict[str, Any]] = []
    for cell in results:
        told: dict[str, Any] = {"experiment": cell.experiment, "arm": cell.arm}
        told |= {f"axis {name}": str(value) for name, value in cell.axes.items()}
        told |= {"seed": cell.seed, "lineage": " ".join(cell.lineage)}
        for name, values in cell.vectors.items() if cell.experiment in asked else ():
            told[f"{name}{BY_QUESTION}"] = statistics.by_stem([values], cell.stems)[0].tolist()
        units = max((len(each) for each in cell.numbers.values() if isinstance(each, list)), default=0)
        if not units:
            rows.append(told | cell.numbers)
        for unit in range(units):
            rows.append(told | {"unit": unit} | {k: v[unit] for k, v in cell.numbers.items() if isinstance(v, list)})
    return rows


def _claims(experiment: Experiment, results: Sequence[CellResult]) -> list[dict[str, Any]]:
    mine = _of(experiment, results)
    told = []
    for claim in experiment.claims:
        problem, estimate = None, None
        keys: list[str] = []
        try:
            estimate, keys = claim_estimate(claim, mine)
        except InputError as err:  # one claim that can't be told leaves all others
            problem = str(err)
        notes = [note for note in (claim.note, settling(claim, estimate), problem) if note]
        numbers = estimate.as_json() if estimate is not None else {}
        told.append(
            {
                "id": claim.id,
                "experiment": experiment.name,
                "says": claim.says,
                "source": claim.source or experiment.source,
                "theirs": claim.theirs,
                "statistic": _statistic(claim, numbers.get("method")),
                **{name: numbers.get(name) for name in ("unit", "count", "value", "low", "high", "p")},
                "range": [None if math.isinf(end) else end for end in (claim.low, claim.high)],
                "verdict": verdict(estimate, claim),
                "limits": _pair(claim_limits(claim, mine)),
                "targeted": targeted_beside(claim, mine),
                "note": "; ".join(notes) or None,
                "lineage": [lineage_digest(keys)] if keys else [],
                "of": {name: getattr(claim, name) for name in _OF},
            }
        )
    return told


def targeted_beside(claim: Claim, cells: Sequence[CellResult]) -> dict[str, Any] | None:
    """Return what stands beside a claim's figure of the target: the targeted one, by the same statistic, and its rank.

    Without it a student that gives any answer of the kind more often would seem to have the trait.

    Returns:
        The estimate with the mean rank of the target, or with the reason why there is none; None beside a claim that
        is of no such figure, or is of the targeted one itself.
    """
    prefix, _, name = claim.value.rpartition(": ")
    prefix = f"{prefix}: " if prefix else ""
    off_target = claim.less is not None and str(claim.less.get("value", "")).endswith("off target")
    if name not in ("transfer", "points", "student") or prefix == "task loss: " or off_target:
        return None
    twin = replace(claim, value=f"{prefix}{TARGETED}")
    if twin.less is not None:  # less the control is in the targeted figure already
        rest = {key: each for key, each in twin.less.items() if key != "value"}
        twin = replace(twin, less=rest or None)
    mine = [cell for arm in claim.of_arms for cell in select(cells, arm, claim.where)]
    ranks = [cell.numbers[f"{prefix}rank"] for cell in mine if f"{prefix}rank" in cell.numbers]
    told: dict[str, Any] = {}
    try:
        estimate, _ = claim_estimate(twin, cells)
    except InputError as err:
        estimate, told = None, {"reason": str(err)}
    if estimate is None or math.isnan(estimate.value):
        why = list(dict.fromkeys(cell.reasons[twin.value] for cell in mine if twin.value in cell.reasons))
        return {"reason": "; ".join(why) or None} | told
    numbers = estimate.as_json()
    told = {key: numbers[key] for key in ("value", "low", "high", "unit", "count")}
    of = {cell.numbers[f"{prefix}rank of"] for cell in mine if f"{prefix}rank of" in cell.numbers}
    return told | {"rank": float(np.mean(ranks)) if ranks else None, "rank_of": of.pop() if len(of) == 1 else None}


def settling(claim: Claim, estimate: Estimate | None) -> str | None:
    """Say how many units an inconclusive claim would need, if what was seen is the truth; None for any other claim.

    The interval then leaves the border of the claimed range on one side with a chance of 80 %.
    """
    if estimate is None or verdict(estimate, claim) != "inconclusive" or math.isnan(estimate.low) or estimate.count < 2:
        return None
    if claim.statistic != "mean" or "Welch" in estimate.method:  # the spread below is that of Student's t
        return None
    from scipy.stats import t as student

    half = (estimate.high - estimate.low) / 2
    spread = half / float(student.ppf(0.975, estimate.count - 1)) * math.sqrt(estimate.count)
    away = min(abs(estimate.value - end) for end in (claim.low, claim.high) if not math.isinf(end))
    if spread == 0 or away < 0.02 * spread:
        return None
    return f"about {statistics.required_seeds(away, spread)} {estimate.unit} would settle it, if this is the truth"


def _statistic(claim: Any, method: str | None) -> str:
    where = ", ".join(f"{axis} {_where(value)}" for axis, value in claim.where.items())
    text = f"{claim.value} of {claim.arm}{f' ({where})' if where else ''}"
    if claim.less is not None:
        told = claim.less
        where = ", ".join(f"{axis} {_where(value)}" for axis, value in told.get("where", claim.where).items())
        text += (
            f", less {told.get('value', claim.value)} of {told.get('arm', claim.arm)}{f' ({where})' if where else ''}"
        )
    if claim.statistic == "columns":
        text = f"each diagonal cell of the matrix of {claim.value} less the others of its column"
    if claim.statistic == "matrix":
        text = f"diagonal less grand mean of the matrix of {claim.value} (rain-1's lambda is that times n / (n - 1))"
    if claim.statistic == "rank correlation":
        text = f"rank correlation of {claim.beside} and {claim.value} over the cells of {len(claim.arms)} arms"
    return f"{text}; {method}" if method else text


def _where(value: Any) -> str:
    if isinstance(value, Mapping):
        return " ".join(f"{key.replace('_', ' ')} {each}" for key, each in value.items())
    return " or ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)


def _figures(experiment: Experiment, results: Sequence[CellResult]) -> list[dict[str, Any]]:
    mine = _of(experiment, results)
    made = [make_figure(spec, mine) for spec in experiment.figures or default_figures(mine) if mine]
    return [
        each for each in made if each.get("bars", True) and each.get("rows", True)
    ]  # else of arms that were not run


def _warnings(cells: Sequence[CellResult]) -> list[str]:
    """Return the warnings of cells, each that differs in more than figures once an arm, with its count of cells."""
    told = []
    for arm in dict.fromkeys(cell.arm for cell in cells):
        mine = [cell for cell in cells if cell.arm == arm]
        alike: dict[str, list[str]] = {}
        for warning in (each for cell in mine for each in cell.warnings):
            alike.setdefault(re.sub(r"[\d.]+%", "", warning), []).append(warning)
        told += [f"{arm}, {len(found)} of {len(mine)} cells: {found[0]}" for found in alike.values()]
    return told


def _of(experiment: Experiment, results: Sequence[CellResult]) -> list[CellResult]:
    return [cell for cell in results if cell.experiment == experiment.name]


def _pair(limits: tuple[float, float] | None) -> list[float] | None:
    return None if limits is None else list(limits)


def _is_there(stage: MeasureStage) -> bool:
    try:
        return stage.is_done()
    except InputError:
        return False


def _nan(value: float | None) -> float:
    return math.nan if value is None else value
