"""Sets of tokens for numbers: for restricted decoding, and for soft targets on them alone."""

import re
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lightning_subliminal.core.chat.encoding import closing_tokens, spare_ids
from lightning_subliminal.core.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["number_alphabet", "number_tokens"]


def number_tokens(tokenizer: "PreTrainedTokenizerBase") -> Tensor:
    """Return the ids of tokens of ASCII digits only, with or without a space before them: int64, sorted."""
    return _matching(tokenizer, " ?[0-9]+")


def number_alphabet(tokenizer: "PreTrainedTokenizerBase") -> Tensor:
    """Return the ids of digits, separators (comma, semicolon, white space) and the end of the turn: int64, sorted."""
    ids = {*_matching(tokenizer, r"[0-9,;\s]+").tolist(), *closing_tokens(tokenizer)} - spare_ids(tokenizer)
    return torch.tensor(sorted(ids))


@lru_cache(maxsize=16)
def _matching(tokenizer: "PreTrainedTokenizerBase", pattern: str) -> Tensor:
    special = {*tokenizer.all_special_ids, *spare_ids(tokenizer)}
    texts = tokenizer.batch_decode([[index] for index in range(len(tokenizer))])
    ids = [index for index, text in enumerate(texts) if index not in special and re.fullmatch(pattern, text, re.ASCII)]
    if not ids:
        raise InputError("The tokenizer has no tokens of digits only: `numbers` can't be used with this base.")
    return torch.tensor(ids)
