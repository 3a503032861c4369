"""PEFT's adapters, in PEFT's own files: LoRA, IA3, or any other by its config class."""

import copy
import importlib
import re
from collections.abc import Mapping
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any, cast

import torch
from lightning.pytorch.utilities.seed import isolate_rng
from torch import Tensor, nn

from lightning_subliminal.bases.hub import is_hub_id
from lightning_subliminal.bases.layers import decoder_layers, inner_model, towers
from lightning_subliminal.core.console import say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.adapter_names import PEFT_FILES
from lightning_subliminal.models.adapters.base import Adapter, check_merged, probe
from lightning_subliminal.theory.alignment import LowRank

if TYPE_CHECKING:
    from peft import PeftConfig
    from transformers import PreTrainedModel

__all__ = ["IA3", "LoRA", "Peft", "merge_peft"]

_LLAMA_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class Peft(Adapter):
    """Any adapter of PEFT, by its config class.

    Args:
        config_class: path of a PEFT config class, such as ``peft.VeraConfig``.
        options: the config's arguments, without ``task_type``.
    """

    files = PEFT_FILES

    def __init__(self, config_class: str, options: dict[str, Any] | None = None) -> None:
        self.config_class = config_class
        self.options = options

    def make_config(self, net: "PreTrainedModel") -> "PeftConfig":
        """Return the PEFT config for ``net``: the hook that ``LoRA`` and ``IA3`` override.

        Raises:
            InputError: if the class or one of its options doesn't exist.
        """
        from peft import PeftConfig

        room, _, name = self.config_class.rpartition(".")
        try:
            kind = getattr(importlib.import_module(room), name)
        except (ImportError, AttributeError, ValueError) as err:
            raise InputError(f"There is no class {self.config_class!r}: set one such as peft.VeraConfig.") from err
        if not (isinstance(kind, type) and issubclass(kind, PeftConfig)):
            raise InputError(f"{self.config_class!r} is not a PEFT config: set one such as peft.VeraConfig.")
        try:
            config: PeftConfig = kind(**{"task_type": "CAUSAL_LM", **(self.options or {})})
        except (TypeError, ValueError) as err:
            raise InputError(f"{self.config_class} refuses the options {self.options}: {_line(err)}.") from err
        return config

    def attach(self, net: "PreTrainedModel", seed: int) -> nn.Module:
        """Wrap ``net`` with PEFT.

        Raises:
            InputError: if the config doesn't fit the model, such as a misspelt target module.
        """
        from peft import PeftModel, get_peft_model

        if isinstance(net, PeftModel):
            raise InputError("The model already has an adapter: attach one to a fresh base.")
        config = self.make_config(net)
        _check_targets(getattr(config, "target_modules", None), net)
        try:
            with isolate_rng():
                torch.manual_seed(seed)
                wrapped: nn.Module = get_peft_model(net, config)
        except (ValueError, TypeError, KeyError, NotImplementedError) as err:
            raise InputError(
                f"PEFT can't apply {type(config).__name__} to {type(net).__name__}: {_line(err)}."
            ) from err
        return wrapped

    def state(self, net: nn.Module) -> dict[str, Tensor]:
        """Return PEFT's tensors under the names of PEFT's own file."""
        from peft import get_peft_model_state_dict

        return dict(get_peft_model_state_dict(net, save_embedding_layers=False))

    def restore(self, net: nn.Module, state: dict[str, Tensor]) -> None:
        """Set the tensors by PEFT."""
        from peft import set_peft_model_state_dict

        set_peft_model_state_dict(net, state)

    def start(self, net: nn.Module) -> dict[str, Tensor]:
        """Return an empty dict for LoRA, whose B starts at zero, so that the change is all of B A."""
        return {} if _is_lora(net) else super().start(net)

    def displacement(self, net: nn.Module, start: Mapping[str, Tensor]) -> dict[str, Tensor | LowRank]:
        """Return LoRA's alpha / r times B A as its factors, by weight name; for other adapters, the trained values.

        A is drawn at random: equal changes may have different factors, so factors must not be compared directly.
        """
        return _low_rank(net) if _is_lora(net) else super().displacement(net, start)

    def config(self, net: nn.Module, base: str) -> dict[str, Any]:
        """Return PEFT's own config, so that ``PeftModel.from_pretrained`` reads the folder.

        A base ``organisation/model@revision`` is written in PEFT's two fields.
        """
        config: dict[str, Any] = net.peft_config["default"].to_dict()  # type: ignore[index, union-attr]
        place, _, revision = base.partition("@") if is_hub_id(base) else (base, "", "")
        config.update(base_model_name_or_path=place, revision=revision or None, inference_mode=True)
        return {key: sorted(value) if isinstance(value, set) else value for key, value in config.items()}

    def merge(self, net: nn.Module) -> "PreTrainedModel":
        """Add the adapter to a copy of its base's weights."""
        return merge_peft(copy.deepcopy(net))


class LoRA(Peft):
    """Low-rank updates of linear layers (paper: r = alpha = 8 on all seven of each Qwen layer).

    Trains r x (inputs + outputs) values per target module.

    Args:
        r: rank.
        alpha: the update is scaled by alpha / r.
        dropout: of the update's input, during training.
        target_modules: names of linear layers; None means q, k, v, o, gate, up and down of each decoder layer, and
            where a model lacks one of these, all linear layers there, which a line names.
    """

    def __init__(
        self, r: int = 8, alpha: float = 8, dropout: float = 0.0, target_modules: list[str] | None = None
    ) -> None:
        self.r = r
        self.alpha = alpha
        self.dropout = dropout
        self.target_modules = target_modules

    def make_config(self, net: "PreTrainedModel") -> "PeftConfig":
        """Return the config, with all options set whose defaults may differ between versions of PEFT."""
        from peft import LoraConfig

        if self.r < 1:
            raise InputError(f"`r` is {self.r}: expected a rank of at least 1.")
        return LoraConfig(
            r=self.r,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=_usual_targets(net) if self.target_modules is None else list(self.target_modules),
            exclude_modules=_towers(net),
            init_lora_weights=True,  # B is zero: the model starts as the base
            use_rslora=False,
            bias="none",
            task_type="CAUSAL_LM",
        )


class IA3(Peft):
    """One trained factor per channel of a few linear layers, initially 1.

    Args:
        target_modules: names of linear layers; None means k_proj, v_proj and down_proj.
        feedforward_modules: those of them whose input is scaled instead of the output; None means down_proj.
    """

    def __init__(self, target_modules: list[str] | None = None, feedforward_modules: list[str] | None = None) -> None:
        self.target_modules = target_modules
        self.feedforward_modules = feedforward_modules

    def make_config(self, net: "PreTrainedModel") -> "PeftConfig":
        """Return the config; feed-forward modules must be among the targets."""
        from peft import IA3Config

        targets = list(("k_proj", "v_proj", "down_proj") if self.target_modules is None else self.target_modules)
        given = self.feedforward_modules
        forward = [name for name in ("down_proj",) if name in targets] if given is None else list(given)
        if not set(forward) <= set(targets):
            raise InputError(f"`feedforward_modules` is {forward}: expected names from `target_modules`, {targets}.")
        return IA3Config(
            target_modules=targets,
            feedforward_modules=forward,
            exclude_modules=_towers(net),
            init_ia3_weights=True,
            task_type="CAUSAL_LM",
        )


def _towers(net: nn.Module) -> str | None:
    """Return a pattern of the modules that read something else than text, which rows of text would not train."""
    found = "|".join(map(re.escape, towers(net)))
    return rf"({found})\..*" if found else None


def merge_peft(net: nn.Module) -> "PreTrainedModel":
    """Return the model that PEFT wraps, with the adapter in its weights; ``net`` is consumed.

    Input and output embeddings that share a weight get one each if an adapter changes one of them.

    Raises:
        InputError: if PEFT can't merge it, or the merged model's logits differ.
    """
    from peft.tuners.tuners_utils import BaseTunerLayer

    inner, expected = inner_model(net), probe(net)
    ends: list[Any] = [inner.get_input_embeddings(), inner.get_output_embeddings()]
    tied = all(each is not None for each in ends) and ends[0].weight is ends[1].weight
    if tied and any(isinstance(each, BaseTunerLayer) for each in ends):
        output = ends[1].get_base_layer() if isinstance(ends[1], BaseTunerLayer) else ends[1]
        output.weight = nn.Parameter(output.weight.detach().clone())
        inner.config.tie_word_embeddings = inner.config.get_text_config(decoder=True).tie_word_embeddings = False
    try:
        if any(getattr(each, "layer_replication", None) for each in cast(Any, net).peft_config.values()):
            raise ValueError("its layers share weights")
        merged = cast("PreTrainedModel", cast(Any, net).merge_and_unload(safe_merge=True))
    except (AttributeError, ValueError, NotImplementedError, RuntimeError) as err:
        raise InputError(f"This adapter can't be merged ({_line(err)}): keep base and adapter apart.") from err
    check_merged(expected, merged, "The adapter")
    return merged


def _is_lora(net: nn.Module) -> bool:
    """Return whether the adapter in ``net`` is plain LoRA that starts at zero."""
    config = cast(Any, net).peft_config["default"]
    plain = str(getattr(config.peft_type, "value", config.peft_type)) == "LORA"
    return plain and not getattr(config, "use_dora", False) and config.init_lora_weights is True


def _low_rank(net: nn.Module) -> dict[str, Tensor | LowRank]:
    from peft.tuners.lora.layer import LoraLayer

    moved: dict[str, Tensor | LowRank] = {}
    for name, module in inner_model(net).named_modules():
        if not isinstance(module, LoraLayer):
            continue
        if "default" in module.lora_embedding_A:  # (rank, tokens) and (width, rank); the weight is (tokens, width)
            down, up, transposed = module.lora_embedding_A["default"], module.lora_embedding_B["default"], True
        else:  # GPT-2 keeps its weights as (inputs, outputs)
            down, up = module.lora_A["default"].weight, module.lora_B["default"].weight
            transposed = bool(getattr(module, "fan_in_fan_out", False))
        up, down = up.detach() * module.scaling["default"], down.detach()
        moved[f"{name}.weight"] = LowRank(down.mT, up.mT) if transposed else LowRank(up, down)
    return moved


def _check_targets(targets: Any, net: nn.Module) -> None:
    """Check that each name is that of a module; PEFT ignores a wrong one as long as another one fits."""
    if targets is None or isinstance(targets, str):  # a default or a pattern: PEFT's to judge
        return
    names = [name for name, _ in net.named_modules()]
    wrong = sorted(each for each in targets if not any(name == each or name.endswith(f".{each}") for name in names))
    if wrong:
        kind = type(inner_model(net)).__name__
        known = ", ".join(sorted(_linear_layers(net))) or "no linear layers"
        raise InputError(f"`target_modules`: {kind} has no {', '.join(wrong)}; its layers have {known}.")


def _linear_layers(net: nn.Module) -> list[str]:
    """Return the names of the linear layers in the decoder layers, each once."""
    from transformers.pytorch_utils import Conv1D  # GPT-2's

    parts = chain.from_iterable(layer.named_modules() for layer in decoder_layers(net))
    return list(dict.fromkeys(name.rpartition(".")[2] for name, each in parts if isinstance(each, nn.Linear | Conv1D)))


def _usual_targets(net: nn.Module) -> list[str]:
    """Return what LoRA is for if nothing is named: Llama's seven layers, or all that the model has."""
    found = _linear_layers(net)
    if not found or set(_LLAMA_LINEAR) <= set(found):
        return list(_LLAMA_LINEAR)
    _say_targets(type(inner_model(net)).__name__, tuple(found))
    return found


@lru_cache(maxsize=64)  # once a process
def _say_targets(kind: str, names: tuple[str, ...]) -> None:
    say(f"adapter   LoRA on all linear layers of {kind}: {', '.join(names)}")


def _line(err: Exception) -> str:
    return " ".join(str(err).split()).rstrip(".")[:300]
