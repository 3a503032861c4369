"""Terminal output, on rank 0 only: a line for each stage, tables, progress bars, and log lines without a terminal."""

import logging
import threading
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from lightning_utilities.core.rank_zero import rank_zero_only
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

# Remarks of Lightning and torch that a user of a config cannot act upon.
_NOISE = (
    ".*does not have many workers which may be a bottleneck.*",
    r".*isinstance\(treespec, LeafSpec\).*",
    ".*is smaller than the logging interval.*",
    ".*exists and is not empty.*",
    ".*no logger configured.*",
    ".*across ranks is zero.*",  # no validation rows were asked for
    ".*infer the batch indices.*",  # an item of `predict` is a whole shard, which names itself
    ".*but have no `val_dataloader`.*",
    r"(?s).*(JsonargparseDeprecationWarning|deprecated in v4\.\d+\.\d+ and will be).*",
    ".*is_gradient_checkpointing.*",  # peft asks transformers by an older name
)

console = rich_console(highlight=False, emoji=False)  # "a:b:c" is not an emoji


def hush() -> None:
    """Silence remarks of libraries that a user cannot act upon; warnings that matter stay."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for message in _NOISE:
        warnings.filterwarnings("ignore", message)


@contextmanager
def aside(wanted: bool = True) -> Iterator[None]:
    """Print lines on standard error inside, because a program reads standard output."""
    before, console.stderr = console.stderr, wanted or console.stderr
    try:
        yield
    finally:
        console.stderr = before


def say(text: Any) -> None:
    """Print a line as it is (brackets in a path or a reason are not markup), or anything that rich draws."""
    if not getattr(rank_zero_only, "rank", 0):  # Lightning sets it; a look-up does not import Lightning
        console.print(text, markup=False, soft_wrap=isinstance(text, str))  # a path stays whole


def duration(seconds: float) -> str:
    """Return a duration in two or three characters and its unit."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


class LogProgress(Progress):
    """Progress without a terminal: a line for each unfinished task every half minute.

    A thread watches the clock, so that a stage with long steps is reported, too.

    Args:
        every: seconds between two lines.
        get_time: the clock.
    """

    def __init__(self, every: float = EVERY, get_time: Callable[[], float] = time.monotonic) -> None:
        super().__init__(console=console, disable=True, get_time=get_time, speed_estimate_period=3600)
        self.every = every
        self._printed_at = get_time()
        self._over = threading.Event()

    def start(self) -> None:
        """Start the clock."""
        self._printed_at = self.get_time()
        threading.Thread(target=self._watch, daemon=True).start()

    def stop(self) -> None:
        """Print no more lines."""
        self._over.set()

    def tick(self) -> None:
        """Print the lines that are due."""
        with self._lock:
            now = self.get_time()
            if self._over.is_set() or now - self._printed_at < self.every:
                return
            self._printed_at = now
            lines = [_line(task) for task in self.tasks if not task.finished]
        for line in lines:
            say(line)

    def _watch(self) -> None:
        while not self._over.wait(self.every):
            self.tick()


def _line(task: Task) -> str:
    """Return a task's name, its progress, its time so far and the time remaining."""
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
        columns: of the bar; by default the description, the bar, the count, and the times elapsed and remaining.
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
    """Print a line every half minute in a log for work of unknown length; print nothing on a terminal."""
    if console.is_terminal:
        yield
        return
    with LogProgress() as bar:
        bar.add_task(label, total=None)
        yield


def tracked(items: Iterable[_Item], label: str, total: int) -> Iterator[_Item]:
    """Yield items, and print every half minute in a log how many are done; print nothing on a terminal."""
    if console.is_terminal:
        yield from items
        return
    with LogProgress() as bar:
        task = bar.add_task(label, total=total)
        for count, item in enumerate(items, 1):
            yield item
            if count % 64 == 0:
                bar.advance(task, 64)
