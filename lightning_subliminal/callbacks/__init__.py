"""Callbacks: they watch a run, and save what it makes; none trains."""

from lightning_subliminal.callbacks.alignment import AlignmentTracker
from lightning_subliminal.callbacks.last_checkpoint import LastCheckpoint, WholeFileIO
from lightning_subliminal.callbacks.masks import PrintMasks
from lightning_subliminal.callbacks.progress import EpochLines
from lightning_subliminal.callbacks.shards import ShardWriter

__all__ = ["AlignmentTracker", "EpochLines", "LastCheckpoint", "PrintMasks", "ShardWriter", "WholeFileIO"]
