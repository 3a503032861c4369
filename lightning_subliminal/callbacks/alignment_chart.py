"""The chart of an alignment: cosines, norms and the teacher's loss during the run."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from lightning_subliminal.core.plots import SERIES, panels
from lightning_subliminal.metrics.functional.intervals import mean_interval

__all__ = ["draw_alignment"]

STYLES = ("--", ":", "-.", (0, (1, 3)), (0, (5, 4)))
WHOLE = "whole"
MOST_NAMED = 12  # entries of a legend; a deep model's layers would fill the chart


def draw_alignment(rows: Sequence[dict[str, Any]], path: Path) -> None:
    """Draw three panels: cosines whole and by layer, norms, the teacher's loss; for several models the mean.

    Args:
        rows: of each step, arm and layer, from ``AlignmentTracker``: each quantity's values, one per model.
        path: of the PNG file.
    """
    arms = list(dict.fromkeys(row["arm"] for row in rows))
    layers = [layer for layer in dict.fromkeys(row["layer"] for row in rows) if layer != WHOLE]
    with panels(path, (13, 4), columns=3) as ((cosines, norms, losses),):
        for place, arm in enumerate(arms):
            mine = [row for row in rows if row["arm"] == arm]
            whole = [row for row in mine if row["layer"] == WHOLE]
            color, named = SERIES[place % len(SERIES)], arm if len(arms) > 1 else WHOLE
            for number, layer in enumerate(layers):
                # With one arm, a color per layer; with several, a color per arm and a line style per layer.
                own = color if len(arms) > 1 else SERIES[(number + 1) % len(SERIES)]
                label = layer if place == 0 and len(layers) + len(arms) <= MOST_NAMED else None
                part = [row for row in mine if row["layer"] == layer]
                _curve(
                    cosines, part, "cosine", color=own, linestyle=STYLES[number % len(STYLES)], linewidth=1, label=label
                )
            _curve(cosines, whole, "cosine", color=color, linewidth=2, label=named, band=True)
            _curve(norms, whole, "student_norm", color=color, linewidth=2, label=arm, band=True)
            _curve(losses, whole, "teacher_loss", color=color, linewidth=2, label=arm, band=True)
        _curve(norms, [row for row in rows if (row["arm"], row["layer"]) == (arms[0], WHOLE)], "teacher_norm",
               color="black", linestyle="--", linewidth=1, label="teacher")  # fmt: skip
        cosines.axhline(0, color="black", linewidth=0.5)
        models = max(len(row["cosine"]) for row in rows)
        over = f"; band: 95 % interval of the mean over {models} models" if models > 1 else ""
        for axes, title in (
            (cosines, "cosine of student's and teacher's displacement"),
            (norms, f"norm of the displacement{over}"),
            (losses, "loss on what the teacher was trained on"),
        ):
            axes.set_title(title, fontsize=9)
            axes.set_xlabel("optimizer step")
            if axes.lines:
                axes.legend(frameon=False, fontsize=7)


def _curve(axes: Any, rows: Sequence[dict[str, Any]], quantity: str, band: bool = False, **look: Any) -> None:
    """Draw the mean of a quantity over models by step, without values that are not finite."""
    points = [(row["step"], torch.tensor(row[quantity], dtype=torch.float64)) for row in rows if quantity in row]
    points = [(step, values) for step, values in points if values.isfinite().all()]
    steps = [step for step, _ in points]
    axes.plot(steps, [values.mean().item() for _, values in points], **look)
    if band and points and len(points[0][1]) > 1:
        intervals = [mean_interval(values, "models") for _, values in points]
        lows, highs = [each.low for each in intervals], [each.high for each in intervals]
        axes.fill_between(steps, lows, highs, color=look["color"], alpha=0.2, linewidth=0)
