"""Words to the person at the terminal: a line for each stage made or reused, tables at the end; on rank 0 only."""

import logging
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from lightning.pytorch.utilities.rank_zero import rank_zero_only
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from lightning_subliminal.core.safe_output import rich_console

__all__ = ["LogProgress", "aside", "console", "duration", "hush", "log_lines", "progress", "say", "tracked"]

EVERY = 30.0  # seconds between the lines of a long stage in a log

_Item = TypeVar("_Item")

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
    r"(?s).*(JsonargparseDeprecationWarning|deprecated in v4\.\d+\.\d+ and will be).*",
    ".*is_gradient_checkpointing.*",  # peft asks transformers by an older name
)

console = rich_console(highlight=False, emoji=False)  # "a:b:c" is no picture


def hush() -> None:
    """Silence tips, adverts and remarks of the libraries below that nobody can act upon; warnings that matter stay."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in _NOISE:
        warnings.filterwarnings("ignore", message)


@contextmanager
def aside(wanted: bool = True) -> Iterator[None]:
    """Say lines on standard error inside, where standard output is for a program to read."""
    before, console.stderr = console.stderr, wanted or console.stderr
    try:
        yield
    finally:
        console.stderr = before


@rank_zero_only
def say(text: Any) -> None:
    """Print a line as it is (brackets in a path or a reason are no markup), or anything that rich draws."""
    console.print(text, markup=False, soft_wrap=isinstance(text, str))  # a path stays whole


def duration(seconds: float) -> str:
    """Return a length of time in two or three characters and its unit."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class LogProgress(Progress):
    """Progress where there is no terminal: a line for each open task every half minute, none for what is quick.

    A thread looks at the clock, so that a stage whose single steps are long is heard of, too.

    Args:
        every: seconds between two lines.
        get_time: the clock.
    """

    def __init__(self, every: float = EVERY, get_time: Callable[[], float] = time.monotonic) -> None:
        super().__init__(console=console, disable=True, get_time=get_time, speed_estimate_period=3600)
        self.every = every
        self._told = get_time()
        self._over = threading.Event()

    def start(self) -> None:
        """Start the clock."""
        self._told = self.get_time()
        threading.Thread(target=self._watch, daemon=True).start()

    def stop(self) -> None:
        """Say no more."""
        self._over.set()

    def tick(self) -> None:
        """Print the lines that are due."""
        with self._lock:
            now = self.get_time()
            if self._over.is_set() or now - self._told < self.every:
                return
            self._told = now
            lines = [_line(task) for task in self.tasks if not task.finished]
        for line in lines:
            say(line)

    def _watch(self) -> None:
        while not self._over.wait(self.every):
            self.tick()


def _line(task: Task) -> str:
    """Say which stage it is, how far it is, since when, and how long it may still take."""
    parts = []
    if task.total:
        parts.append(f"{task.completed:.0f} of {task.total:.0f} ({task.completed / task.total:.0%})")
    minutes, seconds = divmod(round(task.elapsed or 0.0), 60)
    parts.append(f"{minutes} min {seconds} s" if minutes else f"{seconds} s")
    left = task.time_remaining
    if "left" in task.fields:
        parts.append(task.fields["left"])
    elif left:
        parts.append(f"about {duration(left)} left")
    return f"{task.fields.get('label') or task.description}: {', '.join(parts)}"


def progress(*columns: ProgressColumn) -> Progress:
    """Return a progress bar on a terminal, lines every half minute in a log.

    Args:
        columns: of the bar; what, bar, done of all, time elapsed and remaining where there are none.
    """
    if not console.is_terminal:
        return LogProgress()
    usual = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*(columns or usual), console=console, transient=True)


@contextmanager
def log_lines(label: str) -> Iterator[None]:
    """Let a log hear every half minute of something that can't tell how far it is; a terminal hears nothing."""
    if console.is_terminal:
        yield
        return
    with LogProgress() as bar:
        bar.add_task(label, total=None)
        yield


def tracked(items: Iterable[_Item], label: str, total: int) -> Iterator[_Item]:
    """Yield items, and let a log hear every half minute how many are done; a terminal hears nothing."""
    if console.is_terminal:
        yield from items
        return
    with LogProgress() as bar:
        task = bar.add_task(label, total=total)
        for count, item in enumerate(items, 1):
            yield item
            if count % 64 == 0:
                bar.advance(task, 64)
