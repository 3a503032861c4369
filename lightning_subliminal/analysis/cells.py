"""Numbers of cells: selected by axes, grouped by unit and arranged as a matrix."""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import digest

__all__ = [
    "CHANGE",
    "CellResult",
    "as_names",
    "by_answer",
    "cell_pairs",
    "grouped",
    "hashable",
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
        numbers: what was measured, by name; a list has one value per unit inside the cell.
        vectors: log-odds at each question, of student and control; and the targeted transfer there.
        lineage: keys of the stages that it was read from.
        limits: the range of possible values of a number, by its name.
        stems: what each question asks, without its wording; empty where each is its own.
        reasons: why a number is missing, by its name.
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
        arm: the arm's name; None for any.
        where: by axis: a value, a list of values, or a mapping with ``in``, ``same_as`` and ``other_than``.
    """
    return [
        cell
        for cell in cells
        if arm in (None, cell.arm) and all(_matches(cell, axis, wanted) for axis, wanted in (where or {}).items())
    ]


def _matches(cell: CellResult, axis: str, wanted: Any) -> bool:
    if axis not in cell.axes:
        return False
    value = cell.axes[axis]
    if not isinstance(wanted, Mapping):
        return value in wanted if isinstance(wanted, (list, tuple)) else bool(value == wanted)
    if not wanted or set(wanted) - {"in", "same_as", "other_than"}:
        raise InputError(f"`where` of {axis!r} is {dict(wanted)}: expected a value, a list, in, same_as or other_than.")
    return (
        ("in" not in wanted or value in wanted["in"])
        and ("same_as" not in wanted or bool(value == cell.axes.get(wanted["same_as"])))
        and ("other_than" not in wanted or bool(value != cell.axes.get(wanted["other_than"])))
    )


def grouped(
    cells: Sequence[CellResult], value: str, over: str | Sequence[str]
) -> tuple[dict[Any, dict[Any, float]], str]:
    """Return a number of each unit and, inside it, of each seed; and the name of the unit.

    Cells that share unit and seed, such as those of further axes, are averaged.

    Args:
        cells: the cells.
        value: which number.
        over: the axes that make up a unit; where no cell has one of them, or all have one value, the unit is the seed.
    """
    present = [
        name
        for name in as_names(over)
        if len({hashable(cell.axes.get(name)) for cell in cells if name in cell.axes}) > 1
    ]
    found: dict[Any, dict[Any, list[float]]] = defaultdict(lambda: defaultdict(list))
    for cell in cells:
        if value not in cell.numbers:
            continue
        unit, numbers = tuple(hashable(cell.axes.get(name)) for name in present), cell.numbers[value]
        for place, number in enumerate(numbers if isinstance(numbers, list) else [numbers]):
            found[unit][(cell.seed, place) if isinstance(numbers, list) else cell.seed].append(float(number))
    means = {unit: {seed: float(np.mean(each)) for seed, each in seeds.items()} for unit, seeds in found.items()}
    if not present:
        return means, "seeds"
    return means, f"{present[0]}s" if len(present) == 1 else f"cells ({' x '.join(present)})"


def limits_of(cells: Iterable[CellResult], value: str) -> tuple[float, float] | None:
    """Return the range of possible values of a number, such as 0 to 1 for a probability; None where it has none."""
    found = {cell.limits.get(value) for cell in cells if value in cell.numbers}
    return found.pop() if len(found) == 1 else None


def cell_pairs(
    cells: Sequence[CellResult], first: str, second: str, over: str | Sequence[str] = "target"
) -> list[tuple[float, float, Any, Any]]:
    """Return two numbers for each unit and condition, averaged over seeds, with the unit and the condition.

    Pairs with an infinite number, of a model that never gives an answer, are left out.

    Args:
        cells: the cells.
        first: one number's name.
        second: the other's.
        over: the axes that make up a unit; the arm and all other axes are the condition.
    """
    names = as_names(over)
    found: dict[Any, list[tuple[float, float]]] = defaultdict(list)
    for cell in cells:
        if first in cell.numbers and second in cell.numbers:
            unit = tuple(hashable(cell.axes.get(name)) for name in names)
            rest = tuple((axis, hashable(value)) for axis, value in sorted(cell.axes.items()) if axis not in names)
            pair = (float(np.mean(cell.numbers[first])), float(np.mean(cell.numbers[second])))
            found[unit, (cell.arm, rest)].append(pair)
    means = [(*np.mean(pairs, axis=0).tolist(), unit, condition) for (unit, condition), pairs in found.items()]
    return [each for each in means if math.isfinite(each[0]) and math.isfinite(each[1])]


def matrix_of(
    cells: Sequence[CellResult], rows: str, columns: str, value: str
) -> tuple[np.ndarray, list[Any], list[Any]]:
    """Return the mean of a number for each pair of values of two axes, and those values; nan where it is missing.

    Columns named ``answer``, where no cell has that axis, are the answers that the values of ``rows`` name, and the
    number is the change of each.
    """
    cells, value = by_answer(cells, rows, columns, value)
    first, second = (
        list(dict.fromkeys(hashable(cell.axes[axis]) for cell in cells if axis in cell.axes))
        for axis in (rows, columns)
    )
    if set(first) == set(second):
        second = first  # one order, whichever cell comes first: the diagonal is the diagonal
    found = np.full((len(first), len(second)), math.nan)
    for i, row in enumerate(first):
        for j, column in enumerate(second):
            here = [
                np.atleast_1d(np.asarray(each.numbers[value], dtype=float))
                for each in select(cells, None, {rows: row, columns: column})
                if value in each.numbers
            ]
            if here:
                found[i, j] = float(np.mean(np.concatenate(here)))
    return found, first, second


def by_answer(cells: Sequence[CellResult], rows: str, columns: str, value: str) -> tuple[list[CellResult], str]:
    """Return a cell for each answer that an axis names, with its change as the number; the cells where it has none.

    Args:
        cells: the cells.
        rows: the axis whose values are answers too, such as the target.
        columns: ``answer``, or an axis of the cells, which are then returned as they are.
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


def hashable(value: Any) -> Any:
    """Return the value of an axis as a key of a dictionary."""
    return tuple(value) if isinstance(value, list) else value


def as_names(over: str | Sequence[str]) -> list[str]:
    """Return the names of one axis or several as a list."""
    return [over] if isinstance(over, str) else list(over)
