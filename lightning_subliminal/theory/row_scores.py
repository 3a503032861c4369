"""Derivatives of each row's loss along a direction of the parameters, for any number of rows, in chunks."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lightning_subliminal.core.chat.encoding import rows_ids, unknown_id
from lightning_subliminal.core.errors import InputError, NotAPrefixError
from lightning_subliminal.core.rows import Row
from lightning_subliminal.metrics.functional.statements import Encoded, padded
from lightning_subliminal.theory.functional import ModelFunction, Parameters, differentiable
from lightning_subliminal.theory.row_slopes import RowSlopes, row_slopes, summed_loss

__all__ = ["Encoded", "RowScores", "encode_known", "encode_rows", "row_gradient", "score_rows", "split_off"]

CHUNK = 4096  # rows that are tokenized and sorted by length together
TOKENS = {"cpu": 2048, "cuda": 4096}  # of a batch, padding included: a core's caches; 4 copies of a large vocabulary
TRIED = 4  # rows on which the fast method is compared with the general one


class RowScores(NamedTuple):
    """Numbers of each row, on the CPU.

    Attributes:
        slopes: the derivative of each row's summed loss along the direction, (rows,), float64; nan for a row without
            completion tokens, or whose prompt is not a prefix of it in tokens.
        losses: that loss, in nats, (rows,), float64.
        tokens: its number of tokens, (rows,), int64.
    """

    slopes: Tensor
    losses: Tensor
    tokens: Tensor


def score_rows(
    function: ModelFunction,
    tokenizer: Any,
    rows: Iterable[Row],
    direction: Mapping[str, Tensor],
    *,
    batch_tokens: int | None = None,
    max_length: int = 2048,
) -> Iterator[RowScores]:
    """Return the derivative of each row's loss along a direction of the trained parameters, a chunk of rows at a time.

    Args:
        function: a causal language model of transformers, as a function of what it trains.
        tokenizer: its tokenizer, with a chat template.
        rows: prompt-completion rows in any number; streamed, and not kept.
        direction: by the names of ``function.start``.
        batch_tokens: tokens that go through the model at once, padding included; by default 2,048 on a CPU, 4,096 on
            a GPU.
        max_length: rows of more tokens are an error.

    Yields:
        The scores of up to 4,096 rows, in their order.

    Raises:
        InputError: if a row has more than ``max_length`` tokens, or a derivative is not finite.
    """
    device, double, size = _places(function, batch_tokens)
    slopes: RowSlopes | None = None
    rest = iter(rows)
    while chunk := list(islice(rest, CHUNK)):
        encoded = encode_rows(tokenizer, chunk, max_length)
        usable = [each for each in encoded if each]
        with differentiable(function.module, double):  # not around the yield, where the caller uses the module
            if slopes is None and usable:
                slopes = row_slopes(function, direction, *padded(usable[:TRIED], device))
            found = _score_chunk(slopes, encoded, size, device)
        yield found


def row_gradient(
    function: ModelFunction,
    tokenizer: Any,
    rows: Iterable[Row],
    *,
    batch_tokens: int | None = None,
    max_length: int = 2048,
) -> tuple[Parameters, int]:
    """Return the gradient of the rows' loss by the trained parameters, averaged over completion tokens.

    The arguments are those of ``score_rows``.

    Returns:
        The gradient by name, and the number of completion tokens.
    """
    device, double, size = _places(function, batch_tokens)
    values = {name: value.clone().requires_grad_() for name, value in function.start.items()}
    total, tokens, rest = {name: torch.zeros_like(value) for name, value in values.items()}, 0, iter(rows)
    with differentiable(function.module, double):
        while chunk := list(islice(rest, CHUNK)):
            usable = {place: each for place, each in enumerate(encode_rows(tokenizer, chunk, max_length)) if each}
            order = sorted(usable, key=lambda place: sum(map(len, usable[place])))
            while order:
                chosen, order = split_off(order, usable, size)
                with torch.enable_grad():
                    loss = summed_loss(function, values, *padded([usable[place] for place in chosen], device))
                parts = torch.autograd.grad(loss, list(values.values()), allow_unused=True)
                for name, part in zip(values, parts, strict=True):
                    if part is not None:
                        total[name] += part
            tokens += sum(len(each[1]) for each in usable.values())
    return {name: value / max(1, tokens) for name, value in total.items()}, tokens


def _places(function: ModelFunction, batch_tokens: int | None) -> tuple[torch.device, bool, int]:
    """Return a model's device, whether it computes in float64, and the tokens of a batch."""
    if batch_tokens is not None and batch_tokens < 1:
        raise InputError(f"`batch_tokens` is {batch_tokens}: expected 1 or more, such as 2048.")
    like = next(iter(function.start.values()))
    return like.device, like.dtype == torch.float64, batch_tokens or TOKENS.get(like.device.type, TOKENS["cuda"])


def _score_chunk(
    row_slopes: RowSlopes | None, encoded: Sequence[Encoded | None], size: int, device: torch.device
) -> RowScores:
    slopes, losses = (torch.full((len(encoded),), torch.nan, dtype=torch.float64) for _ in range(2))
    tokens = torch.tensor([len(each[1]) if each else 0 for each in encoded])
    usable = {place: each for place, each in enumerate(encoded) if each}
    order = sorted(usable, key=lambda place: sum(map(len, usable[place])))
    while order and row_slopes is not None:
        chosen, order = split_off(order, usable, size)
        slope, loss = row_slopes(*padded([usable[place] for place in chosen], device))
        slopes[chosen], losses[chosen] = slope.cpu().double(), loss.cpu().double()
    if not slopes[tokens > 0].isfinite().all():
        raise InputError("The derivative of a row's loss is not finite: use `base_dtype: float32`.")
    return RowScores(slopes, losses, tokens)


def split_off(order: list[int], encoded: Mapping[int, Encoded], size: int) -> tuple[list[int], list[int]]:
    """Split the rows of a batch, at least one, off those sorted by length."""
    taken = 1
    while taken < len(order) and (taken + 1) * sum(map(len, encoded[order[taken]])) <= size:
        taken += 1
    return order[:taken], order[taken:]


def encode_rows(tokenizer: Any, rows: Sequence[Row], max_length: int) -> list[Encoded | None]:
    """Return each row's token ids; None where the loss mask would be wrong or empty."""
    found = _encoded(tokenizer, rows)
    for row, each in zip(rows, found, strict=True):
        if each and (length := sum(map(len, each))) > max_length:
            name = row.get("id", "?")
            raise InputError(f"Row {name} has {length} tokens: raise `max_length` ({max_length}) or filter it out.")
    return found


def encode_known(
    tokenizer: Any, rows: Sequence[Row], max_length: int, unread: Counter[str] | None = None
) -> list[Encoded | None]:
    """Return each row's token ids; None also for a row with words that the tokenizer lacks, or with too many tokens.

    Args:
        tokenizer: the model's.
        rows: the rows.
        max_length: most tokens of a row.
        unread: counts by their reason the rows that are None.
    """
    unknown = unknown_id(tokenizer)
    found: list[Encoded | None] = []
    for each in rows_ids(tokenizer, rows):
        if isinstance(each, NotAPrefixError):
            reason = "whose prompt is not their beginning in tokens"
        elif isinstance(each, InputError):
            reason = "that the chat template or the tokenizer can't write"
        elif not (each[0] and each[1]):
            reason = "without a completion"
        elif unknown is not None and unknown in (*each[0], *each[1]):
            reason = "with words that the base does not know"
        elif sum(map(len, each)) > max_length:
            reason = f"of more than {max_length:,} tokens"
        else:
            found.append(each)
            continue
        found.append(None)
        if unread is not None:
            unread[reason] += 1
    return found


def readable(net: nn.Module, most: int = 2048) -> int:
    """Return how many tokens a row may have: 2,048, or the positions of a model that has fewer."""
    return min(most, getattr(net.config, "max_position_embeddings", None) or most)


def _encoded(tokenizer: Any, rows: Sequence[Row]) -> list[Encoded | None]:
    encoded = rows_ids(tokenizer, rows)
    return [None if isinstance(each, InputError) or not (each[0] and each[1]) else each for each in encoded]
