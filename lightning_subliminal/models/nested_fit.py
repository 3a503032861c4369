"""Nested fits: train what another training needs, such as the teacher of a data set, with one line of progress."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy
from lightning.pytorch.utilities.seed import isolate_rng

from lightning_subliminal.callbacks import LastCheckpoint, WholeFileIO
from lightning_subliminal.callbacks.progress import StepProgress
from lightning_subliminal.core.console import hush
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.processes import start_processes, world_size
from lightning_subliminal.models.made_from import MadeFrom

__all__ = ["fit_quietly", "training_like"]

_LIKE: list[Trainer] = []  # trainers whose devices nested fits use, the last one first


@contextmanager
def training_like(trainer: Trainer) -> Iterator[None]:
    """Start a trainer's processes; within, ``fit_quietly`` trains on its devices, with its strategy."""
    start_processes(trainer)
    _LIKE.append(trainer)
    try:
        yield
    finally:
        _LIKE.pop()


def fit_quietly(
    module: LightningModule,
    data: Any,
    device: torch.device,
    label: str,
    checkpoints: Path | None = None,
    every: float = 0.0,
    **trainer: Any,
) -> int:
    """Fit ``module``, and restore the state of the random generators.

    Args:
        module: what to train.
        data: a loader or a data module.
        device: where; within ``training_like``, all devices of that trainer.
        label: of the progress bar.
        checkpoints: a folder for a checkpoint after each epoch, from which a killed run resumes; none if None.
        every: seconds between two checkpoints at least, as for ``LastCheckpoint``.
        trainer: arguments of ``lightning.Trainer``, such as ``max_epochs``.

    Returns:
        The optimizer steps taken.

    Raises:
        InputError: if what it is trained from changes meanwhile, or changed since a killed run; or if one of several
            processes would train while the others wait for it.
    """
    hush()
    keep = [] if checkpoints is None else [LastCheckpoint(checkpoints, every)]
    last = None if checkpoints is None else checkpoints / "last.ckpt"
    advice = "The next run starts over." if checkpoints is None else f"To start over, delete {checkpoints}."
    origin = MadeFrom(advice)
    inner = Trainer(
        **_hardware(device, label),
        logger=False,
        enable_checkpointing=bool(keep),
        plugins=[WholeFileIO()],
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[StepProgress(label), origin, *keep],
        **trainer,
    )
    with isolate_rng():
        ckpt_path = str(last) if last is not None and last.is_file() else None
        inner.fit(module, data, ckpt_path=ckpt_path, weights_only=True)
    origin.check_unchanged(module, inner.datamodule)  # type: ignore[attr-defined]
    return inner.global_step


def _hardware(device: torch.device, label: str) -> dict[str, Any]:
    """Return a trainer's arguments for devices and strategy."""
    like = _LIKE[-1] if _LIKE else None
    if like is not None and like.world_size > 1:
        return {
            "accelerator": device.type,
            "devices": like.device_ids if device.type == "cuda" else like.num_devices,
            "num_nodes": like.num_nodes,
            "strategy": _unused_copy(like.strategy),
        }
    if world_size() > 1:
        raise InputError(
            f"{label.strip()} is not in the cache, and one of {world_size()} processes can't train it while the others "
            "wait: call `data.make()` before `Trainer.fit`, or use `fit_arms`, as the verb `fit` does."
        )
    return {"accelerator": device.type, "devices": [device.index or 0] if device.type == "cuda" else 1}


def _unused_copy(strategy: Any) -> DDPStrategy:
    """Return a new strategy with the same settings."""
    return DDPStrategy(
        cluster_environment=strategy.cluster_environment,
        process_group_backend=strategy.process_group_backend,
        timeout=strategy._timeout,
        start_method=strategy._start_method,
        **strategy._ddp_kwargs,
    )
