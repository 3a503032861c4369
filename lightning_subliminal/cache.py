"""Where artefacts are kept: one folder each, named by the digest of all that shaped it."""

import contextlib
import os
from pathlib import Path

from lightning_subliminal.errors import InputError

__all__ = ["cache_root", "known_runs", "note_run", "writable_folder"]

_RUNS = "runs.txt"  # folders of the runs that this cache was made for, a line each


def cache_root(folder: str | Path | None = None) -> Path:
    """Give the cache: ``folder``, else ``$LIGHTNING_SUBLIMINAL_CACHE``, else ``~/.cache/lightning-subliminal``."""
    if folder is not None:
        return Path(folder)
    named = os.environ.get("LIGHTNING_SUBLIMINAL_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "lightning-subliminal"


def note_run(folder: Path) -> None:
    """Note in the cache that a run needs it, so that ``cache clean`` knows runs wherever they are."""
    place = str(folder.absolute())
    if place in map(str, known_runs()) or "\n" in place:
        return
    with contextlib.suppress(OSError):  # a cache that can't be written is told of where something must be kept in it
        path = cache_root() / _RUNS
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8", errors="surrogateescape") as stream:
            stream.write(f"{place}\n")


def known_runs() -> list[Path]:
    """Return the folders that ``note_run`` was given, those that are gone left out."""
    try:
        lines = (cache_root() / _RUNS).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []
    return [Path(line) for line in dict.fromkeys(lines) if Path(line).is_dir()]


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
