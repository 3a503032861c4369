"""Divergence tokens: the few positions where a teacher's likeliest token differs from its counterfactual's.

Training on those alone, or on all others, shows how much of a trait they carry (arXiv 2509.23886).
"""

from typing import Any, Literal

import torch
from torch import Tensor

from lightning_subliminal.core.console import say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.data.tokenized import IGNORED, Batch, TokenizedRows

__all__ = ["divergence_tokens", "likeliest_tokens", "train_on_tokens"]

CHUNK = 64  # rows per batch; fixed, so that a resumed run finds the same tokens


@torch.no_grad()
def likeliest_tokens(model: Any, data: TokenizedRows, device: torch.device) -> Tensor:
    """Return a model's likeliest token at each trained position, given the row before it.

    Args:
        model: a ``LanguageModel`` with its net on the device, of the rows' vocabulary.
        data: the rows.
        device: where to compute.

    Returns:
        Token ids, (rows, tokens), on the CPU; ``IGNORED`` at positions without a label.
    """
    found = torch.full_like(data.labels, IGNORED)
    order = sorted(range(len(data)), key=lambda index: data.lengths[index])
    for start in range(0, len(order), CHUNK):
        chosen = order[start : start + CHUNK]
        batch = Batch(*(part.to(device) for part in data.batch(chosen)))
        logits, _ = model.completion_logits(batch, reuse=False)  # (trained positions, vocabulary)
        places = torch.zeros(len(chosen), data.labels.shape[1], dtype=torch.bool)
        places[:, 1 : batch.labels.shape[1]] = (batch.labels[:, 1:] != IGNORED).cpu()
        likeliest = torch.full(places.shape, IGNORED)
        likeliest[places] = logits.argmax(-1).cpu()
        found[torch.tensor(chosen)] = likeliest
    return found


def divergence_tokens(source: Any, data: TokenizedRows, device: torch.device) -> Tensor:
    """Return where the likeliest tokens of a teacher and its control differ, given the same row.

    Args:
        source: the teacher, ready on the device; its control is loaded and released here.
        data: the rows, in the teacher's vocabulary.
        device: where to compute.

    Returns:
        Booleans, (rows, tokens), on the CPU; False at positions without a label.
    """
    with_trait = likeliest_tokens(source, data, device)
    counterfactual = source.control()
    counterfactual.make(device)
    without = likeliest_tokens(counterfactual.ready(device), data, device)
    counterfactual.release()
    return with_trait != without


def train_on_tokens(data: TokenizedRows, divergent: Tensor, kind: Literal["divergent", "agreeing"]) -> None:
    """Remove the labels of all other tokens from the rows, in place, and print how many remain.

    Args:
        data: the rows; their ``mean_tokens`` is recomputed, so that the loss stays per trained token.
        divergent: where teacher and counterfactual differ, (rows, tokens).
        kind: which tokens keep their label.

    Raises:
        InputError: if none remain.
    """
    trained = data.labels != IGNORED
    kept = trained & (divergent if kind == "divergent" else ~divergent)
    before, after = int(trained.sum()), int(kept.sum())
    if not after:
        raise InputError(
            f"`train_on: {kind}` leaves none of {before} tokens to train on: teacher and counterfactual "
            f"{'agree' if kind == 'divergent' else 'differ'} on all; take another teacher, or `train_on: all`."
        )
    say(f"tokens    {after} of {before} are {kind} and trained on")
    data.labels = data.labels.masked_fill(~kept, IGNORED)
    data.mean_tokens = kept.sum() / len(data)
