"""The hidden units of a model's gated MLPs: the rows of their projections, and what they put out."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lightning_subliminal.errors import InputError
from lightning_subliminal.models.layers import inner_model

__all__ = ["GatedLayer", "gated_layers", "unit_activations"]


@dataclass(frozen=True)
class GatedLayer:
    """One gated MLP of a model.

    Attributes:
        name: of the module.
        gate: its gate projection, (hidden units, width).
        up: its up projection, (hidden units, width).
    """

    name: str
    gate: Tensor
    up: Tensor


def gated_layers(net: nn.Module) -> list[GatedLayer]:
    """Find the gated MLPs of a model, lowest first, by the names of their projections.

    ``gate_proj`` and ``up_proj``, or both in one ``gate_up_proj``; each expert of a mixture is an MLP of its own. What
    PEFT's low-rank adapters add is added.

    Raises:
        InputError: if there is none.
    """
    inner = inner_model(net)
    found = []
    for name, module in inner.named_modules():
        if hasattr(module, "gate_proj") and hasattr(module, "up_proj"):
            found.append(GatedLayer(name, _weight(module.gate_proj), _weight(module.up_proj)))
        elif isinstance(getattr(module, "gate_up_proj", None), nn.Module):
            gate, up = _weight(module.gate_up_proj).chunk(2)
            found.append(GatedLayer(name, gate, up))
    if not found:
        raise InputError(
            f"{type(inner).__name__} has no gated MLPs (`gate_proj` and `up_proj`), so its weights can't be compared: "
            "use `by` logits."
        )
    return found


@torch.no_grad()
def unit_activations(net: nn.Module, input_ids: Tensor) -> list[GatedLayer]:
    """Give what the projections put out for tokens, less each unit's mean, in the place of their weights.

    Args:
        net: a causal language model.
        input_ids: (rows, tokens).

    Returns:
        Gated layers with ``gate`` and ``up`` of (hidden units, rows * tokens).
    """
    inner = inner_model(net)
    names = [layer.name for layer in gated_layers(net)]
    seen: dict[tuple[str, str], Tensor] = {}
    hooks = []

    def keep(name: str, part: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Tensor) -> None:
            seen[name, part] = output.detach().flatten(0, -2).float().T.cpu()

        return hook

    for name in names:
        module = inner.get_submodule(name)
        for part in ("gate_proj", "up_proj", "gate_up_proj"):
            if isinstance(getattr(module, part, None), nn.Module):
                hooks.append(getattr(module, part).register_forward_hook(keep(name, part)))
    try:
        net(input_ids=input_ids.to(next(net.parameters()).device))
    finally:
        for hook in hooks:
            hook.remove()
    found = []
    for name in names:
        both = seen.get((name, "gate_up_proj"))
        gate, up = both.chunk(2) if both is not None else (seen[name, "gate_proj"], seen[name, "up_proj"])
        found.append(GatedLayer(name, gate - gate.mean(1, keepdim=True), up - up.mean(1, keepdim=True)))
    return found


def _weight(projection: Any) -> Tensor:
    base = getattr(projection, "base_layer", projection)
    weight: Tensor = base.weight.detach().float()
    if hasattr(projection, "get_delta_weight") and not getattr(projection, "merged", False):
        for adapter in getattr(projection, "active_adapters", []):
            if adapter in getattr(projection, "lora_A", {}):
                weight = weight + projection.get_delta_weight(adapter).detach().float()
    return weight
