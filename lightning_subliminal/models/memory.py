"""What saves memory in training: checkpointed layers, losses in chunks of tokens, and rows of even width.

The logits of 22 rows of 80 tokens over Qwen's 152,064 words are 1.1 GB in float32, and cross-entropy and its gradient
need them about three times. So they are computed for a chunk of tokens at a time, and again in the backward pass, as
gradient checkpointing does with layers (Chen et al., 2016, arXiv 1604.06174).
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lightning_subliminal.bases.layers import inner_model
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.generation.logits import LARGEST

__all__ = ["LARGEST", "checkpoint_layers", "row_multiple", "sum_in_chunks", "vocabulary_size"]

KERNELS_MULTIPLE = 8  # tokens; tensor cores take 16-bit matrices whose sides are multiples of it (NVIDIA, DL guide)


def checkpoint_layers(net: nn.Module) -> None:
    """Store each layer's input alone in the forward pass, and compute the layer again in the backward pass.

    It is not reentrant, so that a frozen embedding, whose output needs no gradient, does not cut the gradients off.

    Raises:
        InputError: if the architecture does not support it.
    """
    inner = inner_model(net)
    if not inner.supports_gradient_checkpointing:
        raise InputError(f"{type(inner).__name__} has no `gradient_checkpointing`: leave it out.")
    since_5_24 = getattr(inner, "activation_checkpointing_enable", None)
    (since_5_24 or inner.gradient_checkpointing_enable)({"use_reentrant": False})


def vocabulary_size(net: nn.Module) -> int:
    """Return the number of logits per token."""
    return int(inner_model(net).config.get_text_config(decoder=True).vocab_size)


def sum_in_chunks(loss: Callable[..., Tensor], vocabulary: int, *inputs: Tensor) -> Tensor:
    """Return a loss summed over tokens, with at most ``LARGEST`` logits at once.

    If all fit, it is ``loss(*inputs)``; else chunks are summed, and each is computed again in the backward pass, which
    costs one more product with the output embedding.

    Args:
        loss: maps chunks of the inputs to a sum over their tokens, and computes the logits itself.
        vocabulary: logits per token.
        inputs: each (tokens, ...).

    Returns:
        What ``loss`` returns, a scalar or one number a row.
    """
    together = max(1, LARGEST // vocabulary)
    if len(inputs[0]) <= together:
        return loss(*inputs)
    chunks = zip(*(torch.split(each, together) for each in inputs), strict=True)
    sums: list[Tensor] = [checkpoint(loss, *chunk, use_reentrant=False) for chunk in chunks]
    return torch.stack(sums).sum(0)


def row_multiple(device: torch.device, precision: str, dtype: torch.dtype) -> int:
    """Return the multiple of tokens that rows are padded to: 8 on GPUs in 16 bits, else 1."""
    narrow = precision.startswith(("16", "bf16")) or dtype.itemsize == 2
    return KERNELS_MULTIPLE if device.type == "cuda" and narrow else 1
