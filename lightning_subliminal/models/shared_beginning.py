"""What all rows of a batch begin with, such as a system prompt, computed once for all of them.

States of a token depend on the tokens before it alone, so equal beginnings have equal states in each layer, and the
gradient through them is the sum over rows::

    shared = common_beginning(input_ids)
    hidden = last_states(decoder, input_ids, shared)  # as of `decoder(input_ids=input_ids)`, up to rounding
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from lightning_subliminal.generation.logits import call_net

__all__ = ["common_beginning", "last_states"]

_LEAST = 16  # tokens: below, a second pass through the layers costs more than it saves


def common_beginning(input_ids: Tensor) -> int:
    """Return how many tokens all rows begin with; 0 where computing them once gains nothing, or on a GPU.

    There the kernel for plain causal attention, which a beginning of its own excludes, may be worth more: not measured.

    Args:
        input_ids: (rows, tokens), padded on the right.
    """
    rows, tokens = input_ids.shape
    if rows == 1 or tokens <= _LEAST or input_ids.device.type != "cpu":
        return 0
    differs = (input_ids[1:] != input_ids[:1]).any(0)
    shared = int(differs.to(torch.uint8).argmax()) if bool(differs.any()) else tokens - 1
    return shared if shared >= _LEAST else 0


def last_states(decoder: nn.Module, inputs: Tensor, shared: int) -> Tensor:
    """Return a decoder's last hidden states, (rows, tokens, width).

    Args:
        decoder: embedding, layers and norm of a Llama, Qwen2 or Mistral without sliding windows or dropout.
        inputs: token ids (rows, tokens), or embeddings (rows, tokens, width), padded on the right.
        shared: the number of tokens at the beginning that are equal in all rows; less than all.
    """
    name = "inputs_embeds" if inputs.is_floating_point() else "input_ids"
    if not shared:
        whole: Tensor = decoder(**{name: inputs}, use_cache=False).last_hidden_state
        return whole
    rows, tokens = inputs.shape[:2]
    kept = _kept_class()()
    first = call_net(decoder, kept, **{name: inputs[:1, :shared]}, use_cache=True).last_hidden_state
    for layer in kept.layers:
        layer.keys, layer.values = (each.expand(rows, -1, -1, -1) for each in (layer.keys, layer.values))
    places = torch.arange(shared, tokens, device=inputs.device)[None]
    rest = call_net(decoder, kept, **{name: inputs[:, shared:]}, position_ids=places, use_cache=True)
    return torch.cat([first.expand(rows, -1, -1), rest.last_hidden_state], 1)


@cache
def _kept_class() -> Any:
    from transformers.cache_utils import DynamicCache  # not before a command's first line

    class _Beginning(DynamicCache):
        """Keys and values of the beginning; layers count from the first that is used: a part has no lower ones."""

        first: int | None = None

        def update(
            self, keys: Tensor, values: Tensor, layer_idx: int, *args: Any, **kwargs: Any
        ) -> tuple[Tensor, Tensor]:
            """Append one layer's, and return all of that layer."""
            self.first = layer_idx if self.first is None else self.first
            found: tuple[Tensor, Tensor] = super().update(keys, values, layer_idx - self.first, *args, **kwargs)
            return found

    return _Beginning
