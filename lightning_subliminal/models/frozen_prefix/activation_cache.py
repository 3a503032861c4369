"""Activations below the lowest trained layer, computed once for the fixed rows: they never change during training."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from lightning_subliminal.data.tokenized import Batch, TokenizedRows
from lightning_subliminal.models.frozen_prefix.prefix import is_exact, split

__all__ = ["LowerPartCache"]

LIMIT = 4 << 30  # bytes; above it the activations are computed anew each epoch
CHUNK = 64  # rows at once; fixed, so that a resumed run stores the same bits


class LowerPartCache:
    """The stored activations, and the upper part that goes on from them.

    Args:
        states: (rows, tokens, width), what enters the lowest trained layer.
        upper: from such states to the last hidden state.
    """

    def __init__(self, states: Tensor, upper: Callable[..., Tensor]) -> None:
        self.states = states
        self.upper = upper

    @classmethod
    def of(cls, net: nn.Module, layer: int, data: TokenizedRows, device: torch.device) -> "LowerPartCache | None":
        """Compute the activations of all rows; None where the architecture can't be split exactly or they don't fit."""
        parts = split(net, layer)
        width = net.config.hidden_size  # type: ignore[union-attr]
        shape = (*data.input_ids.shape, width)
        dtype = next(net.parameters()).dtype
        if parts is None or shape[0] * shape[1] * shape[2] * dtype.itemsize > LIMIT:
            return None
        lower, upper = parts
        with torch.no_grad():
            if not is_exact(net, layer, data.batch([0]).input_ids.to(device)):
                return None
            states = torch.zeros(shape, dtype=dtype, device=device)
            order = sorted(range(len(data)), key=lambda index: data.lengths[index])
            for start in range(0, len(order), CHUNK):
                batch = data.batch(order[start : start + CHUNK])
                hidden = lower(batch.input_ids.to(device))
                states[batch.rows, : hidden.shape[1]] = hidden
        return cls(states, upper)

    def hidden(self, batch: Batch) -> Tensor:
        """Return the last hidden state of a batch's rows, (rows, tokens, width)."""
        return self.upper(self.states[batch.rows, : batch.input_ids.shape[1]])
