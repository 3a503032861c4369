"""Callbacks: what watches a run, and writes down what it made."""

from lightning_subliminal.callbacks.alignment import AlignmentTracker
from lightning_subliminal.callbacks.epoch_lines import EpochLines
from lightning_subliminal.callbacks.last_checkpoint import LastCheckpoint, WholeFileIO
from lightning_subliminal.callbacks.masks import PrintMasks
from lightning_subliminal.callbacks.shards import ShardWriter

__all__ = ["AlignmentTracker", "EpochLines", "LastCheckpoint", "PrintMasks", "ShardWriter", "WholeFileIO"]
