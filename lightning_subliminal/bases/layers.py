"""Decoder layers of a causal language model of any family, wrapped by PEFT or not."""

import math
from typing import TYPE_CHECKING, Any, cast

from torch import nn

from lightning_subliminal.core.errors import InputError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["body", "check_positions", "decoder_layers", "hidden_size", "inner_model", "steady_length", "towers"]


def inner_model(net: nn.Module) -> "PreTrainedModel":
    """Return the transformers model inside ``net``: the one that PEFT wraps, or ``net`` itself."""
    base = getattr(net, "get_base_model", None)
    return cast("PreTrainedModel", base() if callable(base) else net)


def body(net: nn.Module) -> nn.Module:
    """Return the part of a causal language model below its head, which returns the last hidden states.

    It is transformers' ``base_model``; Llama 4's text model names a part there that it does not have.
    """
    inner = inner_model(net)
    found = cast(nn.Module, inner.base_model)
    readers = [each for each in inner.children() if hasattr(each, "get_input_embeddings")] if found is inner else []
    return readers[0] if readers else found


def decoder_layers(net: nn.Module) -> nn.ModuleList:
    """Return the decoder layers of ``net``, lowest first.

    Raises:
        InputError: if the architecture has no list of them.
    """
    inner = inner_model(net)
    count = inner.config.get_text_config(decoder=True).num_hidden_layers
    for module in _decoder(inner).modules():
        if isinstance(module, nn.ModuleList) and len(module) == count and len({type(layer) for layer in module}) == 1:
            return module
    raise InputError(
        f"{type(inner).__name__} has no list of {count} decoder layers of one kind: use a decoder such as Llama."
    )


def towers(net: nn.Module) -> list[str]:
    """Return the names of modules that read something else than text, such as Gemma 3's ``model.vision_tower``.

    They are beside the decoder, and a student, whose rows are text, never runs them.
    """
    inner = inner_model(net)
    decoder = _decoder(inner)
    if decoder is inner or inner.config.get_text_config(decoder=True) is inner.config:
        return []
    home = next(name for name, module in inner.named_modules() if module is decoder)
    ends = {id(inner.get_output_embeddings())}
    above = {home.rpartition(".")[0]} | {home[:place] for place, letter in enumerate(home) if letter == "."} | {""}
    return [
        name
        for name, module in inner.named_modules()
        if name not in above | {home} and name.rpartition(".")[0] in above and id(module) not in ends
    ]


def steady_length(net: nn.Module) -> float:
    """Return the number of tokens up to which a token's rotary angles do not depend on how long its row is.

    Beyond it, ``dynamic`` and ``longrope`` angles (Phi-3 with long context) are others for all tokens of a longer
    batch, so that no part of it can be computed alone.
    """
    config: Any = inner_model(net).config.get_text_config(decoder=True)
    given = getattr(config, "rope_parameters", None) or {}
    parts = [each for each in (given, *given.values()) if isinstance(each, dict)]  # or a dict a kind of layer
    whole = getattr(config, "max_position_embeddings", 0)
    changing = [each for each in parts if each.get("rope_type") in ("dynamic", "longrope")]
    return min((each.get("original_max_position_embeddings") or whole for each in changing), default=math.inf)


def check_positions(net: nn.Module, tokens: int, what: str, mend: str) -> None:
    """Check that a model whose positions are a table, such as GPT-2, has as many as a text has tokens.

    Args:
        net: a causal language model of transformers.
        tokens: of the text.
        what: the text, for messages.
        mend: advice.

    Raises:
        InputError: if the table is shorter.
    """
    inner = inner_model(net)
    config: Any = getattr(inner, "config", None)
    most = (
        getattr(config.get_text_config(decoder=True), "max_position_embeddings", None) if config is not None else None
    )
    if most is None or tokens <= most:
        return
    words = inner.get_input_embeddings()
    tables = [each for each in inner.modules() if isinstance(each, nn.Embedding) and each is not words]
    if any(most <= each.num_embeddings <= most + 2 for each in tables):  # OPT's has two of its own
        raise InputError(
            f"{what} has {tokens:,} tokens, and {type(inner).__name__} here has {most:,} positions: {mend}."
        )


def _decoder(inner: "PreTrainedModel") -> nn.Module:
    """Return the part of a model that reads text; the model itself if it does not say."""
    decoder = inner.get_decoder() if hasattr(inner, "get_decoder") else None
    return cast(nn.Module, inner if decoder is None else decoder)


def hidden_size(net: nn.Module) -> int:
    """Return the width of a decoder layer's output per token."""
    return int(inner_model(net).config.get_text_config(decoder=True).hidden_size)
