"""An adapter as two files, in PEFT's names: ``adapter_model.safetensors`` and ``adapter_config.json``."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from lightning_subliminal.errors import InputError
from lightning_subliminal.rows import atomically

__all__ = ["check_same", "read_adapter", "write_adapter"]

CONFIG_FILE = "adapter_config.json"
WEIGHTS_FILE = "adapter_model.safetensors"


def write_adapter(folder: Path, state: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    """Write tensors and config, each file atomically; the same values give the same bytes.

    Raises:
        InputError: if the folder can't be written.
    """
    from safetensors.torch import save

    data = save({name: value.detach().cpu().contiguous() for name, value in sorted(state.items())}, {"format": "pt"})
    text = json.dumps(dict(config), indent=2, sort_keys=True, default=str) + "\n"
    atomically(folder / WEIGHTS_FILE, lambda temporary: temporary.write_bytes(data))
    atomically(folder / CONFIG_FILE, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def read_adapter(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read tensors and config.

    Raises:
        InputError: if a file is missing or damaged.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        config = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8"))
        state = load_file(folder / WEIGHTS_FILE)
    except FileNotFoundError as err:
        raise InputError(f"{folder} holds no adapter: expected {CONFIG_FILE} and {WEIGHTS_FILE}.") from err
    except (OSError, ValueError, SafetensorError) as err:
        raise InputError(f"The adapter in {folder} is damaged ({err}): train it again or copy it anew.") from err
    if not isinstance(config, dict):
        raise InputError(f"The adapter in {folder} is damaged ({CONFIG_FILE} is no object): copy it anew.")
    return state, config


def check_same(saved: Mapping[str, Tensor], own: Mapping[str, Tensor], folder: Path) -> None:
    """Check that saved tensors have the names and shapes of those that they shall replace.

    Raises:
        InputError: naming the first that differs.
    """
    advice = "set the base and the settings that it was trained with."
    odd = sorted(saved.keys() ^ own.keys())
    if odd:
        where = "the file" if odd[0] in saved else "the model"
        raise InputError(
            f"The adapter in {folder} doesn't fit: {odd[0]} is only in {where} ({len(odd)} such); {advice}"
        )
    for name, value in own.items():
        if saved[name].shape != value.shape:
            raise InputError(
                f"The adapter in {folder} doesn't fit: {name} has shape {tuple(saved[name].shape)}, here "
                f"{tuple(value.shape)}; {advice}"
            )
