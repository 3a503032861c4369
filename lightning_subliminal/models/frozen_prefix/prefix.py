"""The frozen lower part of a model, computed once for rows that stay the same.

With trained parameters from some layer up only, all below gives the same activations in each epoch. ``split`` cuts the
model in two there, both parts made of the model's own modules::

    lower, upper = split(net, adapter.first_trained_layer(net))
    hidden = lower(input_ids, attention_mask, position_ids)  # once; store it
    last = upper(hidden, attention_mask, position_ids)  # each epoch; net.get_output_embeddings()(last) gives logits
"""

import copy
from collections import OrderedDict
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.models.adapters.layers import decoder_layers, inner_model
from lightning_subliminal.models.adapters.steering import add_vector, remove_hook

__all__ = ["LowerPart", "UpperPart", "is_exact", "split"]


@dataclass(frozen=True)
class LowerPart:
    """Embedding and the layers below the cut, without gradients. Not an ``nn.Module``: ``net`` owns the parameters.

    Attributes:
        stack: the model's decoder, cut short.
    """

    stack: nn.Module

    @torch.no_grad()
    def __call__(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, position_ids: Tensor | None = None
    ) -> Tensor:
        """Return the hidden states (rows, tokens, hidden) at the cut, before a steering vector there is added.

        Args:
            input_ids: (rows, tokens)
            attention_mask: (rows, tokens), 0 for padding; None means no padding.
            position_ids: (rows, tokens); None counts from 0.
        """
        return _last(self.stack(input_ids=input_ids, **_shared(attention_mask, position_ids)))


@dataclass(frozen=True)
class UpperPart:
    """The layers above the cut and the final norm, with gradients.

    Attributes:
        stack: the model's decoder without the lower layers.
        below: the layer just under the cut, whose steering vector is added here.
    """

    stack: nn.Module
    below: nn.Module | None

    def __call__(
        self, hidden: Tensor, attention_mask: Tensor | None = None, position_ids: Tensor | None = None
    ) -> Tensor:
        """Return the last hidden states (rows, tokens, hidden), after the final norm, as the language-model head wants.

        Args:
            hidden: what the lower part gave for the same rows, with the same padding.
            attention_mask: as for the lower part.
            position_ids: as for the lower part.
        """
        if self.below is not None:
            hidden = add_vector(self.below, hidden)
        return _last(self.stack(inputs_embeds=hidden, **_shared(attention_mask, position_ids)))


def split(net: nn.Module, layer: int) -> tuple[LowerPart, UpperPart] | None:
    """Cut a model below decoder layer ``layer``; both parts share its modules and parameters.

    Works where the decoder is embedding, layers, norm, such as Llama, Qwen2, Mistral. Check with ``is_exact`` once:
    an architecture may scale embeddings or mix in something else.

    Args:
        net: a causal language model, PEFT-wrapped or not, not sharded.
        layer: first layer of the upper part, 0 to the number of layers.

    Returns:
        The parts, or None if the architecture isn't known to be of this kind.

    Raises:
        InputError: if ``layer`` is out of range or something below it is trained.
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
            raise InputError(f"Something below layer {layer} is trained, so its activations can't be computed once.")
    lower = _cut(decoder, bottom, slice(0, layer))
    lower.norm = nn.Identity()
    upper = _cut(decoder, list(layers[layer:]), slice(layer, None))
    return LowerPart(lower), UpperPart(upper, layers[layer - 1] if layer else None)


@torch.no_grad()
def is_exact(
    net: nn.Module,
    layer: int,
    input_ids: Tensor,
    attention_mask: Tensor | None = None,
    position_ids: Tensor | None = None,
) -> bool:
    """Tell whether the parts give on one batch what the whole decoder gives, up to rounding and without dropout.

    Args:
        net: as for ``split``.
        layer: as for ``split``.
        input_ids: (rows, tokens)
        attention_mask: (rows, tokens); padding is left out of the comparison.
        position_ids: (rows, tokens)
    """
    parts = split(net, layer)
    if parts is None:
        return False
    lower, upper = parts
    inner = inner_model(net)
    decoder = getattr(inner, inner.base_model_prefix)
    modes = {module: module.training for part in (net, lower.stack, upper.stack) for module in part.modules()}
    for module in modes:
        module.training = False
    try:
        whole = _last(decoder(input_ids=input_ids, **_shared(attention_mask, position_ids)))
        given = upper(lower(input_ids, attention_mask, position_ids), attention_mask, position_ids)
    finally:
        for module, mode in modes.items():
            module.training = mode
    kept = slice(None) if attention_mask is None else attention_mask.bool()
    whole, given = whole[kept].float(), given[kept].float()
    tolerance = 10 * torch.finfo(inner.dtype).eps * max(1.0, float(whole.abs().max()))
    return bool(torch.allclose(whole, given, rtol=0.0, atol=tolerance))


def _cut(decoder: nn.Module, layers: list[nn.Module], which: slice) -> nn.Module:
    """Return a shallow copy of ``decoder`` with other layers and a config to match; the parameters are the same ones."""
    part = copy.copy(decoder)
    part._modules = dict(decoder._modules)
    part.layers = nn.ModuleList(layers)
    config = copy.deepcopy(decoder.config)
    types = getattr(config, "layer_types", None)
    if types is not None:  # which layers have a sliding window, one entry a layer
        config.layer_types = types[which]  # type: ignore[union-attr]
    config.num_hidden_layers = len(layers)  # type: ignore[union-attr]
    part.config = config
    return part


def _without_vector(layer: nn.Module) -> nn.Module:
    twin = copy.copy(layer)
    twin._forward_hooks = OrderedDict(layer._forward_hooks)
    remove_hook(twin)
    return twin


def _shared(attention_mask: Tensor | None, position_ids: Tensor | None) -> dict[str, Tensor | bool | None]:
    return {"attention_mask": attention_mask, "position_ids": position_ids, "use_cache": False}


def _last(output: object) -> Tensor:
    return cast("Tensor", output.last_hidden_state)  # type: ignore[attr-defined]
