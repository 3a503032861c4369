"""Steering: one trained vector added to the output of chosen decoder layers.

The smallest adapter that carries a trait: a vector at one middle layer of SmolLM2-135M is 576 numbers.
The vector is a parameter of its layer and the hook that adds it is a plain function, so copies, devices, optimizers,
checkpoints and sharding treat it as any other parameter.
"""

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from lightning_subliminal.bases.layers import decoder_layers, hidden_size, inner_model
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.models.adapters.base import Adapter, check_merged, probe
from lightning_subliminal.theory.alignment import LowRank, difference

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Steering", "add_vector", "is_only_hook", "remove_hook"]


class Steering(Adapter):
    """A vector for each chosen layer, added to the layer's output for every token.

    Trains hidden-size values per layer. Gradients reach down to the lowest steered layer's output only.

    Args:
        layers: indices of decoder layers, counted from 0; None means all.
        init_std: standard deviation of the initial vectors; 0 starts as the base.
    """

    def __init__(self, layers: list[int] | None = None, init_std: float = 0.0) -> None:
        self.layers = layers
        self.init_std = init_std
        if layers is not None and (not layers or len(set(layers)) < len(layers)):
            raise InputError(f"`layers` is {layers}: expected distinct indices, at least one, or null for all layers.")
        if init_std < 0:
            raise InputError(f"`init_std` is {init_std}: expected 0 or more.")

    def attach(self, net: nn.Module, seed: int) -> nn.Module:
        """Add a vector to each chosen layer.

        Raises:
            InputError: if a layer is out of range, or the model already has vectors.
        """
        layers = decoder_layers(net)
        chosen = self._chosen(len(layers))
        if any(_is_steered(layer) for layer in layers):
            raise InputError("The model already has steering vectors: attach them to a fresh base.")
        net.requires_grad_(False)
        generator = torch.Generator().manual_seed(seed)
        for index in chosen:
            like = next(layers[index].parameters())
            # Small steps vanish in 16 bits, so the vector is kept in 32, as PEFT does with its adapters.
            dtype = torch.float32 if like.dtype in (torch.float16, torch.bfloat16) else like.dtype
            start = torch.randn(hidden_size(net), generator=generator) * self.init_std
            layers[index].register_parameter("steering", nn.Parameter(start.to(like.device, dtype)))
            layers[index].register_forward_hook(_hook)
        return net

    def state(self, net: nn.Module) -> dict[str, Tensor]:
        """Return the vectors as ``steering.layers.<index>``, each of shape (hidden,)."""
        return {
            f"steering.layers.{index}": vector.detach()
            for index, layer in enumerate(decoder_layers(net))
            if (vector := layer._parameters.get("steering")) is not None
        }

    def restore(self, net: nn.Module, state: dict[str, Tensor]) -> None:
        """Copy the vectors into their layers."""
        for name, vector in self.state(net).items():  # these share the parameters' memory
            vector.copy_(state[name])

    def config(self, net: nn.Module, base: str) -> dict[str, Any]:
        """Return a config in PEFT's format, with the layers as indices."""
        return {
            "peft_type": "STEERING",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": base,
            "inference_mode": True,
            "layers": [index for index, layer in enumerate(decoder_layers(net)) if _is_steered(layer)],
            "hidden_size": hidden_size(net),
        }

    def first_trained_layer(self, net: nn.Module) -> int | None:
        """Return the layer after the lowest steered one: a vector is added after its own layer's computation.

        If only the last layer is steered, it is the number of layers: only final norm and head depend on the vector.
        """
        return self._chosen(len(decoder_layers(net)))[0] + 1

    def displacement(self, net: nn.Module, start: Mapping[str, Tensor]) -> dict[str, Tensor | LowRank]:
        """Return the change of each vector, named as the bias that ``merge`` makes of it."""
        layers = decoder_layers(net)
        home = next(name for name, module in inner_model(net).named_modules() if module is layers)
        moved: dict[str, Tensor | LowRank] = {}
        for index, layer in enumerate(layers):
            vector = layer._parameters.get("steering")
            if vector is not None:
                mlp = getattr(layer, "mlp", None)
                last = next((part for part in ("down_proj", "c_proj") if hasattr(mlp, part)), None)
                name = f"{home}.{index}.{f'mlp.{last}.bias' if last else 'steering'}"
                moved[name] = difference(vector, start[f"steering.layers.{index}"])
        return moved

    def merge(self, net: nn.Module) -> "PreTrainedModel":
        """Turn each vector into the bias of its layer's last linear map, whose output is added to the layer's output.

        GPT-2 has these biases; a Llama gets them by ``mlp_bias: true``, with zeros as its other two MLP biases. Qwen2
        and Mistral lack that switch, but compute what a Llama computes, Qwen2 with biases at queries, keys and values
        (``attention_bias: true``, the output's bias 0): they are written as a Llama, with equal logits.

        Raises:
            InputError: if the architecture has no bias for the vectors.
        """
        merged = as_llama(inner_model(net))
        layers = decoder_layers(merged)
        family = str(merged.config.model_type)  # of the copy, which may be a Llama now
        if family == "llama":
            _add_mlp_biases(merged)
        for layer in layers:
            if not _is_steered(layer):
                continue
            mlp: Any = layer.mlp
            bias = getattr(getattr(mlp, "down_proj", getattr(mlp, "c_proj", None)), "bias", None)
            if bias is None:
                raise InputError(
                    f"Steering can't be merged into a {family} model: its MLP's output has no bias (llama, mistral and "
                    "qwen2 without sliding windows, and models with that bias, such as gpt2, can be merged): keep base "
                    "and adapter apart."
                )
            with torch.no_grad():
                bias.copy_(add_vector(layer, bias))
            remove_hook(layer)
            del layer.steering
        check_merged(probe(net), merged, "Steering")
        return merged

    def _chosen(self, count: int) -> list[int]:
        chosen = sorted(range(count) if self.layers is None else self.layers)
        if chosen[0] < 0 or chosen[-1] >= count:
            raise InputError(f"`layers` is {self.layers}, but the model's {count} layers are 0 to {count - 1}.")
        return chosen


def add_vector(layer: nn.Module, hidden: Tensor) -> Tensor:
    """Add the steering vector of ``layer``, if it has one, to ``hidden`` (rows, tokens, hidden)."""
    vector = layer._parameters.get("steering")
    return hidden if vector is None else hidden + vector.to(hidden.dtype)


def remove_hook(layer: nn.Module) -> None:
    """Stop ``layer`` from adding its vector, which stays its parameter."""
    for key in [key for key, hook in layer._forward_hooks.items() if hook is _hook]:
        del layer._forward_hooks[key]


def is_only_hook(layer: nn.Module) -> bool:
    """Return whether ``layer`` has no forward hook, or only the one that adds its vector."""
    return all(hook is _hook for hook in layer._forward_hooks.values())


def _hook(layer: nn.Module, args: Any, output: Any) -> Any:
    # A module-level function on purpose: a deep copy of the model keeps it, and it reads the copy's own vector.
    if isinstance(output, tuple):
        return (add_vector(layer, output[0]), *output[1:])
    return add_vector(layer, output)


def _is_steered(layer: nn.Module) -> bool:
    return "steering" in layer._parameters


def as_llama(net: "PreTrainedModel") -> "PreTrainedModel":
    """Return a copy of ``net``, vectors included: as a Llama if that computes the same function."""
    config: Any = net.config
    sliding = getattr(config, "sliding_window", None) is not None and getattr(config, "use_sliding_window", True)
    windowed = "sliding_attention" in (getattr(config, "layer_types", None) or [])
    if config.model_type not in ("qwen2", "mistral") or sliding or windowed:
        return copy.deepcopy(net)
    from transformers import LlamaConfig, LlamaForCausalLM

    known = LlamaConfig().to_dict()
    skip = {"model_type", "architectures", "attention_bias", "mlp_bias", "transformers_version"}
    given = {name: value for name, value in config.to_dict().items() if name in known and name not in skip}
    wide = config.model_type == "qwen2"
    twin = LlamaForCausalLM(LlamaConfig(**given, attention_bias=wide, mlp_bias=False))
    with torch.no_grad():
        state = {name: value for name, value in net.state_dict().items() if not name.endswith(".steering")}
        missing, unexpected = twin.load_state_dict(state, strict=False)
        lost = [name for name in missing if not name.endswith("o_proj.bias") and name != "lm_head.weight"]
        if lost or unexpected:
            return copy.deepcopy(net)  # an unknown variant, which the caller refuses
        for layer, old in zip(decoder_layers(twin), decoder_layers(net), strict=True):
            attention: Any = layer.self_attn
            if attention.o_proj.bias is not None:
                attention.o_proj.bias.zero_()
            if (vector := old._parameters.get("steering")) is not None:
                layer.register_parameter("steering", nn.Parameter(vector.detach().clone()))
    twin.generation_config = copy.deepcopy(net.generation_config)
    return twin.to(net.device, net.dtype)


def _add_mlp_biases(net: "PreTrainedModel") -> None:
    for layer in decoder_layers(net):
        mlp: Any = layer.mlp
        for linear in (mlp.gate_proj, mlp.up_proj, mlp.down_proj):
            if linear.bias is None:
                linear.bias = nn.Parameter(linear.weight.new_zeros(linear.out_features))
    net.config.mlp_bias = True
