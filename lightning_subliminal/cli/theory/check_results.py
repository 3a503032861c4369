"""Results of `theory check`: cases, a table, a summary, CSV rows and a picture."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from lightning_subliminal.core.plots import panels
from lightning_subliminal.theory import TheoremCheck

__all__ = ["CheckedCase", "case_table", "csv_rows", "draw_cases", "summary"]

CSV_HEAD = ("inputs", "imitation_loss", "draw", "epsilon", "alpha", "inner_product", "cosine", "change")
_COLORS = {"squared_error": "#0072b2", "cross_entropy": "#d55e00"}


@dataclass(frozen=True)
class CheckedCase:
    """One check.

    Attributes:
        inputs: kind of inputs that the student imitates on.
        loss: imitation loss.
        draw: number of the draw of the inputs.
        found: result of the check.
    """

    inputs: str
    loss: str
    draw: int
    found: TheoremCheck


def case_table(cases: Sequence[CheckedCase], apart: bool) -> Table:
    """Return a table with the means over draws.

    Args:
        cases: all checks.
        apart: whether the student has another start than the teacher.
    """
    table = Table(
        title=f"One step of imitation{', from another start' * apart}: means over draws", title_justify="left"
    )
    table.add_column("inputs")
    table.add_column("loss")
    for name in ("product", "cosine", "falls", "slope\ne", "slope\na"):  # no number is cut in 80 columns
        table.add_column(name, justify="right", no_wrap=True)
    before = None
    for inputs, loss, found in _groups(cases):
        falls = sum(each.smallest_change < 0 for each in found)
        table.add_row(
            inputs if inputs != before else "",
            loss.replace("_", " "),
            f"{_mean([_product(each, apart) for each in found]):.3g}",
            f"{_mean([each.cosines[-1] for each in found]):+.3f}",
            f"{falls} of {len(found)}",
            f"{_mean([each.slope_epsilon for each in found]):.2f}",
            f"{_mean([each.slope_alpha for each in found]):.2f}",
        )
        before = inputs
    return table


def summary(cases: Sequence[CheckedCase], apart: bool, teacher_loss: str) -> str:
    """Return what the checks show, in sentences.

    Args:
        cases: all checks.
        apart: whether the student has another start than the teacher.
        teacher_loss: description of the teacher's loss.
    """
    found = [case.found for case in cases if apart or case.found.squared_norm > 0]  # others teach nothing
    falls = sum(each.smallest_change < 0 for each in found)
    up = sum(_product(each, apart) >= 0 for each in found)
    text = f"Teacher's loss: {teacher_loss}.\n"
    if not found:
        return text + "None of these inputs shows what the teacher learns: no student moves."
    text += f"The inner product of the two updates is at least 0 in {up} of {len(found)} checks; "
    text += f"the teacher's loss falls at the smallest step in {falls}. "
    if apart:
        return text + "With another start the theorem makes no statement."
    gap = max(abs(each.inner_product - each.squared_norm) / (each.squared_norm or 1.0) for each in found)
    return text + f"The theorem predicts both. In the limit, product and mean of squares differ by at most {gap:.1g}."


def csv_rows(cases: Sequence[CheckedCase]) -> Iterator[list[Any]]:
    """Yield a row for each draw and pair of steps, as ``CSV_HEAD`` names its cells."""
    for case in cases:
        found = case.found
        for row, epsilon in enumerate(found.epsilons):
            for column, alpha in enumerate(found.alphas):
                numbers = (found.inner_products[row], found.cosines[row], found.changes[row][column])
                yield [case.inputs, case.loss, case.draw, epsilon, alpha, *numbers]


def draw_cases(path: Path, cases: Sequence[CheckedCase], apart: bool) -> None:
    """Draw how the change of the teacher's loss shrinks with each of the two step sizes."""
    with panels(path, (8, 3.8), columns=2) as ((teacher, student),):
        for case in cases:
            found = case.found
            _draw_steps(teacher, found.epsilons, [row[-1] for row in found.changes], _COLORS[case.loss])
            _draw_steps(student, found.alphas, found.changes[-1], _COLORS[case.loss])
        for axes, name in ((teacher, "the teacher's step, epsilon"), (student, "the student's step, alpha")):
            axes.set_xscale("log")
            axes.set_yscale("log")
            axes.set_xlabel(name, fontsize=9)
            axes.tick_params(labelsize=8)
        teacher.set_ylabel("|change of the teacher's loss|", fontsize=9)
        for loss, color in _COLORS.items():
            teacher.plot([], [], color=color, label=loss.replace("_", " "))
        teacher.legend(fontsize=8, frameon=False)
        start = "another start" if apart else "the same start"
        title = f"One step of imitation from {start}: triangle down, the loss falls; up, it rises"
        teacher.figure.suptitle(title, fontsize=9)


def _draw_steps(axes: Any, steps: Sequence[float], changes: Sequence[float], color: str) -> None:
    axes.plot(steps, [abs(each) for each in changes], color=color, alpha=0.5, linewidth=1)
    for step, change in zip(steps, changes, strict=True):
        if change:
            axes.plot(step, abs(change), "v" if change < 0 else "^", color=color, markersize=4)


def _groups(cases: Sequence[CheckedCase]) -> Iterator[tuple[str, str, list[TheoremCheck]]]:
    for inputs, loss in dict.fromkeys((case.inputs, case.loss) for case in cases):
        yield inputs, loss, [case.found for case in cases if (case.inputs, case.loss) == (inputs, loss)]


def _product(found: TheoremCheck, apart: bool) -> float:
    """Return <dS, dT> of a teacher moved by the smallest epsilon, over that epsilon if both share a start.

    With one start it shrinks with epsilon; with another it does not.
    """
    return found.inner_products[-1] / (1.0 if apart else found.epsilons[-1])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
