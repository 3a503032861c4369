"""Stages as tasks of Ray (extra ``[ray]``). All nodes must see one cache, on a shared disk."""

import os
import sys
from typing import Any

from lightning_subliminal.core.cache import cache_root
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.plans.execution.executors import Executor, StageResult, make_stage
from lightning_subliminal.workflow.stages import Stage

__all__ = ["RayExecutor"]


class RayExecutor(Executor):
    """Tasks of Ray.

    Args:
        workers: how many at once; None for one per core, or GPU, of the cluster.
        memory: GiB that each task requests; Ray places tasks by it.
        address: of a cluster; None for ``$RAY_ADDRESS``, or if that is not set, Ray on this machine.

    Raises:
        InputError: if Ray is not installed, or the cluster can't be reached.
    """

    def __init__(self, workers: int | None = None, memory: float | None = None, address: str | None = None) -> None:
        try:
            import ray
        except ImportError as err:
            raise InputError("Executor `ray` needs Ray: pip install 'lightning-subliminal[ray]'.") from err
        self._ray: Any = ray
        self._ours = not ray.is_initialized()
        if self._ours:
            # Tasks find a user's own classes and the same cache as the run itself.
            words = {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path), "OMP_NUM_THREADS": "1"}
            words["LIGHTNING_SUBLIMINAL_CACHE"] = str(cache_root().absolute())
            quiet = {"log_to_driver": False, "include_dashboard": False, "logging_level": "error"}
            try:
                ray.init(address=address, runtime_env={"env_vars": words}, **quiet)
            except (ConnectionError, RuntimeError, ValueError) as err:
                raise InputError(
                    f"Ray can't be reached ({' '.join(str(err).split())[:200]}): check the address."
                ) from err
        there = ray.cluster_resources()
        gpus = int(there.get("GPU", 0))
        self.slots = workers or max(1, gpus or int(there.get("CPU", 1)))
        options: dict[str, Any] = {"num_gpus": 1} if gpus else {"num_cpus": 1}
        if memory is not None:
            options["memory"] = int(memory * 2**30)
        self._task = ray.remote(**options, max_retries=0)(_make)
        self._running: dict[Any, str] = {}

    def submit(self, stage: Stage) -> None:
        """Start a task."""
        self._running[self._task.remote(stage)] = stage.key

    def next(self) -> tuple[str, StageResult]:
        """Wait for a task."""
        [done], _ = self._ray.wait(list(self._running), num_returns=1)
        key = self._running.pop(done)
        try:
            return key, self._ray.get(done)
        except self._ray.exceptions.RayError as err:  # the task's process died
            return key, StageResult(0.0, f"its Ray worker died: {' '.join(str(err).split())[:200]}")

    def close(self) -> None:
        """Cancel the running tasks, and disconnect from Ray."""
        for task in self._running:
            self._ray.cancel(task, force=True)
        if self._ours:
            self._ray.shutdown()


def _make(stage: Stage) -> StageResult:
    import torch

    gpu = torch.cuda.is_available()
    if not gpu:
        torch.set_num_threads(1)
    return make_stage(stage, torch.device("cuda", 0) if gpu else torch.device("cpu"))
