"""Progress of a fit or a prediction, on a terminal or in a log."""

import math
import sys
import time
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import RichProgressBar
from rich.progress import Progress, TaskID

from lightning_subliminal.core.console import progress

__all__ = ["EpochBar", "EpochLines", "StepProgress"]


class EpochBar(RichProgressBar):
    """Lightning's bar, with the epoch as ``Epoch 1/3`` where Lightning writes ``Epoch 0/2``."""

    def _get_train_description(self, current_epoch: int) -> str:
        most = self.trainer.max_epochs or 0
        words = f"Epoch {current_epoch + 1}{f'/{most}' if most > 0 else ''}"
        return words.ljust(len(self.validation_description))


class EpochLines(Callback):
    """Prints about ten lines during training: epoch, losses, seconds.

    Args:
        lines: about how many to print.
    """

    def __init__(self, lines: int = 10) -> None:
        super().__init__()
        self.lines = lines
        self._begin = time.monotonic()

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock."""
        self._begin = time.monotonic()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print a line for every ``total / lines``-th epoch and the last one."""
        done, total = trainer.current_epoch + 1, trainer.max_epochs or 0
        every = max(1, total // self.lines) if total > 0 else 1
        if not trainer.is_global_zero or (done % every and done != total):
            return
        metrics = trainer.callback_metrics
        names = [name for name in metrics if "loss" in name and not name.endswith(("_step", "_epoch"))]
        losses = [f"{name} {float(metrics[name]):.4g}" for name in names]
        of = f"/{total}" if total > 0 else ""
        seconds = f"{time.monotonic() - self._begin:.0f} s"
        print(" · ".join([f"epoch {done}{of}", *losses, seconds]), file=sys.stderr, flush=True)


class StepProgress(Callback):
    """Shows training steps or predicted batches: a bar, or a line every half minute in a log.

    Args:
        label: of the bar; the module's class and the name of its data if None.
    """

    def __init__(self, label: str | None = None) -> None:
        super().__init__()
        self.label = label
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the bar at the steps of the resumed run."""
        self._begin(trainer, pl_module, trainer.estimated_stepping_batches, trainer.global_step)

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the bar."""
        self._begin(trainer, pl_module, sum(trainer.num_predict_batches), 0)

    def on_train_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Show the steps taken."""
        if self._bar is not None:
            self._bar.update(self._task, completed=trainer.global_step)

    def on_predict_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Show one more batch."""
        if self._bar is not None:
            self._bar.advance(self._task)

    def on_exception(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Stop the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    on_train_end = on_predict_end = on_exception

    def _begin(self, trainer: Trainer, module: LightningModule, total: float, done: int) -> None:
        name = getattr(trainer.datamodule, "title", "")  # type: ignore[attr-defined]
        label = self.label or f"{type(module).__name__.lower():9} {name}".strip()
        self._bar = progress()
        self._bar.start()
        self._task = self._bar.add_task(label, total=int(total) if math.isfinite(total) else None, completed=done)
