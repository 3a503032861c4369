"""Adapters: the few parameters that are trained while the base stands still.

Few matters. What a student reads from sampled rows about its teacher must beat the noise that each trained parameter
brings, so a small adapter shows subliminal learning where full fine-tuning of the same model hides it.
``Adapter`` is the contract; ``LoRA``, ``IA3`` and ``Peft`` go through PEFT and write PEFT's own files.
"""

import contextlib
import copy
import importlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from torch import Tensor, nn

from lightning_subliminal.bases.hub import is_hub_id
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.adapter_names import OWN_FILES, PEFT_FILES, AdapterFiles
from lightning_subliminal.models.adapters.files import check_same, read_adapter, write_adapter
from lightning_subliminal.models.adapters.layers import decoder_layers, inner_model
from lightning_subliminal.theory.alignment import LowRank, difference

if TYPE_CHECKING:
    from peft import PeftConfig
    from transformers import PreTrainedModel

__all__ = ["IA3", "Adapter", "LoRA", "Peft", "check_merged", "merge_peft", "probe"]

_LLAMA_LINEAR = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


class Adapter(ABC):
    """What is trained on top of a frozen base. An adapter object is a recipe: it holds no weights itself.

    To write your own, override the five abstract methods; saving, loading and their checks are done here. Keep each
    constructor argument under its own name: they are part of each artefact's digest.

    Attributes:
        files: names of the files that ``save`` writes; only an adapter that PEFT opens has PEFT's.
    """

    files: ClassVar[AdapterFiles] = OWN_FILES

    @abstractmethod
    def attach(self, net: "PreTrainedModel", seed: int) -> nn.Module:
        """Freeze ``net`` and add the trained parameters, their start given by ``seed`` alone.

        Returns:
            The model to train and call: ``net`` itself, or a wrapper around it.
        """

    @abstractmethod
    def state(self, net: nn.Module) -> dict[str, Tensor]:
        """Return the trained tensors by their names in the file."""

    @abstractmethod
    def restore(self, net: nn.Module, state: dict[str, Tensor]) -> None:
        """Put back what ``state`` gave; names and shapes were checked."""

    @abstractmethod
    def config(self, net: nn.Module, base: str) -> dict[str, Any]:
        """Return what stands in its config file: ``peft_type`` and ``base_model_name_or_path`` at least."""

    @abstractmethod
    def merge(self, net: nn.Module) -> "PreTrainedModel":
        """Return a copy of the model with the adapter inside its own weights, for ``save_pretrained``.

        The copy needs the memory of a second model; ``net`` stays as it is.

        Raises:
            InputError: if the architecture has no place for it; then keep base and adapter apart.
        """

    def start(self, net: nn.Module) -> dict[str, Tensor]:
        """Return what ``displacement`` must know of the start; called once, when ``attach`` has run."""
        return {name: value.detach().clone() for name, value in self.state(net).items()}

    def displacement(self, net: nn.Module, start: Mapping[str, Tensor]) -> dict[str, Tensor | LowRank]:
        """Return the change of the base's weights that the trained values stand for.

        By default it is the change of the trained values themselves, under their own names: two displacements by the
        same kind of adapter can then be compared, but none with another kind's.

        Args:
            net: what ``attach`` gave.
            start: what ``start`` gave.
        """
        return {name: difference(value, start[name]) for name, value in self.state(net).items()}

    def first_trained_layer(self, net: nn.Module) -> int | None:
        """Return the lowest decoder layer whose computation depends on trained parameters; None if that is unknown."""
        layers = decoder_layers(net)
        trained = {id(value) for value in net.parameters() if value.requires_grad}
        inside = [{id(value) for value in layer.parameters()} & trained for layer in layers]
        if not trained or trained - set().union(*inside):
            return None  # something outside the layers is trained, such as a soft prompt
        return next(index for index, found in enumerate(inside) if found)

    def save(self, net: nn.Module, folder: Path, base: str) -> None:
        """Write the trained values and the adapter's config to ``folder``, each file atomically.

        Args:
            net: what ``attach`` gave.
            folder: made if it is missing.
            base: name of the base, for ``base_model_name_or_path``.

        Raises:
            InputError: if the folder can't be written.
        """
        write_adapter(folder, self.state(net), self.config(net, base), self.files)

    def load(self, net: nn.Module, folder: Path) -> None:
        """Put saved values into the adapter that ``net`` carries.

        Args:
            net: what ``attach`` gave, by an adapter with the same settings.
            folder: where ``save`` wrote.

        Raises:
            InputError: if the files are missing, damaged, or of another kind or shape of adapter.
        """
        kind = self.config(net, "")["peft_type"]
        saved, config = read_adapter(folder)
        if config.get("peft_type") != kind:
            found = config.get("peft_type")
            raise InputError(f"The adapter in {folder} is {found}, but the one asked for is {kind}: set the same one.")
        check_same(saved, self.state(net), folder)
        self.restore(net, saved)


class Peft(Adapter):
    """Any adapter of PEFT, by the class of its config.

    Args:
        config_class: path of a PEFT config class, such as ``peft.VeraConfig``.
        options: the config's arguments; ``task_type`` is set already.
    """

    files = PEFT_FILES

    def __init__(self, config_class: str, options: dict[str, Any] | None = None) -> None:
        self.config_class = config_class
        self.options = options

    def make_config(self, net: "PreTrainedModel") -> "PeftConfig":
        """Make the PEFT config for ``net``: the hook that ``LoRA`` and ``IA3`` override.

        Raises:
            InputError: if the class or one of its options doesn't exist.
        """
        from peft import PeftConfig

        room, _, name = self.config_class.rpartition(".")
        try:
            kind = getattr(importlib.import_module(room), name)
        except (ImportError, AttributeError, ValueError) as err:
            raise InputError(f"There is no {self.config_class!r}: give a class such as peft.VeraConfig.") from err
        if not (isinstance(kind, type) and issubclass(kind, PeftConfig)):
            raise InputError(f"{self.config_class!r} is no PEFT config: give one such as peft.VeraConfig.")
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
            raise InputError("The model carries an adapter already: attach one to a fresh base.")
        config = self.make_config(net)
        _check_targets(getattr(config, "target_modules", None), net)
        try:
            with _seeded(seed):
                wrapped: nn.Module = get_peft_model(net, config)
        except (ValueError, TypeError, KeyError, NotImplementedError) as err:
            raise InputError(f"PEFT can't put {type(config).__name__} on {type(net).__name__}: {_line(err)}.") from err
        return wrapped

    def state(self, net: nn.Module) -> dict[str, Tensor]:
        """Return PEFT's tensors under the names of PEFT's own file."""
        from peft import get_peft_model_state_dict

        return dict(get_peft_model_state_dict(net, save_embedding_layers=False))

    def restore(self, net: nn.Module, state: dict[str, Tensor]) -> None:
        """Hand the tensors to PEFT."""
        from peft import set_peft_model_state_dict

        set_peft_model_state_dict(net, state)

    def start(self, net: nn.Module) -> dict[str, Tensor]:
        """Return nothing for LoRA, whose B is zero at the start, so that the change is all of B A."""
        return {} if _is_lora(net) else super().start(net)

    def displacement(self, net: nn.Module, start: Mapping[str, Tensor]) -> dict[str, Tensor | LowRank]:
        """Return LoRA's alpha / r times B A as its factors, under the name of the weight; of others, the trained values.

        A is drawn: two runs may have other factors of one change, so the factors themselves must not be compared.
        """
        return _low_rank(net) if _is_lora(net) else super().displacement(net, start)

    def config(self, net: nn.Module, base: str) -> dict[str, Any]:
        """Return PEFT's own config, so that ``PeftModel.from_pretrained`` reads the folder.

        A base ``organisation/model@revision`` is written as PEFT has it, in two fields.
        """
        told: dict[str, Any] = net.peft_config["default"].to_dict()  # type: ignore[index, union-attr]
        place, _, revision = base.partition("@") if is_hub_id(base) else (base, "", "")
        told.update(base_model_name_or_path=place, revision=revision or None, inference_mode=True)
        return {key: sorted(value) if isinstance(value, set) else value for key, value in told.items()}

    def merge(self, net: nn.Module) -> "PreTrainedModel":
        """Add the adapter to a copy of the weights it belongs to."""
        return merge_peft(copy.deepcopy(net))


class LoRA(Peft):
    """Low-rank updates of linear layers (paper: r = alpha = 8 on all seven of each Qwen layer).

    Trains r x (inputs + outputs) values for each target module.

    Args:
        r: rank.
        alpha: the update is scaled by alpha / r.
        dropout: of the update's input, while training.
        target_modules: names of linear layers; None means q, k, v, o, gate, up and down of each decoder layer.
    """

    def __init__(
        self, r: int = 8, alpha: float = 8, dropout: float = 0.0, target_modules: list[str] | None = None
    ) -> None:
        self.r = r
        self.alpha = alpha
        self.dropout = dropout
        self.target_modules = target_modules

    def make_config(self, net: "PreTrainedModel") -> "PeftConfig":
        """Make the config, with all written out that PEFT's versions may see differently."""
        from peft import LoraConfig

        if self.r < 1:
            raise InputError(f"`r` is {self.r}; expected a rank of at least 1.")
        return LoraConfig(
            r=self.r,
            lora_alpha=self.alpha,
            lora_dropout=self.dropout,
            target_modules=list(_LLAMA_LINEAR if self.target_modules is None else self.target_modules),
            init_lora_weights=True,  # B is zero: the model starts as the base
            use_rslora=False,
            bias="none",
            task_type="CAUSAL_LM",
        )


class IA3(Peft):
    """One trained factor for each channel of a few linear layers; it starts at 1, as the base.

    Args:
        target_modules: names of linear layers; None means k_proj, v_proj and down_proj.
        feedforward_modules: those of them whose input is scaled, not the output; None means down_proj.
    """

    def __init__(self, target_modules: list[str] | None = None, feedforward_modules: list[str] | None = None) -> None:
        self.target_modules = target_modules
        self.feedforward_modules = feedforward_modules

    def make_config(self, net: "PreTrainedModel") -> "PeftConfig":
        """Make the config; feed-forward modules must be among the targets."""
        from peft import IA3Config

        targets = list(("k_proj", "v_proj", "down_proj") if self.target_modules is None else self.target_modules)
        given = self.feedforward_modules
        forward = [name for name in ("down_proj",) if name in targets] if given is None else list(given)
        if not set(forward) <= set(targets):
            raise InputError(f"`feedforward_modules` is {forward}; expected names out of `target_modules`, {targets}.")
        return IA3Config(
            target_modules=targets, feedforward_modules=forward, init_ia3_weights=True, task_type="CAUSAL_LM"
        )


def merge_peft(net: nn.Module) -> "PreTrainedModel":
    """Return the model that PEFT wraps, with the adapter in its weights; ``net`` is used up.

    Input and output embeddings that share a weight get two where an adapter changes what one of them puts out.

    Raises:
        InputError: if PEFT can't merge it, or the merged model says something else.
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


@torch.no_grad()
def probe(net: nn.Module) -> Tensor:
    """Return a model's logits on a few tokens, in evaluation mode; the modes are left as they were."""
    inner, modes = inner_model(net), {module: module.training for module in net.modules()}
    tokens = torch.arange(8, device=inner.device).unsqueeze(0) % inner.get_input_embeddings().weight.shape[0]
    logits: Tensor = net.eval()(input_ids=tokens).logits.float()
    for module, mode in modes.items():
        module.training = mode
    return logits


def check_merged(expected: Tensor, merged: "PreTrainedModel", what: str) -> None:
    """Refuse a merged model that says something else than it did before: it must not be exported in silence.

    Raises:
        InputError: if ``expected``, which ``probe`` gave, is not what the merged model gives.
    """
    tolerance = (1e-4 if merged.dtype == torch.float32 else 5e-2) * max(1.0, float(expected.abs().max()))
    if not torch.allclose(expected, probe(merged), rtol=0.0, atol=tolerance):
        raise InputError(f"{what} can't be merged into {type(merged).__name__} exactly: keep base and adapter apart.")


def _is_lora(net: nn.Module) -> bool:
    """Tell whether all that PEFT put into ``net`` is plain LoRA from a start at zero."""
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
    """Refuse a name that no module bears; PEFT passes over it in silence as long as another one fits."""
    if targets is None or isinstance(targets, str):  # a default or a pattern: PEFT's to judge
        return
    names = [name for name, _ in net.named_modules()]
    wrong = sorted(each for each in targets if not any(name == each or name.endswith(f".{each}") for name in names))
    if wrong:
        scope = [module for layer in decoder_layers(net) for module in layer.named_modules()]
        known = sorted({name.rpartition(".")[2] for name, part in scope if name and not list(part.children())})
        kind = type(inner_model(net)).__name__
        raise InputError(f"`target_modules`: {kind} has no {', '.join(wrong)}; its layers have {', '.join(known)}.")


@contextlib.contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Draw random numbers from ``seed`` inside, and leave the global streams as they were."""
    devices = list(range(torch.cuda.device_count())) if torch.cuda.is_available() else []
    with torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield


def _line(err: Exception) -> str:
    return " ".join(str(err).split()).rstrip(".")[:300]
