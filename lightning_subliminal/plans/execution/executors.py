"""Engines that run stages; the local one has one process per core or GPU.

A worker is one process that stays, with one thread, or one GPU, and an upper bound on its memory; ``forks.py`` says how
it starts. It ends with the run, however that ends: a thread in it waits for the end of its parent.
"""

import contextlib
import multiprocessing
import os
import re
import signal
import sys
import threading
import time
import traceback
from abc import ABC, abstractmethod
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightning_subliminal.core.cache import holding
from lightning_subliminal.core.collector import importing, sparing
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.later import import_later
from lightning_subliminal.core.safe_output import CleanStream
from lightning_subliminal.plans.execution import forks

if TYPE_CHECKING:  # a worker looks after its parent before it imports torch
    from lightning_subliminal.workflow.stages import Stage

__all__ = ["Executor", "LocalExecutor", "StageResult", "auto_workers", "make_stage"]

_GIB = 2**30
_MORE = "set --memory, or fewer --workers"
_FEWEST = 0.5  # GiB that a worker needs to start
_LEAST = 1.5  # GiB that a worker needs for pocket bases, with torch


@dataclass(frozen=True)
class StageResult:
    """How a stage ended.

    Attributes:
        seconds: its time.
        error: what went wrong, in one line; None for success.
    """

    seconds: float
    error: str | None = None


class Executor(ABC):
    """Runs stages. Override the three methods; use it in a ``with`` statement.

    Attributes:
        slots: how many stages it runs at once.
    """

    slots: int

    @abstractmethod
    def submit(self, stage: "Stage") -> None:
        """Start a stage; called only if a slot is free."""

    @abstractmethod
    def next(self) -> tuple[str, StageResult]:
        """Wait for the next stage that ends; return its key, and how it ended."""

    def close(self) -> None:  # noqa: B027 - an executor need not hold anything
        """Release its resources."""

    def __enter__(self) -> "Executor":
        """Return the executor."""
        return self

    def __exit__(self, *args: object) -> None:
        """Close it."""
        self.close()


def auto_workers() -> int:
    """Return how many workers fit: one per GPU if there are any, else one per core, as far as memory allows."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.device_count()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(cores, int(_memory() / _GIB / _LEAST)))


class LocalExecutor(Executor):
    """Processes on this machine.

    Args:
        workers: how many.
        memory: GiB that each may use besides the code it shares; None for an equal part of the free memory.
        log: a file for the output of stages.
    """

    def __init__(self, workers: int, memory: float | None = None, log: Path | None = None) -> None:
        if workers < 1:
            raise InputError(f"`workers` is {workers}: expected at least 1, or auto.")
        if memory is not None and not memory >= _FEWEST:
            raise InputError(f"`memory` is {memory}: expected at least {_FEWEST} GiB, to import torch in.")
        self.slots = workers
        self.bound = int((memory or max(_LEAST, 0.9 * _memory() / _GIB / workers)) * _GIB)
        self.log = log
        self._context: Any = multiprocessing.get_context(forks.METHOD)
        self._idle: list[_Worker] = []
        self._busy: dict[Connection, tuple[_Worker, str]] = {}
        self._numbers = list(range(workers))

    def submit(self, stage: "Stage") -> None:
        """Hand a stage to an idle worker, or to a new one."""
        while True:
            worker = self._idle.pop() if self._idle else self._start()
            try:
                worker.connection.send(stage)
            except OSError:  # it died while it was idle
                self._remove(worker)
                continue
            self._busy[worker.connection] = (worker, stage.key)
            return

    def next(self) -> tuple[str, StageResult]:
        """Wait for a worker to answer, or to die: a dead one is removed, and its stage has failed."""
        ready: Any = wait(list(self._busy))[0]
        worker, key = self._busy.pop(ready)
        try:
            outcome: StageResult = ready.recv()
            self._idle.append(worker)
        except (EOFError, OSError):
            self._remove(worker)
            outcome = StageResult(0.0, _death(worker.process.exitcode))
        return key, outcome

    def close(self) -> None:
        """End all workers: an idle one ends by itself, a busy one is stopped during its stage."""
        for worker, _ in self._busy.values():
            worker.process.terminate()
        workers = [*self._idle, *(worker for worker, _ in self._busy.values())]
        for worker in workers:
            worker.connection.close()
        for worker in workers:
            worker.process.join(5)
            worker.process.kill()
        self._idle, self._busy = [], {}

    def _remove(self, worker: "_Worker") -> None:
        worker.connection.close()
        worker.process.join()
        self._numbers.append(worker.number)

    def _start(self) -> "_Worker":
        number = self._numbers.pop(0)
        ours, theirs = self._context.Pipe()
        forks.prepare()
        with forks.starting():
            arguments = (theirs, number, self.bound, str(self.log) if self.log else None, dict(os.environ))
            process = self._context.Process(target=_work, args=arguments, daemon=True)
            process.start()
        theirs.close()
        return _Worker(process, ours, number)


@dataclass
class _Worker:
    process: Any
    connection: Connection
    number: int


def make_stage(stage: "Stage", device: Any) -> StageResult:
    """Make a stage if it is still missing, and return how it ended; any exception becomes one line."""
    from lightning_subliminal.core.error_messages import one_line

    begin = time.monotonic()
    try:
        with _locked(stage):
            if not stage.is_done():
                stage.make(device)
        error = None
    except MemoryError:
        error = f"it took more memory than a worker may use: {_MORE}"
    except Exception as err:  # a stage's error stops only its descendants
        line, _ = one_line(err)
        error = line
        traceback.print_exception(err)  # to the log
        if re.search("not enough memory|out of memory|can't allocate memory", line):
            error = f"it took more memory than a worker may use ({line.rpartition(': ')[2][:60]}): {_MORE}"
    return StageResult(time.monotonic() - begin, error)


def _work(connection: Connection, number: int, bound: int, log: str | None, environment: dict[str, str]) -> None:
    """Make the stages that come in, until the other end is closed."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C goes to the whole group; the parent ends its workers
    threading.Thread(target=_end_with_parent, daemon=True).start()
    os.environ.clear()  # a fork has that of the first run of its caller
    os.environ.update(environment)
    stream = open(log or os.devnull, "a", buffering=1, encoding="utf-8")  # noqa: SIM115 - as long as the process
    os.dup2(stream.fileno(), 1)
    os.dup2(stream.fileno(), 2)
    sys.stdout = sys.stderr = CleanStream(stream)
    import_later()
    with sparing(), contextlib.suppress(EOFError, OSError):
        _serve(connection, number, bound, stream)


def _serve(connection: Connection, number: int, bound: int, log: Any) -> None:
    with importing():
        import torch

        from lightning_subliminal.core.console import console, hush

    hush()
    console.file = log
    gpu = torch.cuda.is_available()
    if not gpu:
        torch.set_num_threads(1)
        _bound_memory(bound)
    device = torch.device("cuda", number % torch.cuda.device_count()) if gpu else torch.device("cpu")
    while True:
        connection.send(make_stage(connection.recv(), device))


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _bound_memory(bound: int) -> None:
    """Let allocations beyond a bound fail in this process, before the machine runs out of memory."""
    try:
        import resource

        resource.setrlimit(resource.RLIMIT_DATA, (bound, bound))
    except (ImportError, OSError, ValueError):  # not on Windows; not above a bound set from outside
        return


@contextlib.contextmanager
def _locked(stage: "Stage") -> Any:
    """Lock a stage, so that two simultaneous runs don't make it twice."""
    path = stage.folder.parent / f".{stage.folder.name}.lock"
    path.parent.mkdir(parents=True, exist_ok=True)
    with holding(path):
        yield
        path.unlink(missing_ok=True)


def _death(code: int | None) -> str:
    if code is not None and code < 0:
        name = signal.Signals(-code).name
        hint = ": likely out of memory; use fewer --workers" if name == "SIGKILL" else ""
        return f"its worker was killed by {name}{hint}"
    return f"its worker ended with exit code {code}: see log.txt in the report's folder, it may be out of memory"


def _memory() -> float:
    """Return the bytes of free memory."""
    with contextlib.suppress(OSError, ValueError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable"):
                return float(line.split()[1]) * 1024
    return 4.0 * _GIB
