"""Scheduler of the stages that a plan lacks: parents first, several at once; a failure stops only its descendants.

Stages with the longest path to the end run first, so that the workers end together, except that quick stages precede
them. Finished stages are found on disk, so a killed run resumes, and nothing is made twice.
"""

import json
import statistics
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning_subliminal.core.cache import cache_root
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.files import atomically, read_json
from lightning_subliminal.plans.execution.executors import Executor, StageResult
from lightning_subliminal.workflow.stages import MeasureStage, Stage

__all__ = ["Progress", "StageGraph", "Summary", "Timings", "run_stages"]

# Seconds on one core of a slow machine, used until stages were timed on this one.
_SECONDS = {"teacher": 6.0, "completions": 5.0, "rows": 0.3, "student": 7.0, "digits": 300.0}
_SMALL = 0.3
_LEAST = 1e-3  # seconds of stages whose time is recorded as 0, so that longer paths of them still go first
_QUICK = 1.0  # seconds; quicker stages go first, so that errors are seen early and few stages wait for the end
_KEPT = 40  # latest times of a kind that are kept
_DISK_FULL = "No space left on device"


@dataclass
class StageGraph:
    """The stages of a plan.

    Attributes:
        stages: all of them, by key; parents come first.
        parents: the keys of the stages that a stage is made from.
        needed: those to make: what the leaves need and the cache lacks.
        damaged: what is wrong with damaged ones, by key.
        wanted: how often stages were requested in all.
    """

    stages: dict[str, Stage] = field(default_factory=dict)
    parents: dict[str, list[str]] = field(default_factory=dict)
    needed: dict[str, Stage] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
    wanted: int = 0

    @classmethod
    def of(cls, leaves: Iterable[Stage]) -> "StageGraph":
        """Return the stages that leaves are made from; parents of a finished stage need not be made."""
        graph, asked = cls(), []
        for leaf in leaves:
            graph._add(leaf)
            asked.append(leaf.key)
        looked: set[str] = set()
        while asked:
            key = asked.pop()
            if key not in looked:
                looked.add(key)
                asked += graph._look(key)
        graph.needed = {key: stage for key, stage in graph.stages.items() if key in graph.needed}  # as the plan has it
        return graph

    def _add(self, stage: Stage) -> None:
        self.wanted += 1
        if stage.key in self.stages:
            return
        parents = stage.parents()
        for parent in parents:
            self._add(parent)
        self.parents[stage.key] = list(dict.fromkeys(parent.key for parent in parents))
        self.stages[stage.key] = stage

    def _look(self, key: str) -> list[str]:
        """Note whether a stage must be made; return the parents to look at then."""
        try:
            if self.stages[key].is_done():
                return []
        except InputError as err:
            self.damaged[key] = str(err)
            return []
        self.needed[key] = self.stages[key]
        return self.parents[key]

    @property
    def shared(self) -> int:
        """How often a stage was requested that another part of the plan had requested already."""
        return self.wanted - len(self.stages)


class Timings:
    """How long stages of each kind took on this machine, kept in the cache.

    Args:
        path: the file; None for the cache's.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or cache_root() / "timings.json"
        self.seconds: dict[str, list[float]] = {}
        with suppress(OSError, ValueError, AttributeError):
            read = read_json(self.path)
            self.seconds = {str(kind): [float(each) for each in times] for kind, times in read.items()}

    def estimate(self, stage: Stage) -> float:
        """Return the seconds that a stage should take."""
        times = self.seconds.get(stage.kind)
        if times:
            return max(statistics.median(times), _LEAST)
        return _SECONDS.get(stage.kind, _SMALL if isinstance(stage, MeasureStage) else 1.0)

    def least(self, stage: Stage) -> float:
        """Return the shortest time of a stage of its kind: the first one in a worker includes imports."""
        return min(self.seconds.get(stage.kind) or [self.estimate(stage)])

    def add(self, stage: Stage, seconds: float) -> None:
        """Record the time of a stage."""
        self.seconds[stage.kind] = [*self.seconds.get(stage.kind, []), round(seconds, 3)][-_KEPT:]

    def save(self) -> None:
        """Write the times; a cache that can't be written only costs the estimate."""
        with suppress(InputError):
            atomically(self.path, lambda path: path.write_text(json.dumps(self.seconds), encoding="utf-8"))


@dataclass
class Summary:
    """How a run of stages ended.

    Attributes:
        run: stages made now.
        failed: the error of each failed stage, by key.
        skipped: stages that were not tried, each with the key of the failed one that it needs.
        stopped: why the run stopped early, if it did.
        seconds: wall time.
    """

    run: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    stopped: str | None = None
    seconds: float = 0.0


Progress = Callable[[str, Stage, StageResult | None], Any]


def run_stages(graph: StageGraph, executor: Executor, progress: Progress | None = None) -> Summary:
    """Make the stages that a graph needs.

    Args:
        graph: the stages.
        executor: where stages run.
        progress: called for each stage that starts, ends or fails: ``progress("start", stage, None)``.
    """
    begin, timings = time.monotonic(), Timings()
    summary = Summary(failed=dict(graph.damaged))
    children: dict[str, list[str]] = {key: [] for key in graph.stages}
    for key, parents in graph.parents.items():
        for parent in parents:
            children[parent].append(key)
    rank = _ranks(graph, children, timings)
    waiting = {
        key: {up for up in graph.parents[key] if up in graph.needed or up in graph.damaged} for key in graph.needed
    }
    running: set[str] = set()
    for key in graph.damaged:
        _skip(key, children, waiting, summary)
    notify = progress or (lambda what, stage, outcome: None)
    try:
        while True:
            ready = [key for key, needs in waiting.items() if not needs]
            ready.sort(key=lambda key: (timings.least(graph.stages[key]) > _QUICK, -rank[key]))
            for key in ready[: max(0, executor.slots - len(running))] if summary.stopped is None else []:
                del waiting[key]
                running.add(key)
                notify("start", graph.stages[key], None)
                executor.submit(graph.stages[key])
            if not running:
                break
            key, outcome = executor.next()
            running.discard(key)
            stage = graph.stages[key]
            if outcome.error is None:
                summary.run += 1
                timings.add(stage, outcome.seconds)
                for child in children[key]:
                    if child in waiting:
                        waiting[child].discard(key)
            else:
                summary.failed[key] = outcome.error
                _skip(key, children, waiting, summary)
                if _DISK_FULL in outcome.error:
                    summary.stopped = "the disk is full: make room, and run the same command again"
            notify("end" if outcome.error is None else "fail", stage, outcome)
    finally:
        timings.save()
    summary.seconds = time.monotonic() - begin
    return summary


def _skip(key: str, children: dict[str, list[str]], waiting: dict[str, set[str]], summary: Summary) -> None:
    """Remove the descendants of a failed stage from those that wait."""
    stack = list(children[key])
    while stack:
        child = stack.pop()
        if child in waiting:
            del waiting[child]
            summary.skipped[child] = key
            stack += children[child]


def _ranks(graph: StageGraph, children: dict[str, list[str]], timings: Timings) -> dict[str, float]:
    """Return the seconds from each stage's start to the end of the longest path that begins with it."""
    rank: dict[str, float] = {}
    for start in graph.stages:
        stack = [start]
        while stack:
            key = stack[-1]
            later = [child for child in children[key] if child not in rank]
            if later and key not in rank:
                stack += later
                continue
            stack.pop()
            own = timings.estimate(graph.stages[key]) if key in graph.needed else 0.0
            rank[key] = own + max((rank[child] for child in children[key]), default=0.0)
    return rank
