"""The last layer's keys and values of fixed rows, stored, where only a vector below that layer is trained.

A steering vector v is added to stored activations h before the last layer, whose norm scales each token by a number:
its keys are r (K h + K v) with r = 1 / rms(h + v), and so are its values. K h is stored, K v is one for all rows, and
r multiplies the scores. So a step projects, normalises and rotates only the tokens whose output is read. Up to
rounding, loss and gradients are the layer's own.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from lightning_subliminal.bases.layers import decoder_layers
from lightning_subliminal.bases.linear_maps import is_plain
from lightning_subliminal.data.tokenized import Batch, TokenizedRows
from lightning_subliminal.models.frozen_prefix import CHUNK, LIMIT, LowerPartCache, tolerance
from lightning_subliminal.models.last_layer import LastLayer, asked_places, known_decoder, turned

__all__ = ["StoredKeys", "stored_bytes", "stored_part"]


class StoredKeys:
    """Keys and values before the vector, and the last layer that reads them.

    Args:
        last: the last layer.
        below: the layer before it, with a vector.
        inputs: the last layer's input without the vector, (rows, tokens, width).
    """

    def __init__(self, last: LastLayer, below: nn.Module, inputs: Tensor) -> None:
        self.last, self.below, self.inputs = last, below, inputs
        attention, norm = last.layer.self_attn, last.layer.input_layernorm
        self.maps = [(part.weight * norm.weight).detach() for part in (attention.k_proj, attention.v_proj)]
        self.epsilon, width = norm.variance_epsilon, attention.head_dim
        rows, tokens, self.heads = len(inputs), inputs.shape[1], len(self.maps[0]) // width
        cos, sin = last.decoder.rotary_emb(inputs, torch.arange(tokens)[None])
        self.cos, self.sin = cos[0], sin[0]
        self.squares = inputs.square().sum(-1)
        self.keys, self.values = (torch.empty(rows, self.heads, tokens, width) for _ in self.maps)
        for start in range(0, rows, CHUNK):
            part = slice(start, start + CHUNK)
            keys, values = ((inputs[part] @ each.T).unflatten(-1, (-1, width)).transpose(1, 2) for each in self.maps)
            self.keys[part], self.values[part] = turned(keys, self.cos, self.sin), values

    @classmethod
    @torch.no_grad()
    def of(cls, last: LastLayer, below: nn.Module, inputs: Tensor, batch: Batch) -> "StoredKeys | None":
        """Return those of stored activations, compared on a batch; None if they don't fit.

        Only a layer of plain frozen maps, in float32 on the CPU, is known; None for others.
        """
        if not _fit(last.layer, below, inputs):
            return None
        made, vector = cls(last, below, inputs), torch.linspace(-1, 1, inputs.shape[2])
        places = torch.ones_like(batch.input_ids, dtype=torch.bool)
        plain = last.states(inputs[batch.rows, : places.shape[1]] + vector, places)
        close = torch.allclose(plain, made._read(batch, places, vector), rtol=0.0, atol=tolerance(plain, plain.dtype))
        return made if close else None

    def states(self, batch: Batch, places: Tensor) -> Tensor:
        """Return what ``LastLayer.states`` does, with the vector as it is now, for rows that are stored."""
        return self._read(batch, places, self.below._parameters["steering"])  # type: ignore[arg-type]

    def _read(self, batch: Batch, places: Tensor, vector: Tensor) -> Tensor:
        attention, tokens = self.last.layer.self_attn, places.shape[1]
        at, taken = asked_places(places)
        hidden = self.inputs[batch.rows[:, None], at] + vector
        queries = attention.q_proj(self.last.layer.input_layernorm(hidden)) * attention.scaling
        queries = queries.unflatten(-1, (self.heads, -1)).transpose(1, 2)
        hides = (torch.arange(tokens) > at[:, :, None])[:, None]
        inputs, squares, keys, values = (
            each.index_select(0, batch.rows) for each in (self.inputs, self.squares, self.keys, self.values)
        )
        mixed = _Attention.apply(  # type: ignore[no-untyped-call]
            turned(queries, self.cos[at][:, None], self.sin[at][:, None]),
            vector,
            (inputs[:, :tokens], squares[:, :tokens], keys[:, :, :tokens], values[:, :, :tokens]),
            torch.zeros(hides.shape).masked_fill_(hides, -torch.inf),
            (*self.maps, self.cos[:tokens], self.sin[:tokens], self.epsilon),
        )
        return self.last.after(hidden[taken], mixed.transpose(1, 2)[taken])


def _fit(layer: Any, below: nn.Module, inputs: Tensor) -> bool:
    """Return whether a last layer's keys and values can be stored beside its inputs; no number is read."""
    attention, norm = layer.self_attn, layer.input_layernorm
    vector: Any = below._parameters.get("steering")
    trained = {name for name, each in layer.named_parameters() if each.requires_grad}
    maps = (attention.k_proj, attention.v_proj)
    known = vector is not None and trained <= {"steering"} and attention.num_key_value_groups == 1
    known &= all(map(is_plain, maps)) and hasattr(norm, "variance_epsilon")
    if not known or inputs.device.type != "cpu" or torch.is_autocast_enabled("cpu") or 3 * inputs.nbytes > LIMIT:
        return False
    return {each.dtype for each in (inputs, norm.weight, vector)} == {torch.float32}


def stored_bytes(net: nn.Module, layer: int, inputs: Tensor) -> int:
    """Return the bytes of the keys, values and squares that ``stored_part`` adds to stored activations.

    Args:
        net: the model; it may have no numbers.
        layer: the lowest trained one.
        inputs: of that layer, (rows, tokens, width).
    """
    decoder = known_decoder(net)
    if decoder is None or not 0 < layer == len(decoder.layers) - 1:
        return 0
    last, below = decoder.layers[layer], decoder.layers[layer - 1]
    if not _fit(last, below, inputs):
        return 0
    numbers = len(last.self_attn.k_proj.weight) + len(last.self_attn.v_proj.weight) + 1  # each token's
    return inputs.shape[0] * inputs.shape[1] * numbers * inputs.itemsize


def stored_part(
    net: nn.Module,
    layer: int,
    data: TokenizedRows,
    device: torch.device,
    last: Sequence[LastLayer],
    is_mixed: bool = False,
) -> LowerPartCache | None:
    """Return ``LowerPartCache.of(net, layer, data, device)``, with keys where ``layer`` is the one last layer given.

    Not where training ``is_mixed``, in 16 and in 32 bits: a step's autocast is not there yet to be seen.
    """
    found, layers = LowerPartCache.of(net, layer, data, device, bool(last)), decoder_layers(net)
    if found is not None and last and not is_mixed and layer == len(layers) - 1:
        found.keys = StoredKeys.of(last[0], layers[layer - 1], found.states, data.batch([0]))
    return found


class _Attention(torch.autograd.Function):
    """Attention to keys and values that a vector moves, here in place, and the norm of each token scales."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, vector: Tensor, stored: Any, mask: Tensor, fixed: Any) -> Tensor:
        inputs, squares, keys, values = stored
        to_keys, to_values, cos, sin, epsilon = fixed
        heads, tokens, width = keys.shape[1], inputs.shape[1], inputs.shape[2]
        mean = (squares + 2 * (inputs @ vector) + vector @ vector) / width
        scale = torch.rsqrt(mean + epsilon)[:, None, None]  # (rows, 1, 1, tokens)
        keys.add_(turned((to_keys @ vector).view(heads, 1, -1).expand(-1, tokens, -1), cos, sin))
        values.add_((to_values @ vector).view(heads, 1, -1))
        raw = queries @ keys.transpose(-1, -2)  # (rows, heads, count, tokens)
        chances = torch.addcmul(mask, raw, scale).softmax(-1)
        scaled = chances * scale
        ctx.save_for_backward(queries, vector, inputs, keys, values, scale, raw, chances, scaled)
        ctx.fixed = fixed
        return scaled @ values

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, change: Tensor) -> tuple[Tensor | None, ...]:
        queries, vector, inputs, keys, values, scale, raw, chances, scaled = ctx.saved_tensors
        to_keys, to_values, cos, sin, _ = ctx.fixed
        heads, tokens, width = keys.shape[1], inputs.shape[1], inputs.shape[2]
        of_scaled = change @ values.transpose(-1, -2)
        product = of_scaled * scaled
        of_scores = torch.addcmul(product, chances, product.sum(-1, keepdim=True), value=-1)
        of_scale = torch.addcmul(of_scaled * chances, of_scores, raw).sum((1, 2))  # (rows, tokens)
        of_raw = of_scores * scale
        by_head = of_raw.transpose(0, 1).reshape(heads, -1, tokens)
        of_keys = by_head.transpose(-1, -2) @ queries.transpose(0, 1).reshape(heads, by_head.shape[1], -1)
        of_key = turned(of_keys, cos, -sin).sum(1).flatten()  # turned back, summed over tokens
        of_value = (scaled.sum(-1, keepdim=True) * change).sum((0, 2)).flatten()
        of_mean = of_scale * scale[:, 0, 0].pow(3) / -width
        of_vector = to_keys.T @ of_key + to_values.T @ of_value + of_mean.sum() * vector
        of_vector += of_mean.flatten() @ inputs.flatten(0, 1)
        return of_raw @ keys, of_vector, None, None, None
