"""Where a causal language model keeps its decoder layers, whatever its family and wrapper."""

from typing import TYPE_CHECKING, cast

from torch import nn

from lightning_subliminal.core.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["decoder_layers", "hidden_size", "inner_model"]


def inner_model(net: nn.Module) -> "PreTrainedModel":
    """Return the transformers model inside ``net``: what PEFT wraps, or ``net`` itself."""
    base = getattr(net, "get_base_model", None)
    return cast("PreTrainedModel", base() if callable(base) else net)


def decoder_layers(net: nn.Module) -> nn.ModuleList:
    """Return the list of decoder layers of ``net``, lowest first.

    Raises:
        InputError: if the architecture keeps no such list.
    """
    inner = inner_model(net)
    count = inner.config.get_text_config(decoder=True).num_hidden_layers
    for module in inner.modules():
        if isinstance(module, nn.ModuleList) and len(module) == count and len({type(layer) for layer in module}) == 1:
            return module
    raise InputError(f"{type(inner).__name__} keeps no list of {count} decoder layers: use a decoder such as Llama.")


def hidden_size(net: nn.Module) -> int:
    """Return the number of values that a decoder layer of ``net`` puts out for a token."""
    return int(inner_model(net).config.get_text_config(decoder=True).hidden_size)
