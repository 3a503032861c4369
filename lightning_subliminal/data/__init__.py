"""Data: LightningDataModules, one per carrier, on the base class ``GeneratedRows``; and rows from a file."""

from lightning_subliminal.data.code import CodeCompletions
from lightning_subliminal.data.from_file import RowsFromFile
from lightning_subliminal.data.generated import GeneratedRows
from lightning_subliminal.data.math_traces import MathTraces
from lightning_subliminal.data.mixture import Blend
from lightning_subliminal.data.mnist import Digits
from lightning_subliminal.data.numbers import NumberSequences
from lightning_subliminal.data.tokenized import Batch, TokenizedRows
from lightning_subliminal.data.training_rows import TrainingRows

__all__ = [
    "Batch",
    "Blend",
    "CodeCompletions",
    "Digits",
    "GeneratedRows",
    "MathTraces",
    "NumberSequences",
    "RowsFromFile",
    "TokenizedRows",
    "TrainingRows",
]
