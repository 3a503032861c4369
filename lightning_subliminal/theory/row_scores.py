"""What each of any number of rows does along a direction of the parameters, a chunk of rows at a time."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lightning_subliminal.core.chat.encoding import row_ids
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Row
from lightning_subliminal.theory.functional import ModelFunction, Parameters, differentiable
from lightning_subliminal.theory.row_slopes import IGNORED, RowSlopes, row_slopes, summed_loss

__all__ = ["RowScores", "row_gradient", "score_rows"]

CHUNK = 4096  # rows tokenized at a time, and sorted by length
TOKENS = {"cpu": 2048, "cuda": 4096}  # of a batch, padding included: a core's caches; 4 copies of a large vocabulary
TRIED = 4  # rows on which the fast way is compared with the sure one

Encoded = tuple[list[int], list[int]]  # the tokens of a prompt and of its completion


class RowScores(NamedTuple):
    """Numbers of each row, on the CPU.

    Attributes:
        slopes: the derivative of each row's summed loss along the direction, (rows,), float64; nan for a row without
            completion tokens, or whose prompt is no prefix of it in tokens.
        losses: that loss, in nats, (rows,), float64.
        tokens: how many tokens it is over, (rows,), int64.
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
        rows: prompt-completion rows, in any number: they are read as they are needed, and not kept.
        direction: by the names of ``function.start``.
        batch_tokens: tokens that go through the model at once, padding included; by default 2,048 on a CPU, 4,096 on
            a GPU.
        max_length: rows of more tokens are an error.

    Yields:
        The numbers of up to 4,096 rows, in their order.

    Raises:
        InputError: if a row has more than ``max_length`` tokens, or a derivative is no finite number.
    """
    device, double, size = _places(function, batch_tokens)
    way: RowSlopes | None = None
    rest = iter(rows)
    while chunk := list(islice(rest, CHUNK)):
        encoded = _encoded(tokenizer, chunk, max_length)
        usable = [each for each in encoded if each]
        with differentiable(function.module, double):  # not over the yield: the module is the caller's meanwhile
            if way is None and usable:
                way = row_slopes(function, direction, *_padded(usable[:TRIED], device))
            found = _score_chunk(way, encoded, size, device)
        yield found


def row_gradient(
    function: ModelFunction,
    tokenizer: Any,
    rows: Iterable[Row],
    *,
    batch_tokens: int | None = None,
    max_length: int = 2048,
) -> tuple[Parameters, int]:
    """Return the gradient of the rows' loss by the trained parameters, the mean over completion tokens.

    Args:
        function: as ``score_rows`` takes it.
        tokenizer: its tokenizer, with a chat template.
        rows: as ``score_rows`` takes them.
        batch_tokens: as ``score_rows`` takes it.
        max_length: rows of more tokens are an error.

    Returns:
        The gradient by name, and over how many tokens it is the mean.
    """
    device, double, size = _places(function, batch_tokens)
    values = {name: value.clone().requires_grad_() for name, value in function.start.items()}
    total, tokens, rest = {name: torch.zeros_like(value) for name, value in values.items()}, 0, iter(rows)
    with differentiable(function.module, double):
        while chunk := list(islice(rest, CHUNK)):
            usable = {place: each for place, each in enumerate(_encoded(tokenizer, chunk, max_length)) if each}
            order = sorted(usable, key=lambda place: sum(map(len, usable[place])))
            while order:
                chosen, order = _split_off(order, usable, size)
                with torch.enable_grad():
                    loss = summed_loss(function, values, *_padded([usable[place] for place in chosen], device))
                parts = torch.autograd.grad(loss, list(values.values()), allow_unused=True)
                for name, part in zip(values, parts, strict=True):
                    if part is not None:
                        total[name] += part
            tokens += sum(len(each[1]) for each in usable.values())
    return {name: value / max(1, tokens) for name, value in total.items()}, tokens


def _places(function: ModelFunction, batch_tokens: int | None) -> tuple[torch.device, bool, int]:
    """Return where a model computes, whether in float64, and how many tokens go through it at once."""
    if batch_tokens is not None and batch_tokens < 1:
        raise InputError(f"`batch_tokens` is {batch_tokens}: expected 1 or more, such as 2048.")
    like = next(iter(function.start.values()))
    return like.device, like.dtype == torch.float64, batch_tokens or TOKENS.get(like.device.type, TOKENS["cuda"])


def _score_chunk(
    way: RowSlopes | None, encoded: Sequence[Encoded | None], size: int, device: torch.device
) -> RowScores:
    slopes, losses = (torch.full((len(encoded),), torch.nan, dtype=torch.float64) for _ in range(2))
    tokens = torch.tensor([len(each[1]) if each else 0 for each in encoded])
    usable = {place: each for place, each in enumerate(encoded) if each}
    order = sorted(usable, key=lambda place: sum(map(len, usable[place])))
    while order and way is not None:
        chosen, order = _split_off(order, usable, size)
        slope, loss = way(*_padded([usable[place] for place in chosen], device))
        slopes[chosen], losses[chosen] = slope.cpu().double(), loss.cpu().double()
    if not slopes[tokens > 0].isfinite().all():
        raise InputError("The derivative of a row's loss is no finite number: use `base_dtype: float32`.")
    return RowScores(slopes, losses, tokens)


def _split_off(order: list[int], encoded: Mapping[int, Encoded], size: int) -> tuple[list[int], list[int]]:
    """Split the rows that fill a batch off those sorted by length; at least one."""
    taken = 1
    while taken < len(order) and (taken + 1) * sum(map(len, encoded[order[taken]])) <= size:
        taken += 1
    return order[:taken], order[taken:]


def _encoded(tokenizer: Any, rows: Sequence[Row], max_length: int) -> list[Encoded | None]:
    """Return each row's token ids; None where a loss mask would be wrong or empty."""
    found: list[Encoded | None] = []
    for row in rows:
        try:
            prompt, completion = row_ids(tokenizer, row)
        except InputError:
            found.append(None)
            continue
        if len(prompt) + len(completion) > max_length:
            raise InputError(
                f"Row {row.get('id', '?')} has {len(prompt) + len(completion)} tokens: raise `max_length` "
                f"({max_length}) or filter it out."
            )
        found.append((prompt, completion) if prompt and completion else None)
    return found


def _padded(encoded: Sequence[Encoded], device: torch.device) -> tuple[Tensor, Tensor]:
    """Return input ids and labels, both (rows, tokens)."""
    width = max(len(prompt) + len(completion) for prompt, completion in encoded)
    ids = torch.zeros(len(encoded), width, dtype=torch.long)
    labels = torch.full_like(ids, IGNORED)
    for line, (prompt, completion) in enumerate(encoded):
        whole = torch.tensor([*prompt, *completion])
        ids[line, : len(whole)] = whole
        labels[line, len(prompt) : len(whole)] = whole[len(prompt) :]
    return ids.to(device), labels.to(device)
