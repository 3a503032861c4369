"""Adapter files: write, read and check an adapter's tensors and config."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.adapter_names import OWN_FILES, PEFT_FILES, AdapterFiles, adapter_files
from lightning_subliminal.core.io.files import atomically, read_json
from lightning_subliminal.core.io.lfs import refuse_pointer

__all__ = ["check_same", "read_adapter", "write_adapter"]

_KNOWN = (OWN_FILES, PEFT_FILES)


def write_adapter(folder: Path, state: Mapping[str, Tensor], config: Mapping[str, Any], files: AdapterFiles) -> None:
    """Write tensors and config, each file atomically; the same values give the same bytes.

    Files of an adapter under other names are removed: a folder holds one adapter.

    Raises:
        InputError: if the folder can't be written.
    """
    from safetensors.torch import save

    data = save({name: value.detach().cpu().contiguous() for name, value in sorted(state.items())}, {"format": "pt"})
    text = json.dumps(dict(config), indent=2, sort_keys=True, default=str) + "\n"
    atomically(folder / files.weights, lambda temporary: temporary.write_bytes(data))
    atomically(folder / files.config, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    for name in {*OWN_FILES, *PEFT_FILES} - {*files}:
        (folder / name).unlink(missing_ok=True)


def read_adapter(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read tensors and config.

    Raises:
        InputError: if a file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    files = adapter_files(folder)
    if files is None or not (folder / files.weights).is_file():
        known = " or ".join(f"{each.config} and {each.weights}" for each in ((files,) if files else _KNOWN))
        raise InputError(f"{folder} holds no adapter: expected {known}.")
    refuse_pointer(folder / files.weights)
    try:
        config = read_json(folder / files.config)
        state = load_file(folder / files.weights)
    except (OSError, ValueError, SafetensorError) as err:
        raise InputError(f"The adapter in {folder} is damaged ({err}): train it again or copy it again.") from err
    if not isinstance(config, dict):
        raise InputError(f"The adapter in {folder} is damaged ({files.config} is not a JSON object): copy it again.")
    return state, config


def check_same(saved: Mapping[str, Tensor], own: Mapping[str, Tensor], folder: Path) -> None:
    """Check that saved tensors have the names and shapes of those that they replace.

    Raises:
        InputError: naming the first difference.
    """
    advice = "set the base and the settings of its training."
    odd = sorted(saved.keys() ^ own.keys())
    if odd:
        where = "the file" if odd[0] in saved else "the model"
        raise InputError(
            f"The adapter in {folder} doesn't fit: {odd[0]} is only in {where} ({len(odd)} in all); {advice}"
        )
    for name, value in own.items():
        if saved[name].shape != value.shape:
            raise InputError(
                f"The adapter in {folder} doesn't fit: {name} has shape {tuple(saved[name].shape)}, here "
                f"{tuple(value.shape)}; {advice}"
            )
