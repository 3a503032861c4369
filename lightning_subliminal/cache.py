"""Where artefacts are kept: one folder each, named by the digest of all that shaped it."""

import os
from pathlib import Path

from lightning_subliminal.errors import InputError

__all__ = ["cache_root", "writable_folder"]


def cache_root(folder: str | Path | None = None) -> Path:
    """Give the cache: ``folder``, else ``$LIGHTNING_SUBLIMINAL_CACHE``, else ``~/.cache/lightning-subliminal``."""
    if folder is not None:
        return Path(folder)
    named = os.environ.get("LIGHTNING_SUBLIMINAL_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "lightning-subliminal"


def writable_folder(path: Path) -> Path:
    """Make a folder and try to write there, before any work is done.

    Raises:
        InputError: if the folder can't be made or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as err:
        raise InputError(
            f"The cache {path} can't be written ({err.strerror}): set LIGHTNING_SUBLIMINAL_CACHE to a folder that can."
        ) from err
    return path
