"""Words to the person at the terminal: a line for each stage made or reused, tables at the end; on rank 0 only."""

import logging
import warnings
from typing import Any

from lightning.pytorch.utilities.rank_zero import rank_zero_only
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

__all__ = ["console", "hush", "progress", "say"]

# Lightning's and torch's remarks that nobody who runs a config can act upon.
_NOISE = (
    ".*does not have many workers which may be a bottleneck.*",
    r".*isinstance\(treespec, LeafSpec\).*",
    ".*is smaller than the logging interval.*",
    ".*exists and is not empty.*",
    ".*no logger configured.*",
    ".*across ranks is zero.*",  # no validation rows were asked for
    ".*infer the batch indices.*",  # an item of `predict` is a whole shard, which says its own number
    ".*but have no `val_dataloader`.*",
)

console = Console(highlight=False, emoji=False)  # "a:b:c" is no picture


def hush() -> None:
    """Silence tips, adverts and remarks of the libraries below that nobody can act upon; warnings that matter stay."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in _NOISE:
        warnings.filterwarnings("ignore", message)


@rank_zero_only
def say(text: Any) -> None:
    """Print a line as it is (brackets in a path or a reason are no markup), or anything that rich draws."""
    console.print(text, markup=False, soft_wrap=isinstance(text, str))  # a path stays whole


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
        disable=not console.is_terminal,  # a log gets the lines that each stage says, no empty one for a bar
    )
