"""The processes of a run on several devices: rank, barriers, and work done on the first one alone."""

from collections.abc import Callable
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import torch.distributed as dist

from lightning_subliminal.core.errors import InputError

if TYPE_CHECKING:
    from lightning.pytorch import Trainer

__all__ = ["check_strategy", "on_first", "rank", "results_folder", "start_processes", "wait_for_all", "world_size"]

_T = TypeVar("_T")


def world_size() -> int:
    """Return the number of processes in the process group; 1 before it is set up."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return this process's rank, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


def check_strategy(strategy: Any) -> None:
    """Check that a trainer's strategy, or its name, keeps whole models on each device, and processes between fits.

    Raises:
        InputError: if it does not.
    """
    name = strategy if isinstance(strategy, str) else type(strategy).__name__
    start = getattr(strategy, "_start_method", "popen")
    plain = name.lower().replace("_", "")
    if plain.startswith(("fsdp", "deepspeed", "modelparallel")):
        raise InputError(
            f"`trainer.strategy` is {name}, which is not supported: the loss reads logits at completion tokens alone, "
            "outside a module's `forward`, where split weights are not gathered: set `ddp`, and if memory is short an "
            "adapter, a bfloat16 base or smaller batches."
        )
    if start != "popen" or plain.startswith(("ddpspawn", "ddpfork", "ddpnotebook")):
        raise InputError(f"`trainer.strategy` is {name}, which starts new processes for each fit: set `ddp`.")


def results_folder(trainer: "Trainer") -> Path:
    """Return the folder for a run's results; all processes must call this, since the first broadcasts the logger's.

    It is the trainer's root folder. If that is the working directory, which is the default and where runs would
    overwrite each other's results, it is the logger's folder, if there is one.
    """
    logs, root = trainer.log_dir, Path(trainer.default_root_dir)
    return root if logs is None or root != Path.cwd() else Path(logs)


def start_processes(trainer: "Trainer") -> None:
    """Start the processes of a trainer's strategy and set up their group, as its first fit would."""
    launcher: Any = trainer.strategy.launcher
    if trainer.world_size > 1:
        check_strategy(trainer.strategy)
        launcher.launch(trainer.strategy.setup_environment)


def on_first(work: Callable[[], _T]) -> _T:
    """Call a function on the first process alone, and return its result on all; all processes must call this.

    The others wait without a time limit. If the function raises, they exit silently: the first process reports why.
    """
    if world_size() == 1:
        return work()
    outcome: list[Any] = [None, False]
    try:
        if rank() == 0:
            outcome = [work(), True]
    finally:
        dist.broadcast_object_list(outcome, src=0, group=_patient())
    if not outcome[1]:
        raise SystemExit(0)  # any other code, and Lightning kills the first process before it has reported why
    result: _T = outcome[0]
    return result


def wait_for_all() -> None:
    """Wait, without a time limit, for all processes."""
    if world_size() > 1:
        dist.barrier(group=_patient())


@cache
def _patient() -> Any:
    """Return a process group without a timeout: a teacher's training may outlast the usual half hour."""
    return dist.new_group(backend="gloo", timeout=timedelta(days=10000))
