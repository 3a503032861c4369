"""What the two files of an adapter's folder are called: PEFT's names are for what PEFT itself can open."""

from pathlib import Path
from typing import NamedTuple

__all__ = ["OWN_FILES", "PEFT_FILES", "AdapterFiles", "adapter_files", "is_adapter_file"]


class AdapterFiles(NamedTuple):
    """Names of an adapter's two files."""

    config: str
    weights: str


PEFT_FILES = AdapterFiles("adapter_config.json", "adapter_model.safetensors")
# PEFT ends in a KeyError at a kind that it does not know, and transformers looks for its base at a hub.
OWN_FILES = AdapterFiles("subliminal_adapter.json", "subliminal_adapter.safetensors")


def adapter_files(folder: Path) -> AdapterFiles | None:
    """Return the names of the adapter's files in ``folder``; None if it holds no adapter.

    Folders of earlier versions have all adapters under PEFT's names.
    """
    return next((names for names in (OWN_FILES, PEFT_FILES) if (folder / names.config).is_file()), None)


def is_adapter_file(name: str) -> bool:
    """Return whether a file of this name belongs to an adapter, whatever model lies beside it."""
    return name.startswith(("adapter_", *OWN_FILES))
