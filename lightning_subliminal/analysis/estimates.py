"""Estimates of a group of cells and of a claim, each over its unit."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lightning_subliminal.analysis import statistics
from lightning_subliminal.analysis.cells import (
    CellResult,
    as_names,
    cell_pairs,
    grouped,
    hashable,
    limits_of,
    matrix_of,
    select,
)
from lightning_subliminal.analysis.claims import Claim
from lightning_subliminal.analysis.question_level import by_stem, hierarchical_bootstrap, mixed_model
from lightning_subliminal.analysis.resampling import beyond_other_rows, matrix_statistic, rank_correlation
from lightning_subliminal.analysis.statistics import Estimate
from lightning_subliminal.core.errors import InputError

__all__ = ["claim_cells", "claim_estimate", "claim_limits", "group_estimate"]


def group_estimate(
    groups: Mapping[Any, Mapping[Any, float]],
    unit: str,
    null: float = 0.0,
    limits: tuple[float, float] | None = None,
) -> Estimate | None:
    """Return the mean over units with its interval, and its p against ``null``; None without groups.

    Args:
        groups: a number of each unit and seed.
        unit: the name of a unit.
        null: what p is against.
        limits: the range of possible values, to which the interval is cut.
    """
    if not groups:
        return None
    if unit == "seeds":
        values = [value for seeds in groups.values() for value in seeds.values()]
        return statistics.within(statistics.mean_estimate(values, "seeds", null), limits)
    by_unit = {key: list(seeds.values()) for key, seeds in groups.items()}
    return statistics.within(statistics.nested_estimate(by_unit, units=(unit, "seeds"), null=null), limits)


def claim_cells(claim: Claim, cells: Sequence[CellResult]) -> list[CellResult]:
    """Return the cells that a claim's figure is computed from, those that are subtracted left out."""
    return [cell for arm in claim.of_arms for cell in select(cells, arm, claim.where)]


def claim_limits(claim: Claim, cells: Sequence[CellResult]) -> tuple[float, float] | None:
    """Return the range of possible values of a claim's figure; None where it has none."""
    if claim.statistic != "mean":
        return None
    mine = limits_of(claim_cells(claim, cells), claim.value)
    if claim.less is None or mine is None:
        return mine
    other = claim.less.get("value", claim.value)
    theirs = limits_of(select(cells, claim.less.get("arm", claim.arm)), other)
    return None if theirs is None else (mine[0] - theirs[1], mine[1] - theirs[0])


def claim_estimate(claim: Claim, cells: Sequence[CellResult]) -> tuple[Estimate | None, list[str]]:
    """Return the figure that a claim is about, None if it was not measured; and the keys of the stages behind it."""
    mine = claim_cells(claim, cells)
    keys = sorted({key for cell in mine for key in cell.lineage})
    if not mine:
        return None, keys
    if claim.statistic in ("bootstrap", "mixed model"):
        return _question_level(claim, mine), keys
    if claim.statistic == "rank correlation":
        return _rank_correlation(claim, mine), keys
    if claim.statistic in ("matrix", "columns"):
        return _of_matrix(claim, mine), keys
    groups, unit = grouped(mine, claim.value, claim.over)
    limits = claim_limits(claim, cells)
    if claim.less is None:
        return group_estimate(groups, unit, claim.null, limits), keys
    theirs = select(cells, claim.less.get("arm", claim.arm), claim.less.get("where", claim.where))
    keys = sorted({*keys, *(key for cell in theirs for key in cell.lineage)})
    others, other_unit = grouped(theirs, claim.less.get("value", claim.value), claim.over)
    if not groups or not others:
        return None, keys
    pairs = {
        key: {seed: seeds[seed] - others[key][seed] for seed in seeds if seed in others[key]}
        for key, seeds in groups.items()
        if key in others
    }
    pairs = {key: seeds for key, seeds in pairs.items() if seeds}
    if pairs:
        return group_estimate(pairs, unit, limits=limits), keys
    first, second = ([float(np.mean(list(seeds.values()))) for seeds in each.values()] for each in (groups, others))
    unpaired = statistics.difference_estimate(first, second, unit if unit == other_unit else "units", paired=False)
    return statistics.within(unpaired, limits), keys


def _of_matrix(claim: Claim, cells: Sequence[CellResult]) -> Estimate:
    rows, columns = claim.over if isinstance(claim.over, list) else ("teacher", "student")
    values, first, second = matrix_of(cells, rows, columns, claim.value)
    if first != second or np.isnan(values).any():
        raise InputError(f"claim {claim.id!r}: the matrix is not whole: {len(first)} x {len(second)} with holes.")
    if claim.statistic == "columns":
        return statistics.mean_estimate(beyond_other_rows(values), f"{rows}s")
    found = matrix_statistic(values)
    p = min(1.0, 2 * found.p)  # that of the permutations is one-sided
    return Estimate(found.value, found.low, found.high, "rows", len(values), p, 0.0, "permutation of columns")


def _rank_correlation(claim: Claim, cells: Sequence[CellResult]) -> Estimate | None:
    pairs = cell_pairs(cells, str(claim.beside), claim.value, claim.over)
    if not pairs:
        return None
    first, second, units, conditions = zip(*pairs, strict=True)
    return rank_correlation(first, second, {f"{' x '.join(as_names(claim.over))}s": units, "conditions": conditions})


def _question_level(claim: Claim, cells: Sequence[CellResult]) -> Estimate | None:
    """Estimate student less control from the answers to each question, within seeds, within units.

    Wordings of one question are merged by their stems first.
    """
    targeted = claim.value == "targeted transfer"
    if claim.less is not None or claim.value not in ("transfer", "targeted transfer"):
        raise InputError(
            f"claim {claim.id!r}: `{claim.statistic}` is of `transfer` alone, plain or targeted, without `less`."
        )
    names = as_names(claim.over)
    units: dict[Any, list[CellResult]] = defaultdict(list)
    for cell in cells:
        if {"student", "control"} <= set(cell.vectors) and (not targeted or claim.value in cell.vectors):
            units[tuple(hashable(cell.axes.get(name)) for name in names)].append(cell)
    if not units:
        return None
    stems = next(iter(units.values()))[0].stems
    pairs = []
    for each in units.values():
        if any(cell.stems != stems for cell in each) and len(set(stems)) < len(stems):
            raise InputError(f"claim {claim.id!r}: its cells were asked questions of other stems: choose by `where`.")
        tables = [
            by_stem(np.array([cell.vectors[name] for cell in each]), stems)
            for name in ((claim.value,) if targeted else ("student", "control"))
        ]
        pairs.append((tables[0], np.zeros_like(tables[0]) if targeted else tables[1]))
    if claim.statistic == "bootstrap":
        return hierarchical_bootstrap(pairs, unit=names[0])
    if len(pairs) > 1:
        raise InputError(f"claim {claim.id!r}: a mixed model is of the seeds of one {names[0]}: choose one by `where`.")
    return mixed_model(*pairs[0])
