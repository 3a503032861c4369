"""The data of a report: the numbers of a plan's cells, its figures and its claims."""

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from lightning_subliminal.analysis import statistics
from lightning_subliminal.analysis.cells import CellResult, lineage_digest
from lightning_subliminal.analysis.claims import RULE, Claim, verdict
from lightning_subliminal.analysis.estimates import claim_cells, claim_estimate, claim_limits
from lightning_subliminal.analysis.figures import make_figure
from lightning_subliminal.analysis.question_level import by_stem
from lightning_subliminal.analysis.statistics import Estimate
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.plans.default_figures import TARGETED, arm_table, default_figures
from lightning_subliminal.plans.plan import Cell, Experiment, Plan
from lightning_subliminal.workflow.stages import MeasureStage

__all__ = ["BY_QUESTION", "QUESTION_LEVEL", "cell_table", "read_cells", "report_data", "settling"]

BY_QUESTION = " by question"  # ends the name of a column with one number per question, those of one stem as one
QUESTION_LEVEL = ("bootstrap", "mixed model")
_OF = ("value", "beside", "arm", "arms", "where", "less", "statistic", "over", "null", "published")


def read_cells(
    cells: Sequence[Cell], broken: Mapping[str, str]
) -> tuple[list[CellResult], dict[str, list[dict[str, str]]]]:
    """Read the numbers of cells that were measured.

    Args:
        cells: the plan's.
        broken: why stages are missing, by key.

    Returns:
        The numbers, and for each experiment the stages that are missing, and why.
    """
    results: list[CellResult] = []
    missing: dict[str, dict[str, dict[str, str]]] = defaultdict(dict)
    for cell in cells:
        lost = {stage.key: stage for stage in cell.stages.values() if stage.key in broken or not _is_there(stage)}
        if lost:
            for key, stage in lost.items():
                row = {"stage": f"{stage.title} ({key})", "says": broken.get(key, "not made")}
                missing[cell.experiment][key] = row
            continue
        try:
            numbers = cell.trial.numbers(cell.setting, cell.stages)
            vectors = cell.trial.vectors(cell.setting, cell.stages)
            stems = tuple(cell.trial.stems(cell.setting)) if vectors else ()
            limits, reasons = cell.trial.limits(), cell.trial.reasons(cell.setting, cell.stages)
            warned = tuple(cell.trial.warnings(cell.setting, cell.stages))
            if odd := next((name for name, each in numbers.items() if not np.isfinite(each).all()), None):
                raise InputError(f"its `{odd}` is not finite: {numbers[odd]}")
        except Exception as err:  # a trial of the user's own: its mistake costs its cells alone
            why = f"{type(cell.trial).__name__}: {type(err).__name__}: {' '.join(str(err).split())}"
            missing[cell.experiment][cell.name] = {"stage": cell.name, "says": why}
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
    """Return the report as JSON-able data; the same artefacts give the same data.

    Args:
        plan: the experiments.
        results: the numbers of their cells.
        missing: for each experiment the stages that are missing, and why.
        stages: how many were planned, shared and failed.
        seeds: those that were run.
        command: the command line.
    """
    claims = [each for experiment in plan.experiments for each in _claims(experiment, results)]
    chances = [math.nan if each["p"] is None else each["p"] for each in claims]
    for each, adjusted in zip(claims, statistics.adjust(chances, "holm"), strict=True):
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
    """Return the cells as flat rows, for a table; each value of a list of numbers becomes a row.

    Args:
        results: the cells.
        experiments: the plan's. Where a claim is over questions, the values by question are columns too, so that the
            claim can be computed again from the table.
    """
    asked = {each.name for each in experiments if any(claim.statistic in QUESTION_LEVEL for claim in each.claims)}
    rows: list[dict[str, Any]] = []
    for cell in results:
        row: dict[str, Any] = {"experiment": cell.experiment, "arm": cell.arm}
        row |= {f"axis {name}": str(value) for name, value in cell.axes.items()}
        row |= {"seed": cell.seed, "lineage": " ".join(cell.lineage)}
        for name, values in cell.vectors.items() if cell.experiment in asked else ():
            row[f"{name}{BY_QUESTION}"] = by_stem([values], cell.stems)[0].tolist()
        units = max((len(each) for each in cell.numbers.values() if isinstance(each, list)), default=0)
        if not units:
            rows.append(row | cell.numbers)
        for unit in range(units):
            rows.append(row | {"unit": unit} | {k: v[unit] for k, v in cell.numbers.items() if isinstance(v, list)})
    return rows


def _claims(experiment: Experiment, results: Sequence[CellResult]) -> list[dict[str, Any]]:
    mine = _of(experiment, results)
    claims = []
    for claim in experiment.claims:
        problem, estimate = None, None
        keys: list[str] = []
        try:
            estimate, keys = claim_estimate(claim, mine)
        except InputError as err:  # one claim that can't be computed leaves the others
            problem = str(err)
        notes = [note for note in (claim.note, settling(claim, estimate), problem) if note]
        numbers = estimate.as_json() if estimate is not None else {}
        claims.append(
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
                "limits": claim_limits(claim, mine),
                "targeted": targeted_beside(claim, mine),
                "note": "; ".join(notes) or None,
                "lineage": [lineage_digest(keys)] if keys else [],
                "of": {name: getattr(claim, name) for name in _OF},
            }
        )
    return claims


def targeted_beside(claim: Claim, cells: Sequence[CellResult]) -> dict[str, Any] | None:
    """Return the targeted counterpart of a claim's figure of the target, by the same statistic, with the target's rank.

    Without it a student that gives any answer of the kind more often would seem to have the trait.

    Returns:
        The estimate with the mean rank of the target, or the reason why it is missing; None for a claim about another
        figure, or about the targeted one itself.
    """
    prefix, _, name = claim.value.rpartition(": ")
    prefix = f"{prefix}: " if prefix else ""
    off_target = claim.less is not None and str(claim.less.get("value", "")).endswith("off target")
    if name not in ("transfer", "points", "student") or prefix == "task loss: " or off_target:
        return None
    twin = replace(claim, value=f"{prefix}{TARGETED}")
    if twin.less is not None:  # the targeted figure has the control subtracted already
        rest = {key: each for key, each in twin.less.items() if key != "value"}
        twin = replace(twin, less=rest or None)
    mine = claim_cells(claim, cells)
    ranks = [cell.numbers[f"{prefix}rank"] for cell in mine if f"{prefix}rank" in cell.numbers]
    try:
        estimate, _ = claim_estimate(twin, cells)
    except InputError as err:
        return {"reason": str(err)}
    if estimate is None or math.isnan(estimate.value):
        why = list(dict.fromkeys(cell.reasons[twin.value] for cell in mine if twin.value in cell.reasons))
        return {"reason": "; ".join(why) or None}
    numbers = estimate.as_json()
    of = {cell.numbers[f"{prefix}rank of"] for cell in mine if f"{prefix}rank of" in cell.numbers}
    figure = {key: numbers[key] for key in ("value", "low", "high", "unit", "count")}
    return figure | {"rank": float(np.mean(ranks)) if ranks else None, "rank_of": of.pop() if len(of) == 1 else None}


def settling(claim: Claim, estimate: Estimate | None) -> str | None:
    """Return how many units would settle an inconclusive claim, if the estimate is true; None for other claims.

    The interval then excludes the border of the claimed range with a probability of 80 %.
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
    return f"about {statistics.required_seeds(away, spread)} {estimate.unit} would settle it if the estimate is true"


def _statistic(claim: Claim, method: str | None) -> str:
    of: dict[str, Any] = {"value": claim.value, "arm": claim.arm, "where": claim.where}
    text = f"{claim.value} of {claim.arm}{_where(claim.where)}"
    if claim.less is not None:
        of |= claim.less
        text += f", less {of['value']} of {of['arm']}{_where(of['where'])}"
    if claim.statistic == "columns":
        text = f"each diagonal cell of the matrix of {claim.value} less the others of its column"
    if claim.statistic == "matrix":
        text = f"diagonal less grand mean of the matrix of {claim.value} (rain-1's lambda is that times n / (n - 1))"
    if claim.statistic == "rank correlation":
        text = f"rank correlation of {claim.beside} and {claim.value} over the cells of {len(claim.arms)} arms"
    return f"{text}; {method}" if method else text


def _where(where: Mapping[str, Any]) -> str:
    def words(value: Any) -> str:
        if isinstance(value, Mapping):
            return " ".join(f"{key.replace('_', ' ')} {each}" for key, each in value.items())
        return " or ".join(map(str, value)) if isinstance(value, (list, tuple)) else str(value)

    return f" ({', '.join(f'{axis} {words(value)}' for axis, value in where.items())})" if where else ""


def _figures(experiment: Experiment, results: Sequence[CellResult]) -> list[dict[str, Any]]:
    mine = _of(experiment, results)
    made = [make_figure(spec, mine) for spec in experiment.figures or default_figures(mine) if mine]
    return [each for each in made if _has_values(each)]  # others are of arms that were not run


def _has_values(figure: Mapping[str, Any]) -> bool:
    """Return whether a figure has a bar, a cell, a point, or a curve with one."""
    return any(figure.get(part) for part in ("bars", "rows", "points")) or any(
        curve["points"] for curve in figure.get("curves", ())
    )


def _warnings(cells: Sequence[CellResult]) -> list[str]:
    """Return the warnings of cells, once per arm and kind of warning, each with its count of cells."""
    lines = []
    for arm in dict.fromkeys(cell.arm for cell in cells):
        mine = [cell for cell in cells if cell.arm == arm]
        alike: dict[str, list[str]] = {}
        for warning in (each for cell in mine for each in cell.warnings):
            alike.setdefault(re.sub(r"[\d.]+%", "", warning), []).append(warning)
        lines += [f"{arm}, {len(found)} of {len(mine)} cells: {found[0]}" for found in alike.values()]
    return lines


def _of(experiment: Experiment, results: Sequence[CellResult]) -> list[CellResult]:
    return [cell for cell in results if cell.experiment == experiment.name]


def _is_there(stage: MeasureStage) -> bool:
    try:
        return stage.is_done()
    except InputError:
        return False
