"""The processes of a run on several devices: what the first one does while the others wait, and what they share."""

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
    """Return the number of processes that work together; 1 before they have met."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank() -> int:
    """Return this process's place among them, from 0."""
    return dist.get_rank() if world_size() > 1 else 0


def check_strategy(strategy: Any) -> None:
    """Refuse strategies that split a model over devices, or start processes anew for each fit.

    Args:
        strategy: of a trainer, or its name.

    Raises:
        InputError: if it is one of those.
    """
    name = strategy if isinstance(strategy, str) else type(strategy).__name__
    start = getattr(strategy, "_start_method", "popen")
    plain = name.lower().replace("_", "")
    if plain.startswith(("fsdp", "deepspeed", "modelparallel")):
        raise InputError(
            f"`trainer.strategy` is {name}, which is not supported: the loss reads logits at completion tokens alone, "
            "outside a module's `forward`, where split weights are not gathered. Set `ddp`, and an adapter, a bfloat16 "
            "base or smaller batches where memory is short."
        )
    if start != "popen" or plain.startswith(("ddpspawn", "ddpfork", "ddpnotebook")):
        raise InputError(f"`trainer.strategy` is {name}, which starts new processes for each fit: set `ddp`.")


def results_folder(trainer: "Trainer") -> Path:
    """Return where results of a run go; all processes call this, since a logger's folder is asked of the first.

    It is the trainer's root folder. Where nobody chose one, that is the working folder, in which runs would overwrite
    each other's results: then it is the logger's folder, if there is one.
    """
    logs, root = trainer.log_dir, Path(trainer.default_root_dir)
    return root if logs is None or root != Path.cwd() else Path(logs)


def start_processes(trainer: "Trainer") -> None:
    """Start the other processes of a trainer's strategy and let them meet, as its first fit would."""
    launcher: Any = trainer.strategy.launcher
    if trainer.world_size > 1:
        check_strategy(trainer.strategy)
        launcher.launch(trainer.strategy.setup_environment)


def on_first(work: Callable[[], _T]) -> _T:
    """Call a function on the first process alone, and return its result on all; all of them call this.

    The others wait without a time limit. Where the function raises, they end in silence: the first says why.
    """
    if world_size() == 1:
        return work()
    told: list[Any] = [None, False]
    try:
        if rank() == 0:
            told = [work(), True]
    finally:
        dist.broadcast_object_list(told, src=0, group=_patient())
    if not told[1]:
        raise SystemExit(0)  # any other code, and Lightning kills the first process before it has said why
    result: _T = told[0]
    return result


def wait_for_all() -> None:
    """Wait, without a time limit, until all processes are here."""
    if world_size() > 1:
        dist.barrier(group=_patient())


@cache
def _patient() -> Any:
    """Return a group whose members wait as long as it takes: a teacher's training may outlast the usual half hour."""
    return dist.new_group(backend="gloo", timeout=timedelta(days=10000))
