"""Trains a module on the way to something else, such as the teacher of a data set, with one line of progress."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.trainer.connectors import data_connector
from lightning.pytorch.utilities.seed import isolate_rng

from lightning_subliminal.callbacks import LastCheckpoint, WholeFileIO
from lightning_subliminal.callbacks.step_progress import StepProgress
from lightning_subliminal.console import hush
from lightning_subliminal.models.made_from import MadeFrom

__all__ = ["fit_quietly"]


@contextmanager
def _alone() -> Iterator[None]:
    """Keep a fit on one device out of the process group of the run around it.

    Lightning wraps `prepare_data` in a barrier of all processes, whatever the trainer's own devices are. A fit that one
    process starts while the others wait for it, such as that of a teacher which the cache lacks, would wait for ever.
    """
    name = "_InfiniteBarrier"
    barrier = getattr(data_connector, name)
    setattr(data_connector, name, nullcontext)
    try:
        yield
    finally:
        setattr(data_connector, name, barrier)


def fit_quietly(
    module: LightningModule,
    data: Any,
    device: torch.device,
    label: str,
    checkpoints: Path | None = None,
    **trainer: Any,
) -> int:
    """Fit ``module`` on one device, leaving the surrounding run's random numbers as they were.

    Args:
        module: what to train.
        data: a loader or a data module.
        device: where.
        label: what the progress bar says.
        checkpoints: a folder where each epoch is kept, so that a killed run goes on; none where it is None.
        trainer: arguments of ``lightning.Trainer``, such as ``max_epochs``.

    Returns:
        The optimizer steps taken.

    Raises:
        InputError: if what it is trained from changes meanwhile, or changed since a killed run.
    """
    hush()
    keep = [] if checkpoints is None else [LastCheckpoint(checkpoints)]
    last = None if checkpoints is None else checkpoints / "last.ckpt"
    mend = "The next run starts over." if checkpoints is None else f"To start over, delete {checkpoints}."
    origin = MadeFrom(mend)
    inner = Trainer(
        accelerator=device.type,
        devices=[device.index or 0] if device.type == "cuda" else 1,
        logger=False,
        enable_checkpointing=bool(keep),
        plugins=[WholeFileIO()],
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[StepProgress(label), origin, *keep],
        **trainer,
    )
    with isolate_rng(), _alone():
        ckpt_path = str(last) if last is not None and last.is_file() else None
        inner.fit(module, data, ckpt_path=ckpt_path, weights_only=True)
    origin.look_again(module, inner.datamodule)  # type: ignore[attr-defined]
    return inner.global_step
