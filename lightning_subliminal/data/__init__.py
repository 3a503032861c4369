"""Data: LightningDataModules, one a carrier, on the template ``GeneratedRows``."""

from lightning_subliminal.data.digits import Digits
from lightning_subliminal.data.generated import GeneratedRows
from lightning_subliminal.data.numbers import NumberSequences
from lightning_subliminal.data.tokenized import Batch, TokenizedRows

__all__ = ["Batch", "Digits", "GeneratedRows", "NumberSequences", "TokenizedRows"]
