"""The cache of artefacts: where it is, which runs use it, and locks on its folders."""

import contextlib
import os
import stat
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from lightning_subliminal.core.errors import InputError

__all__ = ["cache_root", "holding", "is_mine", "known_runs", "note_run", "writable_folder"]

_LOOKED_AT: set[str] = set()  # caches of this process, so that each warning is printed once
_RUNS = "runs.txt"  # folders of the runs that this cache was made for, a line each


def cache_root(folder: str | Path | None = None) -> Path:
    """Return the cache: ``folder``, else ``$LIGHTNING_SUBLIMINAL_CACHE``, else ``~/.cache/lightning-subliminal``."""
    named = os.environ.get("LIGHTNING_SUBLIMINAL_CACHE") if folder is None else str(folder)
    root = Path(named) if named else Path.home() / ".cache" / "lightning-subliminal"
    if str(root) not in _LOOKED_AT and root.is_dir():
        _LOOKED_AT.add(str(root))
        if (others := _writers(root.stat())) is not None:
            print(
                f"warning: the cache {root} {others}, who can change what is trained on: set "
                "LIGHTNING_SUBLIMINAL_CACHE to a folder that only you may write.",
                file=sys.stderr,
                flush=True,
            )
    return root


def _writers(status: os.stat_result) -> str | None:
    """Describe who else may write to a folder; None if only this user and root may."""
    if os.name != "posix":
        return None
    if status.st_uid not in (0, os.getuid()):
        return f"belongs to another user (uid {status.st_uid})"
    if status.st_mode & stat.S_IWOTH:
        return "may be written by every user"
    if not status.st_mode & stat.S_IWGRP:
        return None
    import grp
    import pwd

    with contextlib.suppress(KeyError):  # a group of one's own, which many systems give each user
        me, group = pwd.getpwuid(os.getuid()), grp.getgrgid(status.st_gid)
        if status.st_gid == me.pw_gid and group.gr_name == me.pw_name and not {*group.gr_mem} - {me.pw_name}:
            return None
    return f"may be written by its group (gid {status.st_gid})"


def is_mine(status: os.stat_result) -> bool:
    """Return whether only this user may have written a file."""
    return os.name != "posix" or (status.st_uid == os.getuid() and not status.st_mode & 0o022)


def note_run(folder: Path) -> None:
    """Record a run's folder in the cache, so that ``cache clean`` keeps what the run uses."""
    place = str(folder.absolute())
    if place in map(str, known_runs()) or "\n" in place:
        return
    with contextlib.suppress(OSError):  # a cache that can't be written is reported when an artefact is stored
        path = cache_root() / _RUNS
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8", errors="surrogateescape") as stream:
            stream.write(f"{place}\n")


def known_runs() -> list[Path]:
    """Return the folders of the runs that ``note_run`` recorded and that still exist."""
    try:
        lines = (cache_root() / _RUNS).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return []
    return [Path(line) for line in dict.fromkeys(lines) if Path(line).is_dir()]


@contextlib.contextmanager
def holding(lock: Path, wait: bool = True) -> Iterator[bool]:
    """Hold a lock, and yield whether it is held. Only its holder may delete its file.

    A lock is on a file, not on its name: a process that waited for a file which was deleted meanwhile holds a lock that
    no other process sees. So the name is checked once the lock is held, and the new file is locked instead.

    Args:
        lock: the lock's file, created if it is missing.
        wait: whether to wait for another holder; else yield False.

    Raises:
        InputError: if the file can't be opened, or a link is in its place.
    """
    try:
        import fcntl
    except ImportError:  # Windows: if two runs make a stage, the last one wins; a lock file that exists may be held
        yield wait or not lock.exists()
        return
    flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    while True:
        try:
            held = os.open(lock, flags, 0o666)
        except OSError as err:
            raise InputError(f"The lock {lock} can't be held ({err.strerror}): delete it if no run uses it.") from err
        try:
            fcntl.flock(held, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(held), os.lstat(lock)):
                    yield True
                    return
        except BlockingIOError:
            yield False
            return
        finally:
            os.close(held)


def writable_folder(path: Path, keep: bool = True) -> Path:
    """Create a folder and check that it can be written; without ``keep``, remove it again if it is new.

    Raises:
        InputError: if the folder can't be created or written.
    """
    missing = [] if keep else [each for each in (path, *path.parents) if not each.exists()]
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path, prefix=".probe-"):
            pass
    except OSError as err:
        what, remedy = "", "choose a folder that you may write"
        if keep:
            what, remedy = "The cache ", "set LIGHTNING_SUBLIMINAL_CACHE to a folder that can"
        raise InputError(f"{what}{path} can't be written ({err.strerror}): {remedy}.") from err
    with contextlib.suppress(OSError):  # another process may have started to write there
        for each in missing:
            each.rmdir()
    return path
