"""The bar chart of a comparison."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_subliminal.core.plots import ARMS, SERIES, panels
from lightning_subliminal.traits import Trait

if TYPE_CHECKING:
    from lightning_subliminal.evaluation import Scores, ScoreTable

__all__ = ["draw_comparison"]


def draw_comparison(table: "ScoreTable", trait: Trait, path: Path) -> None:
    """Draw each chance of the target with its interval over questions, and a point a question; a panel a set."""
    sets = table.probes
    with panels(path, (len(sets) * (1.2 + 1.3 * len(table)), 3.6), columns=len(sets)) as (row,):
        for axes, label in zip(row, sets, strict=True):
            _draw_set(axes, table.column(label))
            first = f"chance that the answer is {trait.target}"
            axes.set_ylabel(first if label == sets[0] else f"{trait.target}: {label}")
        row[0].set_title("bar: mean; whisker: 95 % interval over questions; point: a question", fontsize=7)


def _draw_set(axes: Any, scores: "dict[str, Scores]") -> None:
    for place, (name, each) in enumerate(scores.items()):
        rate, interval, points = each.rate, each.interval, each.values
        whiskers = [[rate - interval.low], [interval.high - rate]]
        axes.bar(place, rate, color=ARMS.get(name, SERIES[2]), width=0.65, zorder=1)
        spread = [place + 0.4 * (index / max(1, len(points) - 1) - 0.5) for index in range(len(points))]
        axes.scatter(spread, points, s=6, color="black", alpha=0.25, linewidths=0, zorder=2)
        if len(points) > 1:  # one question has no interval
            axes.errorbar(place, rate, yerr=whiskers, color="black", capsize=4, zorder=3)
        axes.annotate(f"{rate:.1%}", (place + 0.06, rate), (2, 4), textcoords="offset points", fontsize=8, zorder=4)
    axes.set_xticks(range(len(scores)), list(scores))
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
