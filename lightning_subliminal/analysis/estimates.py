"""From cells to estimates: which cells, grouped by which unit, and what their numbers say."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lightning_subliminal.analysis import statistics
from lightning_subliminal.analysis.claims import Claim
from lightning_subliminal.analysis.statistics import Estimate
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import digest

__all__ = [
    "CHANGE",
    "CellResult",
    "by_answer",
    "cell_pairs",
    "claim_estimate",
    "claim_limits",
    "group_estimate",
    "grouped",
    "limits_of",
    "lineage_digest",
    "matrix_of",
    "select",
]

CHANGE = "change of "  # before the name of an answer: its log-odds, student less control


@dataclass(frozen=True)
class CellResult:
    """The numbers of one cell.

    Attributes:
        experiment: the experiment's name.
        arm: the arm's name.
        axes: the value of each axis.
        seed: the seed.
        numbers: what was measured, by name; a list has a value a unit inside the cell.
        vectors: log-odds at each question, of student and control; and the targeted transfer there.
        lineage: keys of the stages that it was read from.
        limits: the range that a number can't leave, by its name.
        stems: what each question asks, without its wording; empty where each is its own.
        reasons: why a number is not there, by its name.
        warnings: what makes the numbers hard to read, a sentence each.
    """

    experiment: str
    arm: str
    axes: dict[str, Any]
    seed: int
    numbers: dict[str, float | list[float]]
    vectors: dict[str, list[float]]
    lineage: tuple[str, ...]
    limits: dict[str, tuple[float, float]] = field(default_factory=dict)
    stems: tuple[str, ...] = ()
    reasons: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


def select(
    cells: Sequence[CellResult], arm: str | None = None, where: Mapping[str, Any] | None = None
) -> list[CellResult]:
    """Return the cells of an arm with some values of axes.

    Args:
        cells: of one experiment.
        arm: the arm's name; any where it is None.
        where: by axis: a value, a list of values, or a mapping with ``in``, ``same_as`` and ``other_than``.
    """
    return [
        cell
        for cell in cells
        if arm in (None, cell.arm) and all(_holds(cell, axis, wanted) for axis, wanted in (where or {}).items())
    ]


def grouped(
    cells: Sequence[CellResult], value: str, over: str | Sequence[str]
) -> tuple[dict[Any, dict[Any, float]], str]:
    """Return a number of each unit and, inside it, of each seed; and what the unit is called.

    Cells that share unit and seed, such as those of further axes, are meaned.

    Args:
        cells: the cells.
        value: which number.
        over: the axes that make up a unit; where no cell has one of them, or all have one value, the unit is the seed.
    """
    names = [over] if isinstance(over, str) else list(over)
    present = [
        name for name in names if len({_hashable(cell.axes.get(name)) for cell in cells if name in cell.axes}) > 1
    ]
    found: dict[Any, dict[Any, list[float]]] = defaultdict(lambda: defaultdict(list))
    for cell in cells:
        if value not in cell.numbers:
            continue
        told = cell.numbers[value]
        for place, number in enumerate(told if isinstance(told, list) else [told]):
            seed = (cell.seed, place) if isinstance(told, list) else cell.seed
            unit = tuple(_hashable(cell.axes.get(name)) for name in present)
            found[unit][seed].append(float(number))
    means = {unit: {seed: float(np.mean(each)) for seed, each in seeds.items()} for unit, seeds in found.items()}
    if not present:
        return means, "seeds"
    return means, f"{present[0]}s" if len(present) == 1 else f"cells ({' x '.join(present)})"


def group_estimate(
    groups: Mapping[Any, Mapping[Any, float]],
    unit: str,
    null: float = 0.0,
    limits: tuple[float, float] | None = None,
) -> Estimate | None:
    """Return the mean over units with its interval, and its p against ``null``; None where there is nothing.

    Args:
        groups: a number of each unit and seed.
        unit: what a unit is called.
        null: what p is against.
        limits: what the number can't leave: the interval ends there.
    """
    if not groups:
        return None
    if unit == "seeds":
        values = [value for seeds in groups.values() for value in seeds.values()]
        return statistics.within(statistics.mean_estimate(values, "seeds", null), limits)
    by_unit = {key: list(seeds.values()) for key, seeds in groups.items()}
    return statistics.within(statistics.nested_estimate(by_unit, units=(unit, "seeds"), null=null), limits)


def limits_of(cells: Iterable[CellResult], value: str) -> tuple[float, float] | None:
    """Return the range that a number of cells can't leave, such as 0 to 1 of a chance; None where there is none."""
    found = {cell.limits.get(value) for cell in cells if value in cell.numbers}
    return found.pop() if len(found) == 1 else None


def claim_limits(claim: Claim, cells: Sequence[CellResult]) -> tuple[float, float] | None:
    """Return the range that a claim's figure can't leave; None where there is none."""
    if claim.statistic != "mean":
        return None
    mine = limits_of([cell for arm in claim.of_arms for cell in select(cells, arm, claim.where)], claim.value)
    if claim.less is None or mine is None:
        return mine
    other = claim.less.get("value", claim.value)
    theirs = limits_of(select(cells, claim.less.get("arm", claim.arm)), other)
    return None if theirs is None else (mine[0] - theirs[1], mine[1] - theirs[0])


def claim_estimate(claim: Claim, cells: Sequence[CellResult]) -> tuple[Estimate | None, list[str]]:
    """Return the figure that a claim is about, and the keys of what it was read from; None where nothing was measured."""
    mine = [cell for arm in claim.of_arms for cell in select(cells, arm, claim.where)]
    keys = sorted({key for cell in mine for key in cell.lineage})
    if not mine:
        return None, keys
    if claim.statistic in ("bootstrap", "mixed model"):
        return _question_level(claim, mine), keys
    if claim.statistic == "rank correlation":
        return _crossed(claim, mine), keys
    if claim.statistic in ("matrix", "columns"):
        rows, columns = claim.over if isinstance(claim.over, list) else ("teacher", "student")
        values, first, second = matrix_of(mine, rows, columns, claim.value)
        if first != second or np.isnan(values).any():
            raise InputError(f"claim {claim.id!r}: the matrix is not whole: {len(first)} x {len(second)} with holes.")
        if claim.statistic == "columns":
            return statistics.mean_estimate(statistics.beyond_other_rows(values), f"{rows}s"), keys
        found = statistics.matrix_statistic(values)
        p = min(1.0, 2 * found.p)  # that of the permutations is one-sided
        return Estimate(found.value, found.low, found.high, "rows", len(values), p, 0.0, "permutation of columns"), keys
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
    found_apart = statistics.difference_estimate(first, second, unit if unit == other_unit else "units", paired=False)
    return statistics.within(found_apart, limits), keys


def cell_pairs(
    cells: Sequence[CellResult], first: str, second: str, over: str | Sequence[str] = "target"
) -> list[tuple[float, float, Any, Any]]:
    """Return two numbers of each arm with its values of axes, the means over seeds, with its unit and its condition.

    Those whose number is infinite, since a model never gives an answer, are left out.

    Args:
        cells: the cells.
        first: one number's name.
        second: the other's.
        over: the axes that make up a unit; the arm and all other axes are the condition.
    """
    names = [over] if isinstance(over, str) else list(over)
    found: dict[Any, list[tuple[float, float]]] = defaultdict(list)
    for cell in cells:
        if first in cell.numbers and second in cell.numbers:
            unit = tuple(_hashable(cell.axes.get(name)) for name in names)
            rest = tuple((axis, _hashable(value)) for axis, value in sorted(cell.axes.items()) if axis not in names)
            pair = (float(np.mean(cell.numbers[first])), float(np.mean(cell.numbers[second])))
            found[unit, (cell.arm, rest)].append(pair)
    means = [(*np.mean(pairs, axis=0).tolist(), unit, condition) for (unit, condition), pairs in found.items()]
    return [each for each in means if math.isfinite(each[0]) and math.isfinite(each[1])]


def _crossed(claim: Claim, cells: Sequence[CellResult]) -> Estimate | None:
    pairs = cell_pairs(cells, str(claim.beside), claim.value, claim.over)
    if not pairs:
        return None
    first, second, units, conditions = zip(*pairs, strict=True)
    unit = f"{claim.over if isinstance(claim.over, str) else ' x '.join(claim.over)}s"
    return statistics.rank_correlation(first, second, {unit: units, "conditions": conditions})


def matrix_of(
    cells: Sequence[CellResult], rows: str, columns: str, value: str
) -> tuple[np.ndarray, list[Any], list[Any]]:
    """Return the mean of a number for each pair of values of two axes, and those values; nan where there is none.

    Columns named ``answer``, where no cell has such an axis, are the answers that the values of ``rows`` name, and the
    number is the change of each.
    """
    cells, value = by_answer(cells, rows, columns, value)
    first = list(dict.fromkeys(_hashable(cell.axes[rows]) for cell in cells if rows in cell.axes))
    second = list(dict.fromkeys(_hashable(cell.axes[columns]) for cell in cells if columns in cell.axes))
    if set(first) == set(second):
        second = first  # one order, whichever cell comes first: the diagonal is the diagonal
    found = np.full((len(first), len(second)), math.nan)
    for i, row in enumerate(first):
        for j, column in enumerate(second):
            here = [
                each.numbers[value]
                for each in select(cells, None, {rows: row, columns: column})
                if value in each.numbers
            ]
            if here:
                found[i, j] = float(
                    np.mean(np.concatenate([np.atleast_1d(np.asarray(each, dtype=float)) for each in here]))
                )
    return found, first, second


def by_answer(cells: Sequence[CellResult], rows: str, columns: str, value: str) -> tuple[list[CellResult], str]:
    """Return a cell for each answer that an axis names, with its change as the number; the cells where it has none.

    Args:
        cells: the cells.
        rows: the axis whose values are answers too, such as the target.
        columns: ``answer``, or an axis of the cells, which stay then.
        value: which number; another one where there is a cell for each answer.

    Returns:
        The cells, and the name of their number.
    """
    if columns != "answer" or any(columns in cell.axes for cell in cells):
        return list(cells), value
    named = dict.fromkeys(str(cell.axes[rows]) for cell in cells if rows in cell.axes)
    return [
        replace(cell, axes=cell.axes | {columns: name}, numbers={CHANGE: cell.numbers[f"{CHANGE}{name}"]})
        for cell in cells
        for name in named
        if f"{CHANGE}{name}" in cell.numbers
    ], CHANGE


def lineage_digest(keys: Iterable[str]) -> str:
    """Return 16 digits of the digest of a set of stages, by their keys."""
    return digest(sorted(set(keys)))[:16]


def _question_level(claim: Claim, cells: Sequence[CellResult]) -> Estimate | None:
    """Estimate student less control from the answers to each question, within seeds, within units.

    Wordings of one question are put together by their stems first.
    """
    targeted = claim.value == "targeted transfer"
    if claim.less is not None or claim.value not in ("transfer", "targeted transfer"):
        raise InputError(
            f"claim {claim.id!r}: `{claim.statistic}` is of `transfer` alone, plain or targeted, without `less`."
        )
    names = [claim.over] if isinstance(claim.over, str) else list(claim.over)
    units: dict[Any, list[CellResult]] = defaultdict(list)
    for cell in cells:
        if {"student", "control"} <= set(cell.vectors) and (not targeted or claim.value in cell.vectors):
            units[tuple(_hashable(cell.axes.get(name)) for name in names)].append(cell)
    if not units:
        return None
    stems = next(iter(units.values()))[0].stems
    pairs = []
    for each in units.values():
        if any(cell.stems != stems for cell in each) and len(set(stems)) < len(stems):
            raise InputError(f"claim {claim.id!r}: its cells were asked questions of other stems: choose by `where`.")
        names_of = (claim.value,) if targeted else ("student", "control")
        tables = [statistics.by_stem(np.array([cell.vectors[name] for cell in each]), stems) for name in names_of]
        pairs.append((tables[0], tables[1] if len(tables) > 1 else np.zeros_like(tables[0])))
    if claim.statistic == "bootstrap":
        if len(pairs) == 1:
            return statistics.hierarchical_bootstrap(pairs[0][0], pairs[0][1])
        return statistics.hierarchical_bootstrap(None, None, groups=pairs, unit=names[0])
    if len(pairs) > 1:
        raise InputError(f"claim {claim.id!r}: a mixed model is of the seeds of one {names[0]}: choose one by `where`.")
    return statistics.mixed_model(pairs[0][0], pairs[0][1])


def _holds(cell: CellResult, axis: str, wanted: Any) -> bool:
    if axis not in cell.axes:
        return False
    value = cell.axes[axis]
    if isinstance(wanted, Mapping):
        if not wanted or set(wanted) - {"in", "same_as", "other_than"}:
            raise InputError(
                f"`where` of {axis!r} is {dict(wanted)}: expected a value, a list, in, same_as or other_than."
            )
        return (
            ("in" not in wanted or value in wanted["in"])
            and ("same_as" not in wanted or bool(value == cell.axes.get(wanted["same_as"])))
            and ("other_than" not in wanted or bool(value != cell.axes.get(wanted["other_than"])))
        )
    return value in wanted if isinstance(wanted, (list, tuple)) else bool(value == wanted)


def _hashable(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
