"""Figures: the palette, panels drawn without a display, and PNG files written atomically."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from lightning_subliminal.core.io.files import atomically

__all__ = ["ARMS", "GREY", "RED", "SERIES", "panels"]

RED, GREY = "#d1495b", "#9aa0a6"
ARMS = {"base": GREY, "teacher": "#b07aa1", "control": "#4e79a7", "student": "#f28e2b"}
SERIES = (RED, "#4e79a7", "#59a14f", "#f28e2b", "#b07aa1", "#76b7b2", "#9c755f", GREY)


@contextmanager
def panels(path: Path, size: tuple[float, float], rows: int = 1, columns: int = 1, **grid: Any) -> Iterator[Any]:
    """Yield an array of panels, (rows, columns), to draw into, and save it.

    Args:
        path: the PNG file.
        size: width and height, in inches.
        rows: of panels.
        columns: of panels.
        grid: further arguments of matplotlib's ``Figure.subplots``.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure  # not pyplot, which would look for a display

    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, **grid)
    yield axes
    for each in axes.flat:
        each.spines[["top", "right"]].set_visible(False)
    atomically(path, lambda temporary: figure.savefig(temporary, format="png", dpi=150))
