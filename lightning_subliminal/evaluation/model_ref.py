"""A reference to any model: a base by its name, a folder with an adapter or a whole model, or a net in memory."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lightning_subliminal import bases
from lightning_subliminal.bases.folders import has_tokenizer, has_whole_weights, model_files
from lightning_subliminal.core.console import say
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import file_digest
from lightning_subliminal.core.io.adapter_names import adapter_files, holds_model, is_adapter_file
from lightning_subliminal.core.rows import Message
from lightning_subliminal.evaluation.adapter_folder import adapter_base, hub_adapter, other_base, with_adapter
from lightning_subliminal.evaluation.probes.question_file import system_first

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["DTYPES", "ModelRef", "find_model"]

DTYPES = ("float32", "bfloat16", "float16")


@dataclass
class ModelRef:
    """A model that is measured: where its files are and what they hold, loaded when it is asked.

    Attributes:
        name: what tables call it.
        base: the base that it is, or that its adapter stands on.
        folder: where the adapter is; None where there is none.
        digest: of all files that shape it, of the system prompt, and of a dtype other than float32.
        system_prompt: what it hears before each question.
        dtype: what its weights are loaded in.
        is_found: whether its digest is of files that lie there, as ``find_model`` makes it, and can be made again.
    """

    name: str
    base: str
    folder: Path | None
    digest: dict[str, Any]
    system_prompt: str | None = None
    net: Any = None
    tokenizer: "PreTrainedTokenizerBase | Any" = None
    is_found: bool = False
    dtype: str = "float32"

    @classmethod
    def held(
        cls, name: str, net: Any, tokenizer: Any, base: str = "in memory", system_prompt: str | None = None
    ) -> "ModelRef":
        """Return a model that is loaded already; its scores are not kept."""
        return cls(name, base, None, {}, system_prompt, net, tokenizer)

    def load(self, device: torch.device) -> "ModelRef":
        """Load it onto a device, and return it."""
        if self.net is not None:
            return self
        net, self.tokenizer = bases.load(self.base, dtype=getattr(torch, self.dtype))
        if self.folder is not None:
            if has_tokenizer(self.folder):
                self.tokenizer = bases.load_tokenizer(self.folder, self.base)
            net = with_adapter(net, self.folder)
            bases.fit_tokenizer(net, self.tokenizer, self.name)
        self.check_same()
        self.net = net.to(device).eval()
        return self

    def check_same(self) -> None:
        """Check that the files are those that were found, so that what is measured is said of them and no others.

        Raises:
            InputError: if one was changed since.
        """
        if self.is_found and _shaping(self.base, self.folder, self.system_prompt, self.dtype) != self.digest:
            place = self.folder or self.base
            raise InputError(f"{self.name}: files of {place} or of its base were changed meanwhile: measure it again.")

    def release(self) -> None:
        """Free the model's memory; ``load`` loads it again."""
        self.net = self.tokenizer = None

    def hear(self, prompt: list[Message]) -> list[Message]:
        """Return a prompt as this model hears it; a system prompt of the prompt's own follows in the same message."""
        return system_first(prompt, self.system_prompt)


def find_model(place: str, system_prompt: str | None = None, dtype: str = "float32") -> ModelRef:
    """Find a model, without loading it.

    Args:
        place: a base's name, a local folder, a hub id; a folder with an adapter that this package or PEFT saved, such
            as the ``student`` of a run; or the run's folder itself. ``NAME=PLACE`` gives it a name for tables.
        system_prompt: what it hears before each question.
        dtype: what its weights are loaded in: float32, bfloat16 or float16; scores of each are kept apart.

    Raises:
        InputError: if there is no such model, or the dtype is unknown.
    """
    if dtype not in DTYPES:
        raise InputError(f"`dtype` is {dtype!r}: expected one of {', '.join(DTYPES)}.")
    name, equals, where = place.partition("=")
    if not equals or "+noise" in name or "?" in name or Path(place).expanduser().exists():
        name = where = place  # a folder may be called lr=0.1
    folder = Path(where).expanduser()
    if (folder / "student").is_dir() and holds_model(folder / "student"):
        if holds_model(folder):
            say(f"model     {folder} holds a model and a student/: the model is read; {folder}/student is the other")
        else:
            folder, where = folder / "student", str(folder / "student")
    if adapter_files(folder) is None or has_whole_weights(folder):
        try:
            shaped = _shaping(where, None, system_prompt, dtype)
            return ModelRef(name, where, None, shaped, system_prompt, is_found=True, dtype=dtype)
        except InputError:
            if (copy := hub_adapter(where)) is None:
                raise
            folder = copy
    own = adapter_base(folder)
    if other := other_base(folder, own):
        say(f"WARNING   {folder}: {other}")
    shaped = _shaping(own, folder, system_prompt, dtype)
    return ModelRef(name, own, folder, shaped, system_prompt, is_found=True, dtype=dtype)


def _shaping(base: str, folder: Path | None, system_prompt: str | None, dtype: str) -> dict[str, Any]:
    """Return the digests of all that shapes a model: its base, an adapter, a system prompt and a dtype."""
    shaped: dict[str, Any] = {"base": bases.resolve(base).identity, "system_prompt": system_prompt}
    shaped |= {} if dtype == "float32" else {"dtype": dtype}  # which alone there was at first
    if folder is not None:
        shaped |= {each: file_digest(folder / each) for each in _adapter_names(folder)}
        shaped |= {file: file_digest(path) for file, path in model_files(folder).items()}  # a tokenizer of its own
    return shaped


def _adapter_names(folder: Path) -> list[str]:
    """Return the names of the files that may shape what an adapter does; PEFT's kinds have more than two."""
    return sorted(path.name for path in folder.iterdir() if is_adapter_file(path.name) and path.is_file())
