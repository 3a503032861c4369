"""Words to the person at the terminal: a line for each stage made or reused, tables at the end; on rank 0 only."""

from typing import Any

from lightning.pytorch.utilities.rank_zero import rank_zero_only
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

__all__ = ["console", "progress", "say"]

console = Console(highlight=False)


@rank_zero_only
def say(text: Any) -> None:
    """Print a line, or anything that rich draws."""
    console.print(text)


def progress() -> Progress:
    """Give a progress bar: what, bar, done of all, time elapsed and remaining."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
