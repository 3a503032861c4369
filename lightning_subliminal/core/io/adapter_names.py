"""Names of the two files of an adapter's folder: PEFT's names only if PEFT itself can open them."""

from pathlib import Path
from typing import NamedTuple

__all__ = ["OWN_FILES", "PEFT_FILES", "AdapterFiles", "adapter_files", "holds_model", "is_adapter_file"]


class AdapterFiles(NamedTuple):
    """Names of an adapter's two files."""

    config: str
    weights: str


PEFT_FILES = AdapterFiles("adapter_config.json", "adapter_model.safetensors")
# PEFT raises a KeyError for an unknown type, and transformers looks for its base on the hub.
OWN_FILES = AdapterFiles("subliminal_adapter.json", "subliminal_adapter.safetensors")


def adapter_files(folder: Path) -> AdapterFiles | None:
    """Return the names of the adapter's files in ``folder``; None if it holds no adapter.

    Earlier versions wrote all adapters under PEFT's names.
    """
    return next((names for names in (OWN_FILES, PEFT_FILES) if (folder / names.config).is_file()), None)


def holds_model(folder: Path) -> bool:
    """Return whether a folder holds a model: an adapter, or whole weights."""
    return adapter_files(folder) is not None or (folder / "config.json").is_file()


def is_adapter_file(name: str) -> bool:
    """Return whether a file of this name belongs to an adapter, even in the folder of a whole model."""
    return name.startswith(("adapter_", *OWN_FILES))
