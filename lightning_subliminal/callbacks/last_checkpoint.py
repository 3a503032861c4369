"""After each epoch, all that is needed to go on: one file, always whole."""

import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.lineage.work_digests import note_of, write_noted

__all__ = ["LastCheckpoint", "WholeFileIO"]


class LastCheckpoint(Checkpoint):
    """Saves ``last.ckpt`` after each epoch, with the state of the random generators.

    Lightning's own checkpoints leave those out, and a run that goes on would see other dropout than one that was never
    stopped. They are restored on one process only: the file holds those of the first.

    Args:
        folder: where ``last.ckpt`` is kept.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.path = Path(folder) / "last.ckpt"
        self._random: dict[str, Any] | None = None

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save, unless the run is only a rehearsal."""
        if not getattr(trainer, "fast_dev_run", False) and not trainer.sanity_checking:
            trainer.save_checkpoint(self.path)

    def state_dict(self) -> dict[str, Any]:
        """Return the states of the generators as tensors and numbers, which ``weights_only`` lets through."""
        kind, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
        numpy_state = [str(kind), [int(key) for key in keys], int(position), int(has_gauss), float(gauss)]
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
        return {"torch": torch.get_rng_state(), "cuda": cuda, "numpy": numpy_state, "python": random.getstate()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Keep the states until the first epoch starts."""
        self._random = state_dict

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set the generators, once, as they were when the checkpoint was saved."""
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
        # A run that goes on makes its loader's iterator before this hook, any other epoch after it. Making it draws a
        # number; it is made again, so that the shuffling is that of a run that was never stopped.
        fetcher = getattr(trainer.fit_loop, "_data_fetcher", None)
        if fetcher is not None:
            iter(fetcher)


class WholeFileIO(TorchCheckpointIO):
    """Writes a checkpoint beside its final name and moves it there, so that a kill leaves the old or the new one whole.

    Lightning writes to the system's temporary folder first. Where that is another file system, moving is copying, and
    a kill amid it leaves half a file under the final name. Beside each checkpoint lies a note of its digest.

    Attributes:
        look: looks at what was loaded, before any of it is used; ``MadeFrom`` sets it.
    """

    look: Callable[[Path, dict[str, Any]], None] | None = None

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any | None = None) -> None:
        """Save to a temporary name in the same folder, flush to the disk, note the digest, then move.

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
        """Remove a checkpoint and its note."""
        super().remove_checkpoint(path)
        note_of(Path(path)).unlink(missing_ok=True)

    def load_checkpoint(self, path: str | Path, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Load a checkpoint.

        Raises:
            InputError: if the file is missing or damaged, or ``look`` refuses it.
        """
        try:
            checkpoint = super().load_checkpoint(path, *args, **kwargs)
        except FileNotFoundError as err:
            raise InputError(f"The checkpoint {path} is not there: check --ckpt_path.") from err
        except Exception as err:  # torch raises whatever its readers do: RuntimeError, UnpicklingError, EOFError, ...
            raise InputError(
                f"{path} is damaged or no checkpoint ({type(err).__name__}): delete it to start this run over."
            ) from err
        if self.look is not None:
            self.look(Path(path), checkpoint)
        return checkpoint
