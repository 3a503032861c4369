"""A model that is measured: a base by its name, a folder with an adapter, or a folder with a whole model."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lightning_subliminal import bases
from lightning_subliminal.adapter_names import adapter_files, holds_model, is_adapter_file
from lightning_subliminal.bases.folders import has_tokenizer, has_whole_weights, model_files
from lightning_subliminal.console import say
from lightning_subliminal.describe import file_digest
from lightning_subliminal.errors import InputError
from lightning_subliminal.experiments.questions import system_first
from lightning_subliminal.rows import Message
from lightning_subliminal.suites.adapter_folder import adapter_base, hub_adapter, other_base, with_adapter

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

__all__ = ["Subject", "find_subject"]


@dataclass
class Subject:
    """A model that is measured.

    Attributes:
        name: what tables call it.
        base: the base that it is, or that its adapter stands on.
        folder: where the adapter is; None where there is none.
        digest: of all files that shape it, and of the system prompt.
        system_prompt: what it is told before each question.
        is_found: whether its digest is of files that lie there, as ``find_subject`` makes it, and can be made again.
    """

    name: str
    base: str
    folder: Path | None
    digest: dict[str, Any]
    system_prompt: str | None = None
    net: Any = None
    tokenizer: "PreTrainedTokenizerBase | Any" = None
    is_found: bool = False

    def load(self, device: torch.device, dtype: torch.dtype = torch.float32) -> "Subject":
        """Load it onto a device; give it back."""
        if self.net is not None:
            return self
        net, self.tokenizer = bases.load(self.base, dtype=dtype)
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
        if self.is_found and _shaping(self.base, self.folder, self.system_prompt) != self.digest:
            place = self.folder or self.base
            raise InputError(f"{self.name}: files of {place} or of its base were changed meanwhile: measure it again.")

    def release(self) -> None:
        """Let the model go; ``load`` loads it again."""
        self.net = self.tokenizer = None

    def hear(self, prompt: list[Message]) -> list[Message]:
        """Give a prompt as this model hears it; a system prompt of the prompt's own follows in the same message."""
        return system_first(prompt, self.system_prompt)


def find_subject(place: str, system_prompt: str | None = None) -> Subject:
    """Find a model, without loading it.

    Args:
        place: a base's name, a local folder, a hub id; a folder with an adapter that this package or PEFT saved, such
            as the ``student`` of a run; or the run's folder itself. ``NAME=PLACE`` gives it a name for tables.
        system_prompt: what it is told before each question.

    Raises:
        InputError: if there is no such model.
    """
    name, equals, where = place.partition("=")
    if (
        not equals or "+noise" in name or "?" in name or Path(place).expanduser().exists()
    ):  # a folder may be called lr=0.1
        name = where = place  # a folder may be called lr=0.1
    folder = Path(where).expanduser()
    if (folder / "student").is_dir() and holds_model(folder / "student"):
        if holds_model(folder):
            say(f"model     {folder} holds a model and a student/: the model is read; {folder}/student is the other")
        else:
            folder, where = folder / "student", str(folder / "student")
    if adapter_files(folder) is None or has_whole_weights(folder):
        try:
            shaped = _shaping(where, None, system_prompt)
            return Subject(name, where, None, shaped, system_prompt, is_found=True)
        except InputError:
            if (copy := hub_adapter(where)) is None:
                raise
            folder = copy
    own = adapter_base(folder)
    if other := other_base(folder, own):
        say(f"WARNING   {folder}: {other}")
    return Subject(name, own, folder, _shaping(own, folder, system_prompt), system_prompt, is_found=True)


def _shaping(base: str, folder: Path | None, system_prompt: str | None) -> dict[str, Any]:
    """Return the digests of all that shapes a model: its base, an adapter, and what it is told before each question."""
    shaped: dict[str, Any] = {"base": bases.resolve(base).identity, "system_prompt": system_prompt}
    if folder is not None:
        shaped |= {each: file_digest(folder / each) for each in _adapter_names(folder)}
        shaped |= {file: file_digest(path) for file, path in model_files(folder).items()}  # a tokenizer of its own
    return shaped


def _adapter_names(folder: Path) -> list[str]:
    """Return the names of the files that may shape what an adapter does; PEFT's kinds have more than two."""
    return sorted(path.name for path in folder.iterdir() if is_adapter_file(path.name) and path.is_file())
