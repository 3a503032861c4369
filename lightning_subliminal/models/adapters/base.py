"""The contract of an adapter: the few parameters that are trained while the base stays frozen.

Few matters. What sampled rows reveal of the teacher must exceed the noise that each trained parameter adds, so a small
adapter shows subliminal learning where full fine-tuning of the same model hides it.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from lightning_subliminal.bases.layers import decoder_layers, inner_model
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.adapter_names import OWN_FILES, AdapterFiles
from lightning_subliminal.generation.logits import evaluating
from lightning_subliminal.models.adapters.files import check_same, read_adapter, write_adapter
from lightning_subliminal.theory.alignment import LowRank, difference

if TYPE_CHECKING:
    from transformers import PreTrainedModel

__all__ = ["Adapter", "check_merged", "probe"]


class Adapter(ABC):
    """Trained parameters on top of a frozen base. An adapter object is a recipe: it holds no weights itself.

    To write your own, override the five abstract methods; saving, loading and their checks are inherited. Keep each
    constructor argument under its own name: they are part of each artefact's digest.

    Attributes:
        files: names of the files that ``save`` writes; PEFT's only for adapters that PEFT can open.
    """

    files: ClassVar[AdapterFiles] = OWN_FILES

    @abstractmethod
    def attach(self, net: "PreTrainedModel", seed: int) -> nn.Module:
        """Freeze ``net`` and add the trained parameters, initialised by ``seed`` alone.

        Returns:
            The model to train and call: ``net`` itself, or a wrapper around it.
        """

    @abstractmethod
    def state(self, net: nn.Module) -> dict[str, Tensor]:
        """Return the trained tensors by their names in the file."""

    @abstractmethod
    def restore(self, net: nn.Module, state: dict[str, Tensor]) -> None:
        """Set the tensors that ``state`` returned; names and shapes were checked."""

    @abstractmethod
    def config(self, net: nn.Module, base: str) -> dict[str, Any]:
        """Return the config file's content: ``peft_type`` and ``base_model_name_or_path`` at least."""

    @abstractmethod
    def merge(self, net: nn.Module) -> "PreTrainedModel":
        """Return a copy of the model with the adapter inside its own weights, for ``save_pretrained``.

        The copy needs the memory of a second model; ``net`` stays as it is.

        Raises:
            InputError: if the architecture can't hold it; then keep base and adapter apart.
        """

    def start(self, net: nn.Module) -> dict[str, Tensor]:
        """Return the initial values that ``displacement`` needs; called once, after ``attach``."""
        return {name: value.detach().clone() for name, value in self.state(net).items()}

    def displacement(self, net: nn.Module, start: Mapping[str, Tensor]) -> dict[str, Tensor | LowRank]:
        """Return the change of the base's weights that the trained values amount to.

        By default the change of the trained values themselves, under their own names: these can be compared between
        adapters of the same kind only.

        Args:
            net: as ``attach`` returned it.
            start: as ``start`` returned it.
        """
        return {name: difference(value, start[name]) for name, value in self.state(net).items()}

    def first_trained_layer(self, net: nn.Module) -> int | None:
        """Return the lowest decoder layer whose computation depends on trained parameters; None if unknown."""
        layers = decoder_layers(net)
        trained = {id(value) for value in net.parameters() if value.requires_grad}
        inside = [{id(value) for value in layer.parameters()} & trained for layer in layers]
        if not trained or trained - set().union(*inside):
            return None  # a parameter outside the layers is trained, such as a soft prompt
        return next(index for index, found in enumerate(inside) if found)

    def save(self, net: nn.Module, folder: Path, base: str) -> None:
        """Write the trained values and the adapter's config to ``folder``, each file atomically.

        Args:
            net: as ``attach`` returned it.
            folder: created if it is missing.
            base: name of the base, for ``base_model_name_or_path``.

        Raises:
            InputError: if the folder can't be written.
        """
        write_adapter(folder, self.state(net), self.config(net, base), self.files)

    def load(self, net: nn.Module, folder: Path) -> None:
        """Load saved values into the adapter of ``net``.

        Args:
            net: as ``attach`` of an adapter with the same settings returned it.
            folder: as for ``save``.

        Raises:
            InputError: if the files are missing, damaged, or of another kind or shape of adapter.
        """
        kind = self.config(net, "")["peft_type"]
        saved, config = read_adapter(folder)
        if config.get("peft_type") != kind:
            found = config.get("peft_type")
            raise InputError(f"The adapter in {folder} is {found}, not {kind}: set the adapter that it was saved by.")
        check_same(saved, self.state(net), folder)
        self.restore(net, saved)


def probe(net: nn.Module) -> Tensor:
    """Return a model's logits on a few tokens, in evaluation mode."""
    inner = inner_model(net)
    tokens = torch.arange(8, device=inner.device).unsqueeze(0) % inner.get_input_embeddings().weight.shape[0]
    with evaluating(net):
        logits: Tensor = net(input_ids=tokens).logits.float()
    return logits


def check_merged(expected: Tensor, merged: "PreTrainedModel", what: str) -> None:
    """Check that merging changed no logits.

    Raises:
        InputError: if ``expected``, from ``probe`` before the merge, differs from the merged model's logits.
    """
    tolerance = (1e-4 if merged.dtype == torch.float32 else 5e-2) * max(1.0, float(expected.abs().max()))
    if not torch.allclose(expected, probe(merged), rtol=0.0, atol=tolerance):
        raise InputError(f"{what} can't be merged into {type(merged).__name__} exactly: keep base and adapter apart.")
