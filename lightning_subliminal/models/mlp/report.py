"""What the digit classifiers' run tells: a table, a JSON file and a picture with each seed in sight."""

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
    """Return a table of each arm's accuracy, meaned over seeds, with its 95 % interval.

    Args:
        accuracies: of each arm, one a seed: ``(seeds,)``.
        minutes: what the fit took.
        other_start: how far the other start was; None for another seed's.
    """
    seeds = len(next(iter(accuracies.values())))
    table = Table(title=f"Accuracy on held-out digits: {seeds} seeds, {minutes:.1f} minutes")
    table.add_column("arm")
    for head in ("mean", "95 % over seeds", "worst to best"):
        table.add_column(head, justify="right")
    for name, values in accuracies.items():
        interval = mean_interval(values, "seeds").within(0.0, 1.0)
        told = "-" if math.isnan(interval.low) else f"{interval.low:.1%} to {interval.high:.1%}"
        table.add_row(
            _label(name, other_start), f"{values.mean():.1%}", told, f"{values.min():.1%} to {values.max():.1%}"
        )
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
        folder: made if it is not there.
        accuracies: of each arm, one a seed: ``(seeds,)``.
        settings: the arguments that shaped the run.
        minutes: what the fit took.
        materials: what it was made from, for the lineage.
    """
    arms = {}
    for name, values in accuracies.items():
        interval = mean_interval(values, "seeds").within(0.0, 1.0)
        low, high = (None if math.isnan(end) else end for end in (interval.low, interval.high))
        arms[name] = {"mean": values.mean().item(), "low": low, "high": high, "per_seed": values.tolist()}
    told = {
        "measure": "accuracy on held-out digits",
        "interval": "95 % t-interval of the mean over seeds",
        "minutes": minutes,
        "settings": dict(settings),
        "arms": arms,
    }
    text = json.dumps(told, indent=2) + "\n"
    atomically(folder / "results.json", lambda path: path.write_text(text, encoding="utf-8"))
    _draw(folder / "mnist_mlp.png", accuracies, settings.get("other_start"))
    write_record(folder, "comparison", dict(settings), materials, files=["mnist_mlp.png", "results.json"])


def _label(name: str, other_start: float | None) -> str:
    return LABELS[name] if other_start is None else LABELS[name].replace("other start", f"start {other_start:g} away")


def _draw(path: Path, accuracies: Mapping[str, Tensor], other_start: float | None) -> None:
    with panels(path, (8, 4.5)) as ((axes,),):
        _draw_bars(axes, accuracies, other_start)


def _draw_bars(axes: Any, accuracies: Mapping[str, Tensor], other_start: float | None) -> None:
    for place, (name, values) in enumerate(accuracies.items()):
        axes.bar(place, values.mean().item(), width=0.7, color=COLOURS[name], alpha=0.55)
        across = place + (torch.linspace(-0.22, 0.22, len(values)) if len(values) > 1 else torch.zeros(1))
        axes.scatter(across.tolist(), values.tolist(), s=12, color="black", alpha=0.6, linewidths=0, zorder=3)
        interval = mean_interval(values, "seeds").within(0.0, 1.0)
        if not math.isnan(interval.low):
            axes.vlines(place, interval.low, interval.high, color="black", linewidth=2, zorder=4)
    axes.axhline(CHANCE, color="black", linestyle=":", linewidth=1, label="chance")
    names = [_label(name, other_start).replace(", ", "\n") for name in accuracies]
    axes.set_xticks(range(len(names)), names, fontsize=8)
    axes.set_ylim(0, 1)
    axes.set_ylabel("accuracy on held-out digits")
    # Not "from noise": the students' inputs may be others.
    axes.set_title(
        "Digits learned from a teacher: a point is a seed, a line the 95 % t-interval over seeds", fontsize=10
    )
    axes.legend(loc="upper right", frameon=False)
