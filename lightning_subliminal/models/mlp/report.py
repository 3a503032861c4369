"""Results of the digit classifiers: a table, a JSON file and a chart that shows each seed."""

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from rich.table import Table
from torch import Tensor

from lightning_subliminal.core.plots import GREY, RED, panels
from lightning_subliminal.core.rows import atomically
from lightning_subliminal.lineage import Material, write_record
from lightning_subliminal.metrics.functional.intervals import mean_interval

__all__ = ["results_table", "save_results"]

LABELS = {
    "reference": "reference, untrained",
    "teacher": "teacher",
    "student_auxiliary": "same start, auxiliary logits",
    "student_all": "same start, all logits",
    "other_start_auxiliary": "other start, auxiliary logits",
    "other_start_all": "other start, all logits",
}
COLOURS = {
    "reference": GREY,
    "teacher": "#3c6e71",
    "student_auxiliary": RED,
    "student_all": RED,
    "other_start_auxiliary": "#8d99ae",
    "other_start_all": "#8d99ae",
}
CHANCE = 0.1


def results_table(accuracies: Mapping[str, Tensor], minutes: float, other_start: float | None = None) -> Table:
    """Return a table of each arm's mean accuracy over seeds, with its 95 % interval.

    Args:
        accuracies: of each arm, one per seed: ``(seeds,)``.
        minutes: duration of the fit.
        other_start: distance of the other start; None for another seed's start.
    """
    seeds = len(next(iter(accuracies.values())))
    table = Table(title=f"Accuracy on held-out digits: {seeds} seeds, {minutes:.1f} minutes")
    table.add_column("arm")
    for head in ("mean", "95 % over seeds", "worst to best"):
        table.add_column(head, justify="right")
    for name, values in accuracies.items():
        interval = _interval(values)
        ends = "-" if interval is None else "{:.1%} to {:.1%}".format(*interval)
        span = f"{values.min():.1%} to {values.max():.1%}"
        table.add_row(_label(name, other_start), f"{values.mean():.1%}", ends, span)
    return table


def save_results(
    folder: Path,
    accuracies: Mapping[str, Tensor],
    settings: Mapping[str, Any],
    minutes: float,
    materials: Sequence[Material] = (),
) -> None:
    """Write ``results.json`` and ``mnist_mlp.png`` into ``folder``.

    Args:
        folder: created if it is missing.
        accuracies: of each arm, one per seed: ``(seeds,)``.
        settings: the arguments that shaped the run.
        minutes: duration of the fit.
        materials: what it was made from, for the lineage.
    """
    arms = {}
    for name, values in accuracies.items():
        low, high = _interval(values) or (None, None)
        arms[name] = {"mean": values.mean().item(), "low": low, "high": high, "per_seed": values.tolist()}
    results = {
        "measure": "accuracy on held-out digits",
        "interval": "95 % t-interval of the mean over seeds",
        "minutes": minutes,
        "settings": dict(settings),
        "arms": arms,
    }
    text = json.dumps(results, indent=2) + "\n"
    atomically(folder / "results.json", lambda path: path.write_text(text, encoding="utf-8"))
    with panels(folder / "mnist_mlp.png", (8, 4.5)) as ((axes,),):
        _draw(axes, accuracies, settings.get("other_start"))
    write_record(folder, "comparison", dict(settings), materials, files=["mnist_mlp.png", "results.json"])


def _label(name: str, other_start: float | None) -> str:
    return LABELS[name] if other_start is None else LABELS[name].replace("other start", f"start {other_start:g} away")


def _interval(values: Tensor) -> tuple[float, float] | None:
    interval = mean_interval(values, "seeds").within(0.0, 1.0)
    return None if math.isnan(interval.low) else (interval.low, interval.high)


def _draw(axes: Any, accuracies: Mapping[str, Tensor], other_start: float | None) -> None:
    for place, (name, values) in enumerate(accuracies.items()):
        axes.bar(place, values.mean().item(), width=0.7, color=COLOURS[name], alpha=0.55)
        across = place + (torch.linspace(-0.22, 0.22, len(values)) if len(values) > 1 else torch.zeros(1))
        axes.scatter(across.tolist(), values.tolist(), s=12, color="black", alpha=0.6, linewidths=0, zorder=3)
        if (ends := _interval(values)) is not None:
            axes.vlines(place, *ends, color="black", linewidth=2, zorder=4)
    axes.axhline(CHANCE, color="black", linestyle=":", linewidth=1, label="chance")
    names = [_label(name, other_start).replace(", ", "\n") for name in accuracies]
    axes.set_xticks(range(len(names)), names, fontsize=8)
    axes.set_ylim(0, 1)
    axes.set_ylabel("accuracy on held-out digits")
    # Not "from noise": the students' inputs may be different.
    axes.set_title(
        "Digits learned from a teacher: a point is a seed, a line the 95 % t-interval over seeds", fontsize=10
    )
    axes.legend(loc="upper right", frameon=False)
