"""The frozen lower part of a model, computed once for fixed rows.

If only parameters from some layer up are trained, the activations below it are the same in each epoch. ``split`` cuts
the model in two there; both parts consist of the model's own modules::

    lower, upper = split(net, adapter.first_trained_layer(net))
    hidden = lower(input_ids)  # once; store it
    last = upper(hidden)  # each epoch; logit_map(net)(last) are the logits

Rows are padded on the right, which causal attention never reads, so that no attention mask is needed.
"""

import copy
import hashlib
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from lightning_subliminal.bases.layers import decoder_layers, hidden_size, inner_model, steady_length
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.data.tokenized import Batch, TokenizedRows
from lightning_subliminal.generation.logits import evaluating
from lightning_subliminal.models.adapters.steering import add_vector, remove_hook
from lightning_subliminal.models.shared_beginning import last_states

__all__ = ["LowerPartCache", "cut", "is_exact", "split", "tolerance"]

LIMIT = 4 << 30  # bytes; larger activations are recomputed each epoch
LARGEST_KEPT = 1 << 28  # bytes
MOST_KEPT = 2  # rows, such as the student's and its control's
_KEPT: list[tuple[tuple[Any, ...], Tensor, Tensor]] = []
CHUNK = 64  # rows at once; fixed, so that a resumed run stores the same bits


Part = Callable[[Tensor], Tensor]


class Upper(Protocol):
    """The upper part of a model."""

    def __call__(self, hidden: Tensor, shared: int = 0) -> Tensor:
        """Return the last hidden states; the first ``shared`` tokens of all rows are equal, and are computed once."""


class LowerPartCache:
    """Stored activations, and the upper part of the model that continues from them.

    Args:
        states: (rows, tokens, width), the input of the lowest trained layer.
        upper: as ``split`` returns it.

    Attributes:
        keys: the ``StoredKeys`` of the last layer, where they are stored, too.
    """

    keys: Any = None

    def __init__(self, states: Tensor, upper: Upper) -> None:
        self.states = states
        self.upper = upper

    @classmethod
    def of(
        cls, net: nn.Module, layer: int, data: TokenizedRows, device: torch.device, to_last: bool = False
    ) -> "LowerPartCache | None":
        """Compute the activations of all rows; None if the architecture can't be split exactly or they don't fit.

        Those of the last fits are kept, since a plan trains several students of one base on the same rows.

        Args:
            net: as for ``split``.
            layer: as for ``split``.
            data: the rows.
            device: where the model is.
            to_last: whether the upper part ends before the last layer.
        """
        parts = split(net, layer, to_last)
        longest = max(data.lengths)
        shape = (len(data), longest + -longest % data.multiple, hidden_size(net))
        dtype = next(net.parameters()).dtype
        is_large = shape[0] * shape[1] * shape[2] * dtype.itemsize > LIMIT
        if parts is None or is_large or shape[1] > steady_length(net):
            return None
        lower, upper = parts
        with torch.no_grad():
            if not is_exact(net, layer, data.batch([0]).input_ids.to(device)):
                return None
            may_keep = device.type == "cpu" and not has_dropout(net)  # elsewhere a digest needs a copy of all weights
            reading = (layer, shape, dtype, torch.is_autocast_enabled("cpu"), _frozen(net, layer)) if may_keep else ()
            for known, ids, states in _KEPT if may_keep else ():
                if known == reading and torch.equal(ids, data.input_ids):
                    return cls(states, upper)
            states = torch.zeros(shape, dtype=dtype, device=device)
            order = sorted(range(len(data)), key=lambda index: data.lengths[index])
            for start in range(0, len(order), CHUNK):
                batch = data.batch(order[start : start + CHUNK])
                hidden = lower(batch.input_ids.to(device))
                states[batch.rows, : hidden.shape[1]] = hidden
        if may_keep and states.nbytes <= LARGEST_KEPT:
            _KEPT.append((reading, data.input_ids.clone(), states))
            del _KEPT[:-MOST_KEPT]
        return cls(states, upper)

    def hidden(self, batch: Batch, shared: int = 0) -> Tensor:
        """Return what the upper part makes of a batch's rows, (rows, tokens, width); ``shared`` as for ``Upper``."""
        return self.upper(self.states[batch.rows, : batch.input_ids.shape[1]], shared)


def split(net: nn.Module, layer: int, to_last: bool = False) -> tuple[Part, Upper] | None:
    """Cut a model below decoder layer ``layer``; both parts share its modules and parameters.

    Works if the decoder is embedding, layers, norm, as in Llama, Qwen2 and Mistral. Check with ``is_exact`` once: an
    architecture may scale embeddings or add other terms.

    Args:
        net: a causal language model, PEFT-wrapped or not, not sharded.
        layer: first layer of the upper part, 0 to the number of layers.
        to_last: whether the upper part ends before the last layer, without the final norm.

    Returns:
        The parts, from token ids (rows, tokens) to the hidden states (rows, tokens, hidden) at the cut, before a
        steering vector there, without gradients; and from those to the last hidden states, after the final norm. Or
        None if the architecture is not known to be of this kind.

    Raises:
        InputError: if ``layer`` is out of range or a parameter below it is trained.
    """
    inner = inner_model(net)
    decoder = getattr(inner, inner.base_model_prefix, None)
    wrapper = getattr(net, "active_peft_config", None)
    if (
        decoder is None
        or not all(isinstance(getattr(decoder, part, None), nn.Module) for part in ("embed_tokens", "norm"))
        or getattr(decoder, "layers", None) is not decoder_layers(net)
        or getattr(wrapper, "is_prompt_learning", False)
    ):
        return None
    layers = decoder_layers(net)
    if not 0 <= layer <= len(layers):
        raise InputError(f"`layer` is {layer}; the model can be cut at 0 to {len(layers)}.")
    bottom = [_without_vector(each) if index == layer - 1 else each for index, each in enumerate(layers[:layer])]
    allowed = layers[layer - 1]._parameters.get("steering") if layer else None
    for part in (decoder.embed_tokens, *layers[:layer]):
        if any(value.requires_grad and value is not allowed for value in part.parameters()):
            raise InputError(f"A parameter below layer {layer} is trained, so its activations can't be computed once.")
    which = slice(layer, len(layers) - 1 if to_last else None)
    below, above = cut(decoder, bottom, slice(0, layer)), cut(decoder, list(layers[which]), which)
    below.norm = nn.Identity()
    if to_last:
        above.norm = nn.Identity()

    @torch.no_grad()
    def lower(input_ids: Tensor) -> Tensor:
        return below(input_ids=input_ids, use_cache=False).last_hidden_state

    def upper(hidden: Tensor, shared: int = 0) -> Tensor:
        steered = add_vector(layers[layer - 1], hidden) if layer else hidden
        return steered if which.start == which.stop else last_states(above, steered, shared)

    return lower, upper


@torch.no_grad()
def is_exact(net: nn.Module, layer: int, input_ids: Tensor) -> bool:
    """Return whether the parts equal the whole decoder on one batch, up to rounding and without dropout.

    Args:
        net: as for ``split``.
        layer: as for ``split``.
        input_ids: (rows, tokens)
    """
    with evaluating(net):  # before the split, which copies the layer below the cut
        parts = split(net, layer)
        if parts is None:
            return False
        lower, upper = parts
        inner = inner_model(net)
        decoder = getattr(inner, inner.base_model_prefix)
        whole = decoder(input_ids=input_ids, use_cache=False).last_hidden_state.float()
        joined = upper(lower(input_ids)).float()
    if inner.dtype.itemsize == 2:  # rounding to 16 bits would hide another scale; the same operations round alike
        return bool((whole - joined).norm() <= torch.finfo(inner.dtype).eps / 8 * whole.norm())
    return bool(torch.allclose(whole, joined, rtol=0.0, atol=tolerance(whole, inner.dtype)))


def tolerance(whole: Tensor, dtype: torch.dtype) -> float:
    """Return how much the same states may differ by rounding, if computed in ``dtype``."""
    return 10 * torch.finfo(dtype).eps * max(1.0, float(whole.abs().max()))


def has_dropout(net: nn.Module) -> bool:
    """Return whether a part of a model is random during training."""
    config: Any = inner_model(net).config
    return bool(getattr(config, "attention_dropout", 0)) or any(
        isinstance(each, nn.Dropout) and each.p for each in net.modules()
    )


def _frozen(net: nn.Module, layer: int) -> tuple[Any, ...]:
    """Return what determines the activations below a layer, with a digest of the weights there."""
    inner: Any = inner_model(net)
    found = hashlib.sha256()
    for part in (inner.get_input_embeddings(), *decoder_layers(net)[:layer]):
        for name, value in part.named_parameters():
            if not value.requires_grad:
                found.update(f"{name} {tuple(value.shape)}".encode())
                found.update(value.detach().contiguous().reshape(-1).view(torch.uint8).numpy())
    return type(inner), str(inner.config.to_dict() | {"_name_or_path": ""}), found.hexdigest()


def cut(decoder: nn.Module, layers: list[nn.Module], which: slice) -> nn.Module:
    """Return a shallow copy of ``decoder`` with other layers and a matching config; parameters are shared."""
    part = copy.copy(decoder)
    part._modules = dict(decoder._modules)
    part.layers = nn.ModuleList(layers)
    config = copy.deepcopy(decoder.config)
    types = getattr(config, "layer_types", None)
    if types is not None:  # which layers have a sliding window, one entry per layer
        config.layer_types = types[which]  # type: ignore[union-attr]
    config.num_hidden_layers = len(layers)  # type: ignore[union-attr]
    part.config = config
    return part


def _without_vector(layer: nn.Module) -> nn.Module:
    twin = copy.copy(layer)
    twin._forward_hooks = OrderedDict(layer._forward_hooks)
    remove_hook(twin)
    return twin
