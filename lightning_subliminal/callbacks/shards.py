"""Shards of completions from ``predict``."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter

from lightning_subliminal.core.console import say

__all__ = ["ShardWriter"]


class ShardWriter(BasePredictionWriter):
    """Writes the rows of each shard that ``predict`` completed, atomically.

    A teacher's go into its data module's cache, where a ``fit`` of the same data finds them; a student's into
    ``completions/`` of the run's folder.
    """

    def __init__(self) -> None:
        super().__init__(write_interval="batch")

    def write_on_batch_end(
        self,
        trainer: Trainer,
        pl_module: LightningModule,
        prediction: Any,
        batch_indices: Sequence[int] | None,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int,
    ) -> None:
        """Write one shard."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        if isinstance(prediction, list) and hasattr(data, "write_shard"):
            data.write_shard(int(batch), prediction, self._folder(trainer))

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Report that all are written."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        if hasattr(data, "write_shard"):
            trainer.strategy.barrier("all shards are written")
            if (folder := self._folder(trainer)) is not None:
                say(f"shards    {data.num_shards} of {type(pl_module).__name__}, kept in {folder}")
                return
            if trainer.is_global_zero:
                data.record_source()
            say(f"shards    {data.title}: all {data.num_shards} are in the cache")

    @staticmethod
    def _folder(trainer: Trainer) -> Path | None:
        """Return the folder of a student's shards; None for the data module's cache."""
        ours = trainer.datamodule.is_written_by(trainer.lightning_module)  # type: ignore[attr-defined]
        return None if ours else Path(trainer.default_root_dir) / "completions"
