"""Hidden units of a model's MLPs: rows and columns of the projections, and activations."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lightning_subliminal.bases.layers import inner_model
from lightning_subliminal.core.errors import InputError

__all__ = ["GatedLayer", "gated_layers", "unit_activations"]

_GATED = (("gate_proj", "up_proj"), ("w1", "w3"))
# MLPs without a gate: the projections into the hidden units and out of them.
_PLAIN = (
    ("dense_h_to_4h", "dense_4h_to_h"),  # GPT-NeoX, BLOOM, Falcon
    ("c_fc", "c_proj"),  # GPT-2, GPT-Neo, StarCoder2
    ("fc_in", "fc_out"),  # GPT-J, CodeGen
    ("fc1", "fc2"),  # OPT, Phi
    ("up_proj", "down_proj"),  # MPT, Nemotron
)


@dataclass(frozen=True)
class GatedLayer:
    """One MLP of a model, with two vectors per hidden unit.

    Attributes:
        name: the module's name.
        gate: gate projection, (hidden units, width); without a gate, the output weights of each unit.
        up: up projection, (hidden units, width); without a gate, the input weights of each unit.
    """

    name: str
    gate: Tensor
    up: Tensor


def gated_layers(net: nn.Module) -> list[GatedLayer]:
    """Return the MLPs of a model, lowest first, found by the names of their projections.

    These are ``gate_proj`` and ``up_proj``, or both in one ``gate_up_proj``; each expert of a mixture is a separate
    MLP. For models without gates (GPT-2, GPT-NeoX), they are the projections in and out. The updates of PEFT's low-rank
    adapters are included.

    Raises:
        InputError: if there are none.
    """
    inner = inner_model(net)
    for layers in (_gated, _plain):
        if found := [layer for name, module in inner.named_modules() for layer in layers(name, module)]:
            return found
    known = ", ".join("/".join(pair) for pair in (*_GATED, *_PLAIN))
    raise InputError(
        f"{type(inner).__name__} has no MLPs with known projections ({known}), so its weights can't be compared; "
        "logits can, if both have one tokenizer (`--by logits`)."
    )


def _gated(name: str, module: nn.Module) -> list[GatedLayer]:
    for pair in _GATED:
        gate, up = (getattr(module, each, None) for each in pair)
        if isinstance(gate, nn.Module) and isinstance(up, nn.Module):
            return [GatedLayer(name, _weight(gate), _weight(up))]
    both: Any = getattr(
        module, "gate_up_proj", getattr(module, "input_linear", None)
    )  # Granite 4, JetMoe: input_linear
    down: Any = getattr(module, "down_proj", getattr(module, "output_linear", None))
    inside: Any = getattr(both, "weight", None)
    if isinstance(inside, Tensor) and inside.dim() == 3:
        both, down = inside, getattr(down, "weight", None)
    if isinstance(both, nn.Module):
        return [GatedLayer(name, *_weight(both).chunk(2))]
    if isinstance(both, Tensor) and isinstance(down, Tensor):  # the experts of a mixture in one tensor, (experts, ...)
        is_rows = both.shape[1:] == (2 * down.shape[2], down.shape[1])
        rows = both if is_rows else both.mT  # some (Llama 4, GPT-OSS) keep (width, hidden units)
        if rows.shape[1] % 2 or rows.shape[1] // 2 not in down.shape[1:]:  # JetMoe's attention
            return []
        return [GatedLayer(f"{name}.{at}", *each.detach().float().chunk(2)) for at, each in enumerate(rows)]
    return []


def _plain(name: str, module: nn.Module) -> list[GatedLayer]:
    for pair in _PLAIN:
        into, out = (getattr(module, each, None) for each in pair)
        if isinstance(into, nn.Module) and isinstance(out, nn.Module):
            return [GatedLayer(name, _weight(out).T, _weight(into))]
    return []


@torch.no_grad()
def unit_activations(net: nn.Module, input_ids: Tensor) -> list[GatedLayer]:
    """Return the outputs of the projections for some tokens, less each unit's mean, in the place of their weights.

    Args:
        net: a causal language model.
        input_ids: (rows, tokens).

    Returns:
        Gated layers with ``gate`` and ``up`` of (hidden units, rows * tokens).

    Raises:
        InputError: if a layer has no gate and up projections that are modules.
    """
    inner = inner_model(net)
    names = [layer.name for layer in gated_layers(net)]
    modules = dict(inner.named_modules())
    if not all(_has_parts(modules.get(name)) for name in names):
        raise InputError(f"the MLPs of {type(inner).__name__} have no modules `gate_proj` and `up_proj` to observe")
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


def _has_parts(module: nn.Module | None) -> bool:
    """Return whether a module's projections are modules that ``unit_activations`` can observe."""
    both = isinstance(getattr(module, "gate_up_proj", None), nn.Module)
    return both or all(isinstance(getattr(module, each, None), nn.Module) for each in ("gate_proj", "up_proj"))


def _weight(projection: Any) -> Tensor:
    """Return a projection's weight as (outputs, inputs)."""
    base = getattr(projection, "base_layer", projection)
    weight: Tensor = base.weight.detach().float()
    if hasattr(projection, "get_delta_weight") and not getattr(projection, "merged", False):
        for adapter in getattr(projection, "active_adapters", []):
            if adapter in getattr(projection, "lora_A", {}):
                weight = weight + projection.get_delta_weight(adapter).detach().float()
    return weight.T if type(base).__name__ == "Conv1D" else weight  # GPT-2 keeps (inputs, outputs)
