"""Checkpoints to resume from: one file, written atomically after each epoch."""

import os
import random
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from lightning_subliminal.core.console import say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.lineage.work_digests import note_of, write_noted

__all__ = ["LastCheckpoint", "WholeFileIO"]

_REST = 20  # times: saving takes a twentieth of a training at most


class LastCheckpoint(Checkpoint):
    """Saves ``last.ckpt`` after an epoch, with the state of the random generators.

    Lightning's own checkpoints lack it, so that a resumed run would draw other dropout than an uninterrupted one. It is
    restored on one process only: the file has the state of the first.

    Args:
        folder: of ``last.ckpt``.
        every: seconds between two savings, or ``_REST`` times what the last one took if that is more, and none after
            the last epoch, whose weights are saved otherwise; 0 saves after each epoch.
    """

    def __init__(self, folder: Path, every: float = 0.0) -> None:
        super().__init__()
        self.path = Path(folder) / "last.ckpt"
        self.every = every
        self._due = 0.0
        self._random: dict[str, Any] | None = None

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._due = time.monotonic() + self.every

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save, except in ``fast_dev_run`` and sanity checks."""
        if getattr(trainer, "fast_dev_run", False) or trainer.sanity_checking or not self._is_due(trainer):
            return
        begun = time.monotonic()
        trainer.save_checkpoint(self.path)
        self._due = time.monotonic() + max(self.every, _REST * (time.monotonic() - begun))

    def _is_due(self, trainer: Trainer) -> bool:
        if not self.every:
            return True
        ends = trainer.should_stop or trainer.current_epoch + 1 == trainer.max_epochs
        due: bool = trainer.strategy.broadcast(time.monotonic() >= self._due and not ends)  # each saves, or none does
        return due

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """After Ctrl-C, say where the same command will start."""
        if not isinstance(exception, KeyboardInterrupt):
            return
        given, kept = trainer.ckpt_path, self.path.is_file()
        if given is not None and Path(given).absolute() != self.path.absolute():
            mend = f"; to go on after the last epoch that was kept, set --ckpt_path {self.path}" if kept else ""
            say(f"stopped   this training starts again from {given}{mend}")
        elif kept:
            say("stopped   this training goes on after the last epoch that was kept")
        else:
            say("stopped   this training starts again: no epoch of it was kept yet")

    def state_dict(self) -> dict[str, Any]:
        """Return the states of the generators as tensors and numbers, which ``weights_only`` accepts."""
        kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
        numpy_state = [str(kind), [int(key) for key in keys], int(position), int(has_gauss), float(gauss)]
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        return {"torch": torch.get_rng_state(), "cuda": cuda, "numpy": numpy_state, "python": random.getstate()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the states until the first epoch starts."""
        self._random = state_dict

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Restore the generators, once, to their state in the checkpoint."""
        state, self._random = self._random, None
        if state is None or trainer.world_size > 1:
            return
        torch.set_rng_state(state["torch"].cpu())
        if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
            torch.cuda.set_rng_state_all([each.cpu() for each in state["cuda"]])
        kind, keys, *rest = state["numpy"]
        np.random.set_state((kind, np.array(keys, dtype=np.uint32), *rest))
        version, words, gauss = state["python"]
        random.setstate((version, tuple(words), gauss))
        # A resumed run creates its loader's iterator before this hook, any other epoch after it. That draws a number:
        # the iterator is created again, so that the order is that of an uninterrupted run.
        fetcher = getattr(trainer.fit_loop, "_data_fetcher", None)
        if fetcher is not None:
            iter(fetcher)


class WholeFileIO(TorchCheckpointIO):
    """Writes a checkpoint atomically, so that a kill leaves either the old one or the new one.

    Lightning writes to the system's temporary folder first. On another file system, moving is copying, and a kill
    leaves half a file under the final name. Each checkpoint gets a file with its digest.

    Attributes:
        check: checks a loaded checkpoint before it is used; ``MadeFrom`` sets it.
    """

    check: Callable[[Path, dict[str, Any]], None] | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Save to a temporary name in the same folder, flush to disk, write the digest, then move.

        Raises:
            InputError: if the folder can't be written.
        """

        def write(temporary: Path) -> None:
            with temporary.open("wb") as stream:
                torch.save(checkpoint, stream)
                stream.flush()
                os.fsync(stream.fileno())

        write_noted(Path(path), write, mend="choose a folder by --trainer.default_root_dir")

    def remove_checkpoint(self, path: str | Path) -> None:
        """Remove a checkpoint and its digest."""
        super().remove_checkpoint(path)
        note_of(Path(path)).unlink(missing_ok=True)

    def load_checkpoint(self, path: str | Path, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Load a checkpoint.

        Raises:
            InputError: if the file is missing or damaged, or ``check`` refuses it.
        """
        try:
            checkpoint = super().load_checkpoint(path, *args, **kwargs)
        except FileNotFoundError as err:
            raise InputError(f"The checkpoint {path} does not exist: check --ckpt_path.") from err
        except Exception as err:  # torch raises RuntimeError, UnpicklingError, EOFError, ...
            raise InputError(
                f"{path} is damaged or not a checkpoint ({type(err).__name__}): delete it to start this run over."
            ) from err
        if self.check is not None:
            self.check(Path(path), checkpoint)
        return checkpoint
