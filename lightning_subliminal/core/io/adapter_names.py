"""What the two files of an adapter's folder are called: PEFT's names are for what PEFT itself can open."""

from pathlib import Path
from typing import NamedTuple

__all__ = [
    "MODEL_CONFIGS",
    "OWN_FILES",
    "PEFT_FILES",
    "AdapterFiles",
    "adapter_files",
    "holds_model",
    "is_adapter_file",
]


class AdapterFiles(NamedTuple):
    """Names of an adapter's two files."""

    config: str
    weights: str


PEFT_FILES = AdapterFiles("adapter_config.json", "adapter_model.safetensors")
# PEFT ends in a KeyError at a kind that it does not know, and transformers looks for its base at a hub.
OWN_FILES = AdapterFiles("subliminal_adapter.json", "subliminal_adapter.safetensors")

MODEL_CONFIGS = (OWN_FILES.config, PEFT_FILES.config, "config.json")  # one of them makes a folder a model's


def adapter_files(folder: Path) -> AdapterFiles | None:
    """Return the names of the adapter's files in ``folder``; None if it holds no adapter.

    Folders of earlier versions have all adapters under PEFT's names.
    """
    return next((names for names in (OWN_FILES, PEFT_FILES) if (folder / names.config).is_file()), None)


def holds_model(folder: Path) -> bool:
    """Return whether a folder holds a model: an adapter, or whole weights."""
    return any((folder / name).is_file() for name in MODEL_CONFIGS)


def is_adapter_file(name: str) -> bool:
    """Return whether a file of this name belongs to an adapter, whatever model lies beside it."""
    return name.startswith(("adapter_", *OWN_FILES))
