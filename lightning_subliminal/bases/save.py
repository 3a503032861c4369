"""Save whole models with transformers, make a base in the cache once, and silence progress bars."""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from lightning_subliminal.bases.folders import model_files
from lightning_subliminal.core.cache import writable_folder
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.lineage import Material, write_record

__all__ = ["make_once", "quiet_transformers", "save_net"]


def make_once(
    folder: Path,
    name: str,
    write: Callable[[Path], object],
    settings: Mapping[str, Any],
    source: Callable[[], Material],
) -> Path:
    """Return a base's folder in the cache; if it is missing, make it first, in one process, with its lineage.

    Args:
        folder: the folder.
        name: the user's name of the base.
        write: writes the model's files into the existing folder that it is given.
        settings: the settings of the lineage record.
        source: returns what the base is made from.

    Raises:
        InputError: if the folder can't be written.
    """
    from filelock import FileLock

    if (folder / "config.json").is_file():
        return folder
    parent = writable_folder(folder.parent)
    with FileLock(parent / f".{folder.name}.lock"):  # the first of several processes writes, the others wait
        if not (folder / "config.json").is_file():
            half = parent / f".{folder.name}.part"
            shutil.rmtree(half, ignore_errors=True)  # from a run that was killed
            try:
                half.mkdir()
                write(half)
                write_record(half, "base", dict(settings), [source()], files=list(model_files(half)))
                os.replace(half, folder)
            except OSError as err:
                raise InputError(
                    f"Base {name!r} can't be written to {folder} ({err.strerror or err}): free space there, or set "
                    "LIGHTNING_SUBLIMINAL_CACHE to a folder with room."
                ) from err
            finally:
                shutil.rmtree(half, ignore_errors=True)
    return folder


def save_net(net: Any, folder: Path) -> None:
    """Save a model's weights and settings; safetensors gives only the owner access, and a folder may be shared."""
    with quiet_transformers():
        net.save_pretrained(folder)
    for weights in folder.glob("*.safetensors"):
        weights.chmod((folder / "config.json").stat().st_mode)


@contextlib.contextmanager
def quiet_transformers() -> Iterator[None]:
    """Disable the progress bars of transformers inside, which would break ours."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()
