"""Log-likelihoods of rows' completions under a model, or under several changed copies of it, in one reading."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightning_subliminal.core.rows import Row
from lightning_subliminal.metrics.functional.statements import padded
from lightning_subliminal.theory.row_scores import CHUNK, TOKENS, encode_known, readable, split_off
from lightning_subliminal.theory.row_slopes import CompletionLogits, completion_targets, sum_by_row

__all__ = ["row_likelihoods"]


@torch.no_grad()
def row_likelihoods(
    net: nn.Module,
    tokenizer: Any,
    rows: Iterable[Row],
    changes: Sequence[Callable[[], AbstractContextManager[Any]]] = (nullcontext,),
    *,
    batch_tokens: int | None = None,
    max_length: int | None = None,
    unread: Counter[str] | None = None,
) -> Iterator[Tensor]:
    """Return each row's summed log-likelihood: one forward pass a change, on rows that are encoded once.

    Args:
        net: a causal language model of transformers.
        tokenizer: its tokenizer, with a chat template.
        rows: prompt-completion rows in any number: they are read as they are needed, and not kept.
        changes: each returns a context, inside which the net is the model to measure.
        batch_tokens: tokens that go through the model at once, padding included; by default 2,048 on a CPU, 4,096 on a
            GPU.
        max_length: rows of more tokens have no score; by default 2,048, or the positions of a model that has fewer.
        unread: counts by their reason the rows without a score.

    Yields:
        In nats, (rows, changes), float64, of up to 4,096 rows in their order; nan for a row without completion tokens,
        with words that the tokenizer does not know or with too many tokens, or whose prompt is not a prefix of it in
        tokens.
    """
    like = next(net.parameters())
    size = batch_tokens or TOKENS.get(like.device.type, TOKENS["cuda"])
    model, rest, most = CompletionLogits(net), iter(rows), max_length or readable(net)
    while chunk := list(islice(rest, CHUNK)):
        found = torch.full((len(chunk), len(changes)), torch.nan, dtype=torch.float64)
        usable = {place: each for place, each in enumerate(encode_known(tokenizer, chunk, most, unread)) if each}
        order = sorted(usable, key=lambda place: sum(map(len, usable[place])))
        while order:
            chosen, order = split_off(order, usable, size)
            input_ids, labels = padded([usable[place] for place in chosen], like.device)
            targets, places, lines = completion_targets(labels)
            for column, change in enumerate(changes):
                with change():
                    losses = F.cross_entropy(model(input_ids, places), targets, reduction="none")
                found[chosen, column] = -sum_by_row(losses, lines, len(labels)).double().cpu()
        yield found
