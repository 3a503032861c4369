"""Progress where there is no terminal: a few lines in a log instead of a bar redrawn a thousand times."""

import sys
import time

from lightning.pytorch import Callback, LightningModule, Trainer

__all__ = ["EpochLines"]


class EpochLines(Callback):
    """Prints at most some ten lines while training: epoch, losses, seconds.

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
        """Print a line, where this epoch is one of those to tell about."""
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
