"""Devices, pipes, sockets and sparse files: refused as inputs, and written to but never replaced as outputs."""

import errno
import os
import re
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from lightning_subliminal.core.errors import InputError

__all__ = ["CAREFUL", "has_holes", "is_special", "refuse_special", "write_through"]

_KINDS = (
    *((stat.S_ISFIFO, "a FIFO"), (stat.S_ISSOCK, "a socket"), (stat.S_ISDIR, "a folder")),
    *((stat.S_ISCHR, "a character device"), (stat.S_ISBLK, "a block device")),
)
CAREFUL = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOCTTY", 0)
_OWN = re.compile(r"/dev/(?:fd/(\d+)|stdin|stdout|stderr)|/proc/self/fd/(\d+)")
_STANDARD = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}


def refuse_special(path: Path, mode: int) -> None:
    """Raise an InputError if a file's mode is that of a device, a pipe, a socket or a folder."""
    kind = next((kind for test, kind in _KINDS if test(mode)), None)
    if kind is not None:
        raise InputError(f"{path} can't be read: it is {kind}, not a regular file.")


def has_holes(number: int, status: os.stat_result) -> bool:
    """Return whether most of a file was never written; False if the file system can't report that."""
    if not hasattr(os, "SEEK_HOLE") or status.st_blocks * 512 > status.st_size // 2:
        return False
    try:
        return os.lseek(number, 0, os.SEEK_HOLE) < status.st_size
    except OSError:
        return False
    finally:
        os.lseek(number, 0, os.SEEK_SET)


def is_special(path: Path) -> bool:
    """Return whether a path is that of a device, a pipe or a socket, or is in /dev or /proc."""
    real = os.path.join(os.path.realpath(path.parent), path.name)
    if real.startswith(("/dev/", "/proc/")) and not real.startswith("/dev/shm/"):  # noqa: S108 - regular files are there
        return True
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def write_through(path: Path, write: Callable[[Path], object]) -> None:
    """Write to a device or a pipe, once the whole content is made."""
    with tempfile.TemporaryDirectory(prefix="subliminal-") as place:
        made = Path(place, "made")
        write(made)
        if made.is_dir():
            raise InputError(f"{path} is not a folder: name a new one.")
        with os.fdopen(_opened_through(path), "wb") as stream, made.open("rb") as source:
            shutil.copyfileobj(source, stream)


def _opened_through(path: Path) -> int:
    """Open a device or a pipe for writing; duplicate a descriptor of this process."""
    name = os.path.abspath(path)
    if own := _OWN.fullmatch(name):
        sys.stdout.flush()
        return os.dup(int(own[1] or own[2] or _STANDARD.get(name, 1)))
    if stat.S_ISBLK(path.stat().st_mode):
        raise InputError(f"{path} is a block device, whose content would be lost: name a file.")
    try:
        number = os.open(path, os.O_WRONLY | CAREFUL)
    except OSError as err:
        if err.errno == errno.ENXIO:
            raise InputError(f"{path} is a FIFO without a reader, or a socket: name a file, or read it first.") from err
        raise
    os.set_blocking(number, True)
    return number
