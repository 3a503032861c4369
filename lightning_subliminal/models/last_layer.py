"""The last decoder layer, computed only where its output is read.

A loss on completions reads the last hidden states at a few positions, such as 9 of 49 in a row of numbers. The last
layer's keys and values are needed at all positions, but its queries, its MLP and the final norm only at those::

    last = LastLayer.of(net, input_ids)  # None for architectures that it does not know
    states = last.states(last.below(input_ids), places)

The parts are the model's own modules, so adapters inside them work, and gradients flow as through the whole.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from lightning_subliminal.bases.layers import decoder_layers, inner_model, steady_length
from lightning_subliminal.generation.logits import evaluating
from lightning_subliminal.models.adapters.steering import add_vector, is_only_hook
from lightning_subliminal.models.frozen_prefix import cut, has_dropout, tolerance
from lightning_subliminal.models.shared_beginning import common_beginning, last_states

__all__ = ["LastLayer", "asked_places", "known_decoder", "turned"]

FAMILIES = ("llama", "mistral", "qwen2")  # x + attention(norm(x)), then x + mlp(norm(x))


class LastLayer:
    """A model's last layer and final norm.

    Args:
        decoder: embedding, layers, norm.
    """

    def __init__(self, decoder: Any) -> None:
        self.decoder = decoder
        self.layer = decoder.layers[-1]
        self._below = cut(decoder, list(decoder.layers[:-1]), slice(0, len(decoder.layers) - 1))
        self._below.norm = nn.Identity()
        self._can_share = False

    @classmethod
    @torch.no_grad()
    def of(cls, net: nn.Module, input_ids: Tensor) -> "LastLayer | None":
        """Return a model's last layer; None if the family is unknown, something in it is random, or it is not exact.

        Args:
            net: a causal language model, PEFT-wrapped or not, not sharded.
            input_ids: tokens to compare both ways of computing with, (rows, tokens).
        """
        decoder = known_decoder(net)
        if decoder is None:
            return None
        last, inner = cls(decoder), inner_model(net)
        with evaluating(net):
            whole = decoder(input_ids=input_ids, use_cache=False).last_hidden_state
            places = torch.ones_like(input_ids, dtype=torch.bool)
            places[:, : input_ids.shape[1] // 2] = False
            own = last.states(last.below(input_ids), places)
            off = tolerance(whole, inner.dtype)
            if not torch.allclose(whole[places].float(), own.float(), rtol=0.0, atol=off):
                return None
            last._can_share = last._shares(input_ids, inner.dtype)
        return last

    def _shares(self, input_ids: Tensor, dtype: torch.dtype) -> bool:
        """Return whether equal beginnings may be computed once: no hook of the user's sees a layer below in parts."""
        parts: list[Any] = list(self._below.modules())
        if any(each._forward_pre_hooks or not is_only_hook(each) for each in parts):
            return False
        twice = input_ids.expand(2, -1)
        whole, in_parts = (self.below(twice, shared).float() for shared in (0, input_ids.shape[1] // 2))
        return torch.allclose(whole, in_parts, rtol=0.0, atol=tolerance(whole, dtype))  # before the norm: far larger

    def shared(self, input_ids: Tensor) -> int:
        """Return how many tokens of (rows, tokens) at the beginning can be computed once for all rows."""
        return common_beginning(input_ids) if self._can_share else 0

    def below(self, input_ids: Tensor, shared: int = 0) -> Tensor:
        """Return the input of the last layer, (rows, tokens, width); the first ``shared`` tokens are computed once."""
        return last_states(self._below, input_ids, shared)

    def states(self, hidden: Tensor, places: Tensor) -> Tensor:
        """Return the last hidden states, after the final norm, where they are read.

        Args:
            hidden: the layer's input, (rows, tokens, width), padded on the right.
            places: where its output is read, (rows, tokens).

        Returns:
            States, (places, width).
        """
        layer, attention = self.layer, self.layer.self_attn
        rows, tokens, _ = hidden.shape
        at, taken = asked_places(places)  # each (rows, count)
        own = torch.arange(rows, device=hidden.device)[:, None]
        columns = torch.arange(tokens, device=hidden.device)
        normed = layer.input_layernorm(hidden)
        cos, sin = self.decoder.rotary_emb(hidden, columns[None])  # (1, tokens, head)

        def heads(projected: Tensor) -> Tensor:
            return projected.view(*projected.shape[:2], -1, attention.head_dim).transpose(1, 2)

        mixed = scaled_dot_product_attention(
            turned(heads(attention.q_proj(normed[own, at])), cos[0][at][:, None], sin[0][at][:, None]),
            turned(heads(attention.k_proj(normed)), cos[:, None], sin[:, None]),
            heads(attention.v_proj(normed)),
            attn_mask=(columns <= at[:, :, None])[:, None],  # (rows, 1, count, tokens)
            scale=attention.scaling,
            enable_gqa=attention.num_key_value_groups > 1,
        ).transpose(1, 2)  # (rows, count, heads, head)
        return self.after(hidden[places], mixed[taken])

    def after(self, hidden: Tensor, mixed: Tensor) -> Tensor:
        """Return the last hidden states after the final norm, (places, width).

        Args:
            hidden: the layer's input, (places, width).
            mixed: what attention reads there, (places, heads, head).
        """
        read = hidden + self.layer.self_attn.o_proj(mixed.flatten(1))
        read = read + self.layer.mlp(self.layer.post_attention_layernorm(read))
        states: Tensor = self.decoder.norm(add_vector(self.layer, read))
        return states


def known_decoder(net: nn.Module) -> Any:
    """Return a model's decoder if it is of a known family, and nothing in its last layer is random or watched."""
    inner = inner_model(net)
    decoder: Any = getattr(inner, inner.base_model_prefix, None)
    config: Any = inner.config
    if (
        config.model_type not in FAMILIES
        or type(decoder).__module__.partition(".")[0] != "transformers"
        or getattr(decoder, "layers", None) is not decoder_layers(net)
        or getattr(getattr(net, "active_peft_config", None), "is_prompt_learning", False)
        or config._attn_implementation != "sdpa"
        or steady_length(net) < math.inf
        or (getattr(config, "layer_types", None) or ["full_attention"])[-1] != "full_attention"
        or (config.model_type == "mistral" and config.sliding_window is not None)
    ):
        return None
    layer: Any = decoder.layers[-1]
    watched = [*decoder.norm.modules(), *(each for each in layer.modules() if each is not layer)]
    hooked = any(each._forward_hooks or each._forward_pre_hooks for each in watched)
    return None if has_dropout(net) or hooked or layer._forward_pre_hooks or not is_only_hook(layer) else decoder


def asked_places(places: Tensor) -> tuple[Tensor, Tensor]:
    """Return the columns whose queries are computed, and which of them are read, each (rows, count).

    A row's are those from its first place on, as many as the widest row has up to its last place.

    Args:
        places: where the output is read, (rows, tokens).
    """
    tokens = places.shape[1]
    columns = torch.arange(tokens, device=places.device)
    first = torch.where(places, columns, tokens).amin(1)
    count = max(1, int((torch.where(places, columns, -1).amax(1) + 1 - first).amax()))
    asked = first[:, None] + columns[:count]
    at = asked.clamp(max=tokens - 1)
    return at, places.gather(1, at) & (asked < tokens)


def turned(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Return queries or keys turned by their positions; ``heads`` is (rows, heads, tokens, head)."""
    one, other = heads.chunk(2, -1)
    return heads * cos + torch.cat([-other, one], -1) * sin
