"""How far a fit or a prediction is: one bar on a terminal, a line every half minute in a log."""

import math
from typing import Any

from lightning.pytorch import Callback, LightningModule, Trainer
from rich.progress import Progress, TaskID

from lightning_subliminal.core.console import progress

__all__ = ["StepProgress"]


class StepProgress(Callback):
    """Shows steps done of all while training, and batches while predicting.

    Args:
        label: what it is called; the module's class and the name of its data where it is None.
    """

    def __init__(self, label: str | None = None) -> None:
        super().__init__()
        self.label = label
        self._bar: Progress | None = None
        self._task = TaskID(0)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin with the steps that a run which goes on has taken."""
        steps = trainer.estimated_stepping_batches
        self._begin(trainer, pl_module, int(steps) if math.isfinite(steps) else None, trainer.global_step)

    def on_train_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Take note of a step."""
        self._update(trainer.global_step)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End."""
        self._end()

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Begin."""
        batches = sum(trainer.num_predict_batches)
        self._begin(trainer, pl_module, int(batches) if math.isfinite(batches) else None, 0)

    def on_predict_batch_end(self, trainer: Trainer, *args: Any, **kwargs: Any) -> None:
        """Take note of a batch."""
        if self._bar is not None:
            self._bar.advance(self._task)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """End."""
        self._end()

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """End."""
        self._end()

    def _begin(self, trainer: Trainer, module: LightningModule, total: int | None, done: int) -> None:
        name = getattr(trainer.datamodule, "title", "")  # type: ignore[attr-defined]
        label = self.label or f"{type(module).__name__.lower():9} {name}".strip()
        self._bar = progress()
        self._bar.start()
        self._task = self._bar.add_task(label, total=total, completed=done)

    def _update(self, done: int) -> None:
        if self._bar is not None:
            self._bar.update(self._task, completed=done)

    def _end(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
