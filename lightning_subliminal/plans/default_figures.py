"""The table of transfer by arm, and the figures of a report whose plan names none."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from lightning_subliminal.analysis.cells import CellResult, grouped, limits_of
from lightning_subliminal.analysis.estimates import group_estimate
from lightning_subliminal.analysis.figures import cell_sets
from lightning_subliminal.analysis.statistics import Estimate, within
from lightning_subliminal.metrics.functional import question_interval
from lightning_subliminal.plans.report.number_format import estimate, signed, units

if TYPE_CHECKING:
    from lightning_subliminal.plans.plan import ArmPlan, Experiment

__all__ = ["arm_table", "default_figures", "default_notes", "unit_estimate"]

TARGETED, PLAIN = "targeted transfer", "transfer"
_CHANCES = ("student", "control")
_OF_STUDENTS = (TARGETED, PLAIN, *_CHANCES)
_MEANING = (
    "Log-odds of the target, student less control; targeted: less the mean change of the other answers, so that a "
    "student that gives any answer more often has none."
)


def default_figures(cells: Sequence[CellResult]) -> list[dict[str, Any]]:
    """Return the figures of an experiment whose plan names none, by the numbers of its cells.

    Bars of transfer, targeted and plain, and of the probabilities behind it; for arms with other measurements, bars of
    all their numbers. There is a bar for each arm and each value of its axes other than `target`, which is a unit.
    """
    by = list(dict.fromkeys(axis for cell in cells for axis in cell.axes if axis != "target")) or None
    figures: list[dict[str, Any]] = []

    def bars(title: str, caption: str, y: str, arms: list[str], values: Sequence[str]) -> None:
        figures.append({"kind": "bars", "by": by, "title": title, "caption": caption, "y": y, "arms": arms})
        figures[-1]["value"] = list(values)

    for first, names, title, caption, y in (
        (PLAIN, (TARGETED, PLAIN), "Transfer by arm, targeted and plain", _MEANING, "log-odds over the control"),
        ("student", _CHANCES, "The probability of the target", "Its mean over questions.", "probability"),
    ):
        if arms := _arms_with(cells, first):
            bars(title, caption, y, arms, [name for name in names if _arms_with(cells, name)])
    others: dict[tuple[str, ...], list[str]] = {}
    for cell in cells:
        if not {PLAIN, "student"} & set(cell.numbers):
            mine = others.setdefault(tuple(cell.numbers), [])
            mine += [cell.arm] if cell.arm not in mine else []
    for numbers, arms in others.items():
        bars(f"Results of {' and '.join(arms)}", "", " and ".join(numbers), arms, numbers)
    return figures


def default_notes(experiment: "Experiment") -> list[str]:
    """Return a line for each default of a report: default figures, and no verdicts."""
    lines = []
    if not experiment.figures:
        lines.append(f"the plan has no `figures`; the default ones are: {_planned(experiment.arms)}")
    if not experiment.claims:
        lines.append("the plan has no `claims`, so there are no verdicts")
    return lines


def arm_table(cells: Sequence[CellResult]) -> dict[str, Any] | None:
    """Return transfer by arm, targeted and plain, with intervals, units and rank, as rows of text; None without any.

    Where a row has only one unit, its intervals are over that student's questions, those of one stem as one, as the row
    states.
    """
    by = list(dict.fromkeys(axis for cell in cells for axis in cell.axes if axis != "target"))
    rows, notes = [], []
    for label, mine in cell_sets({"by": by or None}, [cell for cell in cells if PLAIN in cell.numbers]):
        found = {name: unit_estimate(mine, name) for name in _OF_STUDENTS}
        plain, targeted = found[PLAIN], found[TARGETED]
        if plain is None:
            continue
        why = None if targeted is not None else _why(mine)
        notes += [f"{label}: n/a, {why}"] if why else []
        over = units(plain.count, plain.unit)
        if "question" in plain.unit:
            over += f" of 1 {'seed' if len(mine) == 1 else 'unit'}"
        chances = [_shown(found[name], limits_of(mine, name)) for name in _CHANCES]
        rows.append([label, _shown(targeted) if targeted else "n/a", _ranks(mine), _shown(plain), *chances, over])
    if not rows:
        return None
    caption = (
        f"{_MEANING} Student and control: the chance that the answer is the target. 95 % intervals, over the units in "
        "the last column; rank of the target by its change."
    )
    columns = ["arm", TARGETED, "rank", PLAIN, *_CHANCES, "over"]
    return {
        "title": "Transfer by arm",
        "caption": " ".join([caption, *(f"{note}." for note in dict.fromkeys(notes))]),
        "columns": columns,
        "rows": rows,
    }


def unit_estimate(cells: Sequence[CellResult], value: str, over: str | Sequence[str] = "target") -> Estimate | None:
    """Return a number's mean with its interval over units; for a single cell, over that student's questions."""
    groups, unit = grouped(cells, value, over)
    limits = limits_of(cells, value)
    found = group_estimate(groups, unit, limits=limits)
    asked = _by_question(cells[0], value) if found is not None and len(cells) == 1 and found.count == 1 else None
    if found is None or asked is None:
        return found
    ends = question_interval(asked, cells[0].stems)
    count = len(asked) if ends.unit == "questions" else len(set(cells[0].stems))
    method = f"Student's t over {ends.unit}"
    return within(Estimate(found.value, ends.low, ends.high, ends.unit, count, method=method), limits)


def _by_question(cell: CellResult, value: str) -> torch.Tensor | None:
    """Return a number at each question of a cell, (questions,); None where it is unknown."""
    if value in _CHANCES and value in cell.vectors:
        return torch.tensor(cell.vectors[value], dtype=torch.float64).sigmoid()
    if value == PLAIN and set(_CHANCES) <= set(cell.vectors):
        student, control = (torch.tensor(cell.vectors[role], dtype=torch.float64) for role in _CHANCES)
        return student - control
    return torch.tensor(cell.vectors[value], dtype=torch.float64) if value in cell.vectors else None


def _ranks(cells: Sequence[CellResult]) -> str:
    """Return in words the rank of the target among the answers by its change: the mean, and how often it is first."""
    ranks = [float(np.mean(cell.numbers["rank"])) for cell in cells if "rank" in cell.numbers]
    if not ranks:
        return "n/a"
    of = {int(np.max(cell.numbers["rank of"])) for cell in cells if "rank of" in cell.numbers}
    among = f" of {' or '.join(map(str, sorted(of)))}" if of else ""
    if len(ranks) == 1:
        return f"{ranks[0]:g}{among}"
    return f"{np.mean(ranks):.3g}{among}, first in {sum(rank == 1 for rank in ranks)} of {len(ranks)}"


def _why(cells: Sequence[CellResult]) -> str:
    found = list(dict.fromkeys(cell.reasons[TARGETED] for cell in cells if TARGETED in cell.reasons))
    return "; ".join(found) or "not measured"


def _shown(found: Estimate | None, limits: tuple[float, float] | None = None) -> str:
    if found is None:
        return "n/a"
    numbers = found.as_json()
    return estimate(numbers["value"], numbers["low"], numbers["high"], signed(limits))


def _arms_with(cells: Sequence[CellResult], name: str) -> list[str]:
    return list(dict.fromkeys(cell.arm for cell in cells if name in cell.numbers))


def _planned(arms: "Mapping[str, ArmPlan]") -> str:
    """Return in words which figures ``default_figures`` will make, as far as the trials list their numbers."""
    names = {arm: plan.trial.names() for arm, plan in arms.items()}
    moved = [arm for arm, each in names.items() if each is not None and PLAIN in each]
    figures = []
    if moved:
        figures.append(f"a table and bars of transfer, targeted and plain, and of probabilities ({', '.join(moved)})")
    for arm, each in names.items():
        if arm not in moved:
            figures.append(f"bars of {'all numbers' if each is None else ', '.join(each)} ({arm})")
    return "; ".join(figures)
