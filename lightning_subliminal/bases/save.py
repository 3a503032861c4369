"""Writes whole models with transformers, quietly, for whoever may read the other files of the folder."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["quiet_transformers", "save_net"]


def save_net(net: Any, folder: Path) -> None:
    """Write a model's weights and settings; safetensors writes for the owner alone, and a folder may be shared."""
    with quiet_transformers():
        net.save_pretrained(folder)
    for weights in folder.glob("*.safetensors"):
        weights.chmod((folder / "config.json").stat().st_mode)


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Keep transformers from drawing its own progress bars into ours."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
