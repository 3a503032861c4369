"""A base with an adapter: load, save, merge, and rebuild from checkpoints of the trained parameters."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch import Trainer
from torch import Tensor

from lightning_subliminal import bases
from lightning_subliminal.bases.layers import inner_model, towers
from lightning_subliminal.bases.loading import load
from lightning_subliminal.bases.registry import outside_name
from lightning_subliminal.bases.save import save_net
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import constructor_arguments, describe
from lightning_subliminal.core.io.adapter_names import PEFT_FILES
from lightning_subliminal.core.seeds import derive_seed, resolve_seed
from lightning_subliminal.models.adapters.base import Adapter
from lightning_subliminal.models.displacement import language_model_subject
from lightning_subliminal.models.identity import RebuiltModule
from lightning_subliminal.theory.alignment import AlignmentSubject, Displacement, difference

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["AdaptedModel"]


class AdaptedModel(RebuiltModule):
    """A causal language model of which an adapter, or everything, is trained.

    Args:
        base: the model to start from.
        adapter: what is trained; everything if None.
        seed: moves the adapter's start; the global seed if None.
        base_dtype: of the base's frozen weights.
    """

    def __init__(self, base: str, adapter: Adapter | None, seed: int | None, base_dtype: str) -> None:
        super().__init__()
        bases.resolve(base)  # an unknown name fails before any work
        self.base = base
        self.adapter = adapter
        self.seed = seed
        self.base_dtype = base_dtype
        self.net: Any = None
        self.tokenizer: Any = None  # a PreTrainedTokenizerBase, once configure_model has run
        self._files: str | None = None  # digest of the base's files, as they were when the net was loaded
        self._start: dict[str, Tensor] = {}  # initial values, for `displacement`
        self.strict_loading = False  # checkpoints hold the trained parameters alone

    def fresh(self, **changes: Any) -> "Self":
        """Return an untrained module with the same arguments except ``changes``."""
        return type(self)(**constructor_arguments(self) | changes)

    def forward(self, *arguments: Any, **named: Any) -> Any:
        """Call the net, as ``transformers`` does: ``model(input_ids=...)``."""
        self.configure_model()
        return self.net(*arguments, **named)

    def configure_model(self) -> None:
        """Load the base and attach the adapter; Lightning calls this more than once."""
        if self.net is not None:
            return
        self._files = bases.resolve(self.base).identity
        net, self.tokenizer = load(self.base, dtype=getattr(torch, self.base_dtype))
        if self.adapter is not None:
            net = self.adapter.attach(net, derive_seed(resolve_seed(self.seed), "adapter"))
            self._start = self.adapter.start(net)
        for name in towers(net) if self.adapter is None else ():
            net.get_submodule(name).requires_grad_(False)  # rows of text would not train it
        self.net = net.train()

    def displacement(self) -> Displacement:
        """Return the change of the base's weights since the start, by name, for any adapter."""
        if self.adapter is None and not self._start:
            net, _ = load(self.base, dtype=getattr(torch, self.base_dtype))
            self._start = dict(net.named_parameters())
        self._start = {name: value.detach().to(self.device) for name, value in self._start.items()}
        if self.adapter is not None:
            return self.adapter.displacement(self.net, self._start)
        return {name: difference(value, self._start[name]) for name, value in inner_model(self.net).named_parameters()}

    def forget_start(self) -> None:
        """Free the initial values if they are a whole model; ``displacement`` loads them again."""
        self._start = self._start if self.adapter is not None else {}

    def alignment_subject(self, trainer: Trainer, teacher: Any = None) -> AlignmentSubject | None:
        """Return what ``AlignmentTracker`` compares: this module and ``teacher``, or the teacher of its rows."""
        return language_model_subject(self, trainer, teacher)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep only the trained parameters; the base is loaded by its name."""
        super().on_save_checkpoint(checkpoint)
        trained = {name for name, parameter in self.named_parameters() if parameter.requires_grad}
        checkpoint["state_dict"] = {name: value for name, value in checkpoint["state_dict"].items() if name in trained}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse a checkpoint of another base or adapter, whose weights would be ignored without a warning.

        Raises:
            InputError: naming what differs, and what to set instead.
        """
        self.check_identity(checkpoint)
        self.configure_model()  # before Lightning loads the weights into it
        names = {name for name, _ in self.named_parameters()}
        if lost := sorted(set(checkpoint["state_dict"]) - names):
            raise InputError(
                f"The checkpoint has weights that this {type(self).__name__} lacks ({lost[0]} and {len(lost) - 1} "
                "more): load it with the `base` and `adapter` that it was trained with."
            )

    def identity(self) -> dict[str, Any]:
        """Return what a checkpoint's weights belong to, as plain data."""
        loaded = self._files if self.net is not None else None  # even if the files have changed since
        base = {"base": self.base, "files": loaded or bases.resolve(self.base).identity}
        return super().identity() | base | {"base_dtype": self.base_dtype, "adapter": describe(self.adapter)}

    def save(self, folder: Path) -> None:
        """Save the adapter, or the whole net if there is none, as safetensors.

        PEFT's files name the base so that PEFT can open it: by its hub id, or by its folder's path.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if self.adapter is not None:
            by_peft = self.adapter.files == PEFT_FILES
            self.adapter.save(self.net, folder, outside_name(self.base) if by_peft else self.base)
        else:
            save_net(self.net, folder)
            self.tokenizer.save_pretrained(folder)

    def load(self, folder: Path) -> None:
        """Load weights that ``save`` wrote."""
        self.configure_model()
        if self.adapter is not None:
            self.adapter.load(self.net, folder)
        else:
            net, _ = load(str(folder), dtype=getattr(torch, self.base_dtype))
            self.net.load_state_dict(net.state_dict())

    def export(self, folder: Path) -> None:
        """Save the whole model, adapter merged, for ``AutoModelForCausalLM.from_pretrained``."""
        net = self.adapter.merge(self.net) if self.adapter is not None else self.net
        save_net(net, folder)
        self.tokenizer.save_pretrained(folder)
