"""A model that is measured: a base by its name, a folder with an adapter, or a folder with a whole model."""

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lightning_subliminal import bases
from lightning_subliminal.bases.folders import has_whole_weights, model_files
from lightning_subliminal.bases.hub import is_hub_id
from lightning_subliminal.console import say
from lightning_subliminal.describe import file_digest
from lightning_subliminal.errors import InputError
from lightning_subliminal.experiments.questions import system_first
from lightning_subliminal.rows import Message

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
    """

    name: str
    base: str
    folder: Path | None
    digest: dict[str, Any]
    system_prompt: str | None = None
    net: Any = None
    tokenizer: "PreTrainedTokenizerBase | Any" = None

    def load(self, device: torch.device, dtype: torch.dtype = torch.float32) -> "Subject":
        """Load it onto a device; give it back."""
        if self.net is not None:
            return self
        net, self.tokenizer = bases.load(self.base, dtype=dtype)
        if self.folder is not None:
            if _has_tokenizer(self.folder):
                self.tokenizer = bases.load_tokenizer(self.folder, self.base)
            net = _with_adapter(net, self.folder)
            bases.fit_tokenizer(net, self.tokenizer, self.name)
        self.net = net.to(device).eval()
        return self

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
    if any((folder / "student" / file).is_file() for file in ("adapter_config.json", "config.json")):
        folder, where = folder / "student", str(folder / "student")
    if not (folder / "adapter_config.json").is_file() or has_whole_weights(folder):
        base = bases.resolve(where)
        return Subject(name, where, None, {"base": base.identity, "system_prompt": system_prompt}, system_prompt)
    try:
        config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
        own = str(config["base_model_name_or_path"])
    except (OSError, ValueError, KeyError, TypeError) as err:
        raise InputError(f"The adapter in {folder} names no base (adapter_config.json): copy it anew.") from err
    own = _at_revision(own, config)
    shaped = {"base": bases.resolve(own).identity, "system_prompt": system_prompt}
    shaped |= {file.name: file_digest(file) for file in sorted(folder.glob("adapter*")) if file.is_file()}
    shaped |= {file.name: file_digest(file) for file in model_files(folder)}  # a tokenizer of its own
    return Subject(name, own, folder, shaped, system_prompt)


def _at_revision(base: str, config: dict[str, Any]) -> str:
    """Return the base at the revision that the adapter was trained on, as PEFT itself loads it."""
    revision = config.get("revision")
    named = base in bases.available() or "@" in base or Path(base).expanduser().exists()
    if named or not isinstance(revision, str) or revision in ("", "main") or not is_hub_id(base):
        return base
    return f"{base}@{revision}"


def _has_tokenizer(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model", "vocab.json"))


def _grow(net: Any, folder: Path) -> None:
    """Give a base as many embeddings as the adapter has: its training may have added tokens.

    Raises:
        InputError: if new rows would stay as they are drawn, since the adapter does not hold them.
    """
    from safetensors import safe_open

    own = {"input": net.get_input_embeddings().weight, "output": net.get_output_embeddings().weight}
    every = list(net.named_parameters(remove_duplicate=False))
    names = {each: {name for name, value in every if value is own[each]} for each in own}
    held: dict[str, int] = {}
    with safe_open(folder / "adapter_model.safetensors", "pt") as file:
        for key in file.keys():  # noqa: SIM118 - it is no mapping
            for each, known in names.items():
                if any(key.endswith(name) for name in known):
                    held[each] = file.get_slice(key).get_shape()[0]
    rows = own["input"].shape[0]
    wanted = held.get("input", held.get("output", rows))
    if wanted == rows:
        return
    tied = own["input"] is own["output"]
    if not tied and set(held) != {"input", "output"}:
        lacking = "output" if "input" in held else "input"
        raise InputError(
            f"The adapter in {folder} has {wanted} embeddings and its base {rows}, but it does not hold the {lacking} "
            "embeddings: save it again with both in `modules_to_save`."
        )
    net.resize_token_embeddings(wanted, mean_resizing=False)
    say(f"adapter   {folder} has {wanted} embeddings, its base {rows}: the base is resized, as PEFT does")


def _with_adapter(net: Any, folder: Path) -> Any:
    config = json.loads((folder / "adapter_config.json").read_text(encoding="utf-8"))
    if config.get("peft_type") == "STEERING":
        from lightning_subliminal.models.steering import Steering

        layers = config.get("layers")
        if not isinstance(layers, list) or not all(isinstance(layer, int) for layer in layers):
            raise InputError(f"The adapter in {folder} names no `layers` (adapter_config.json): copy it anew.")
        adapter = Steering(layers)
        steered = adapter.attach(net, 0)
        adapter.load(steered, folder)
        return steered
    if not (folder / "adapter_model.safetensors").is_file():  # PEFT would read a pickle, or look for a hub id
        raise InputError(f"The adapter in {folder} has no adapter_model.safetensors: copy it anew.")
    from peft import PeftModel

    try:
        _grow(net, folder)
        with warnings.catch_warnings():
            # or what the file lacks would be measured as it started: as the base
            warnings.filterwarnings("error", "Found missing adapter keys")
            return PeftModel.from_pretrained(net, str(folder))
    except InputError:
        raise
    except Exception as err:  # PEFT, safetensors and torch each raise their own
        told = (str(err).splitlines() or [type(err).__name__])[0][:200]
        raise InputError(f"The adapter in {folder} can't be put on its base ({told}): copy it anew.") from err
