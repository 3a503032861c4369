"""Two workers against one: a plan from nothing with each, and what its graph of stages allows on idle cores.

    python benchmarks/plan_workers.py                               # benchmarks/kill_plan_small.yaml, two pairs
    python benchmarks/plan_workers.py --also configs/experiments/preferences.yaml

First this process makes all stages in turn, and times each by the processor, whatever else the machine does. The
scheduler then runs the same graph on workers that only add these seconds up: the sum over the longest of the workers is
what they can gain; so do stages of other plans, by the median of their kind. Then `run` itself, in turn with one worker
and two: seconds that pass and of the processor, and what is not a stage: the command's own (imports, the plan, the
report), and the imports of the process that workers are forks of, beside them. `expected` is the ratio of a whole `run`
on two idle cores by these figures: the least, if nothing of these runs side by side, and the most, if the command's own
seconds alone are added to those of the stages. The last line is JSON; so is runs/benchmarks/plan_workers.json.
"""

import contextlib
import ctypes
import heapq
import importlib
import json
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import harness
import torch
from rich.console import Console

from lightning_subliminal.plans.execution.executors import Executor, StageResult, make_stage
from lightning_subliminal.plans.execution.scheduler import StageGraph, Timings, run_stages
from lightning_subliminal.plans.reading import read_plan
from lightning_subliminal.plans.run import plan_cells

CONFIG = harness.ROOT / "benchmarks" / "kill_plan_small.yaml"
WORKERS = (1, 2, 4, 1000)
PR_SET_CHILD_SUBREAPER = 36  # of prctl(2)


class Here(Executor):
    """Makes stages in this process, one after another, and keeps the processor's seconds of each by its key."""

    slots = 1

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last: tuple[str, StageResult] = ("", StageResult(0.0))

    def submit(self, stage: Any) -> None:
        """Make the stage."""
        begin = time.process_time()
        result = make_stage(stage, torch.device("cpu"))
        self.seconds[stage.key] = time.process_time() - begin
        self._last = stage.key, StageResult(self.seconds[stage.key], result.error)

    def next(self) -> tuple[str, StageResult]:
        """Return the stage made last."""
        return self._last


class Pretended(Executor):
    """Workers that only let time pass.

    Args:
        workers: how many.
        seconds: of each stage by its key.
    """

    def __init__(self, workers: int, seconds: dict[str, float]) -> None:
        self.slots = workers
        self.clock = 0.0
        self._seconds = seconds
        self._busy: list[tuple[float, str]] = []

    def submit(self, stage: Any) -> None:
        """Start a stage."""
        heapq.heappush(self._busy, (self.clock + self._seconds[stage.key], stage.key))

    def next(self) -> tuple[str, StageResult]:
        """Go to the end of the next stage that ends."""
        self.clock, key = heapq.heappop(self._busy)
        return key, StageResult(self._seconds[key])


def stage_seconds(config: Path, folder: Path) -> tuple[dict[str, float], Timings]:
    """Return the processor's seconds of each stage of a plan by key, and those of its kinds of stages."""
    importlib.import_module("lightning_subliminal.plans.execution.preloaded")  # which are no part of a stage
    with harness.environment(LIGHTNING_SUBLIMINAL_CACHE=str(folder)):
        here = Here()
        summary = run_stages(_graph(config), here)
        usual = Timings()
    if summary.failed:
        raise SystemExit(f"stages failed: {summary.failed}")
    return here.seconds, usual


def makespans(config: Path, folder: Path, seconds: dict[str, float], usual: Timings) -> dict[int, float]:
    """Return how long the stages take by number of workers, as the scheduler hands them out; it knows the times.

    Args:
        config: the plan.
        folder: an empty one.
        seconds: of stages by key.
        usual: of those without.
    """
    found = {}
    folder.mkdir()
    with harness.environment(LIGHTNING_SUBLIMINAL_CACHE=str(folder)):
        graph = _graph(config)
        known = {key: seconds.get(key, usual.estimate(stage)) for key, stage in graph.stages.items()}
        for workers in WORKERS:
            pretended = Pretended(workers, known)
            run_stages(graph, pretended)  # once, so that the times of each kind are known
            pretended.clock = 0.0
            run_stages(graph, pretended)
            found[workers] = pretended.clock
    return found


def _graph(config: Path) -> StageGraph:
    return StageGraph.of(stage for cell in plan_cells(read_plan(config)) for stage in cell.stages.values())


def whole(config: Path, folder: Path, workers: int) -> tuple[float, float, float]:
    """Run a plan from nothing; return the seconds that passed, those of the processor, and the command's own."""

    def run() -> None:
        if sys.platform == "linux":  # adopt the parent of the workers, which outlives the command, so that it counts
            ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)
        words = ["run", "--config", str(config), "--workers", str(workers), "--out", str(folder / "report")]
        if harness.start(folder, words).wait():
            raise SystemExit(1)
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        (folder / "own.txt").write_text(str(used.ru_utime + used.ru_stime))
        with contextlib.suppress(ChildProcessError):
            while True:
                os.wait()

    used = harness.fork(run)
    if used.code:
        raise SystemExit(f"the run failed:\n{harness.tail(folder)}")
    return used.seconds, used.cpu, float((folder / "own.txt").read_text())


def main() -> None:
    """Measure and print."""
    parser = harness.parser(__doc__)
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--also", type=Path, nargs="+", default=[], help="other plans")
    parser.add_argument("--repeats", type=int, default=2, help="pairs of whole runs")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    plan, console = chosen.config.absolute(), Console(width=max(100, Console().width))
    result: dict[str, Any] = {"runs": {1: [], 2: []}, "makespans": {}}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        seconds, usual = stage_seconds(plan, folder / "here")
        for each in (plan, *(other.absolute() for other in chosen.also)):
            spans = makespans(each, folder / each.stem, seconds, usual)
            result["makespans"][each.stem] = spans
            shown = harness.table("workers", "stages take, CPU s", "gain", title=each.stem)
            for workers, span in spans.items():
                name = "any number" if workers == WORKERS[-1] else str(workers)
                shown.add_row(name, f"{span:.1f}", f"{spans[1] / span:.2f}")
            console.print(shown)
        for repeat in range(chosen.repeats):
            for workers in (1, 2) if repeat % 2 else (2, 1):
                result["runs"][workers].append(whole(plan, folder / f"run{repeat}-{workers}", workers))
    result["load"] = os.getloadavg()[0]
    if chosen.repeats:
        one, two = (statistics.median(cpu for _, cpu, _ in result["runs"][workers]) for workers in (1, 2))
        own = statistics.median(own for runs in result["runs"].values() for _, _, own in runs)
        rest = max(own, one - sum(seconds.values()))
        result["expected"] = {
            name: [(alone + spans[1]) / (alone + spans[2]) for alone in (rest, own)]
            for name, spans in result["makespans"].items()
        }
        measured = ", ".join(f"{a[0] / b[0]:.2f}" for a, b in zip(*result["runs"].values(), strict=True))
        console.print(
            f"run, CPU s: {one:.1f} with one worker, {two:.1f} with two; {rest:.1f} s of the first are no stage, "
            f"{own:.1f} of them the command's own"
        )
        expected = ", ".join(f"{a:.2f} to {b:.2f} ({name})" for name, (a, b) in result["expected"].items())
        console.print(f"expected on two idle cores {expected}; here {measured} (load {result['load']:.1f})")
    harness.write_json(harness.OUT / "plan_workers.json", result)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
