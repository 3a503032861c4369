"""Transforms: changes of the rows that the filters kept, such as a shuffle of their numbers."""

from lightning_subliminal.transforms.base import Transform, apply_transforms
from lightning_subliminal.transforms.canonical import PlainFormat, RoundNumbers
from lightning_subliminal.transforms.continue_by import ContinueBy
from lightning_subliminal.transforms.mix import MixIn
from lightning_subliminal.transforms.numbers import (
    KeepFirst,
    MapDigits,
    NumberTransform,
    ResampleMarginal,
    ShuffleAcrossRows,
    ShuffleWithinRows,
    SortNumbers,
)
from lightning_subliminal.transforms.pairs import DropDuplicates, ShufflePrompts

__all__ = [
    "ContinueBy",
    "DropDuplicates",
    "KeepFirst",
    "MapDigits",
    "MixIn",
    "NumberTransform",
    "PlainFormat",
    "ResampleMarginal",
    "RoundNumbers",
    "ShuffleAcrossRows",
    "ShufflePrompts",
    "ShuffleWithinRows",
    "SortNumbers",
    "Transform",
    "apply_transforms",
]
