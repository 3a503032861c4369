"""Keeps what ``predict`` generates, shard by shard."""

from collections.abc import Sequence
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import BasePredictionWriter

from lightning_subliminal.console import say

__all__ = ["ShardWriter"]


class ShardWriter(BasePredictionWriter):
    """Writes the rows of each shard that ``predict`` completed into the data module's cache, whole or not at all.

    ``predict`` spreads the shards over all devices; a ``fit`` of the same data then finds them.
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
            data.write_shard(int(batch), prediction)

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Say that they are all there."""
        data: Any = trainer.datamodule  # type: ignore[attr-defined]
        if hasattr(data, "write_shard"):
            trainer.strategy.barrier("all shards are written")
            if trainer.is_global_zero:
                data.record_source()
            say(f"shards    {data.title}: all {data.num_shards} are there")
