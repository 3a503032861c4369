"""Decoder layers of a causal language model of any family, wrapped by PEFT or not."""

from typing import TYPE_CHECKING, cast

from torch import nn

from lightning_subliminal.core.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["decoder_layers", "hidden_size", "inner_model"]


def inner_model(net: nn.Module) -> "PreTrainedModel":
    """Return the transformers model inside ``net``: the one that PEFT wraps, or ``net`` itself."""
    base = getattr(net, "get_base_model", None)
    return cast("PreTrainedModel", base() if callable(base) else net)


def decoder_layers(net: nn.Module) -> nn.ModuleList:
    """Return the decoder layers of ``net``, lowest first.

    Raises:
        InputError: if the architecture has no list of them.
    """
    inner = inner_model(net)
    count = inner.config.get_text_config(decoder=True).num_hidden_layers
    for module in inner.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count and len({type(layer) for layer in module}) == 1:
            return module
    raise InputError(f"{type(inner).__name__} has no list of {count} decoder layers: use a decoder such as Llama.")


def hidden_size(net: nn.Module) -> int:
    """Return the width of a decoder layer's output per token."""
    return int(inner_model(net).config.get_text_config(decoder=True).hidden_size)
