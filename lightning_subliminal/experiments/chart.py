"""The bar chart of a comparison."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_subliminal.rows import atomically
from lightning_subliminal.traits import Trait

if TYPE_CHECKING:
    from lightning_subliminal.evaluation import Scores, ScoreTable

__all__ = ["draw_comparison"]

COLORS = {"base": "#9aa0a6", "teacher": "#b07aa1", "control": "#4e79a7", "student": "#f28e2b"}


def draw_comparison(table: "ScoreTable", trait: Trait, path: Path) -> None:
    """Draw each chance of the target with its interval over questions, and a point a question; a panel a set."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    sets = table.probes
    figure = Figure(figsize=(len(sets) * (1.2 + 1.3 * len(table)), 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(sets), squeeze=False)[0]
    for axes, label in zip(panels, sets, strict=True):
        _draw_set(axes, table.column(label))
        first = f"chance that the answer is {trait.target}"
        axes.set_ylabel(first if label == sets[0] else f"{trait.target}: {label}")
    panels[0].set_title("bar: mean; whisker: 95 % interval over questions; point: a question", fontsize=7)
    atomically(path, lambda temporary: figure.savefig(temporary, format="png", dpi=150))


def _draw_set(axes: Any, scores: "dict[str, Scores]") -> None:
    for place, (name, each) in enumerate(scores.items()):
        rate, interval, points = each.rate, each.interval, each.values
        whiskers = [[rate - interval.low], [interval.high - rate]]
        axes.bar(place, rate, color=COLORS.get(name, "#59a14f"), width=0.65, zorder=1)
        spread = [place + 0.4 * (index / max(1, len(points) - 1) - 0.5) for index in range(len(points))]
        axes.scatter(spread, points, s=6, color="black", alpha=0.25, linewidths=0, zorder=2)
        if len(points) > 1:  # one question has no interval
            axes.errorbar(place, rate, yerr=whiskers, color="black", capsize=4, zorder=3)
        axes.annotate(f"{rate:.1%}", (place + 0.06, rate), (2, 4), textcoords="offset points", fontsize=8, zorder=4)
    axes.set_xticks(range(len(scores)), list(scores))
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.spines[["top", "right"]].set_visible(False)
