"""Files of other people, opened so that none hangs or fills the memory; and files written whole or not at all.

A name may lead to a pipe, a device, a socket, a folder, a file of holes; so each file that somebody else may have made
is opened here, and read up to a bound. In the same way an output never takes the place of what is no regular file.
"""

import contextlib
import csv
import errno
import gzip
import io
import json
import os
import re
import secrets
import shutil
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.bounds import MAX_JSON, MAX_SPARSE, Bound

__all__ = [
    "atomically",
    "beside",
    "csv_text",
    "is_still_what_was_opened",
    "open_plain",
    "parse_json",
    "plain_folder",
    "read_bytes",
    "read_json",
    "read_packed",
    "read_text",
    "replace",
    "write_csv",
]

_KINDS = (
    *((stat.S_ISFIFO, "a FIFO"), (stat.S_ISSOCK, "a socket"), (stat.S_ISDIR, "a folder")),
    *((stat.S_ISCHR, "a character device"), (stat.S_ISBLK, "a block device")),
)
_READ = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOCTTY", 0)
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_THROUGH = os.O_WRONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOCTTY", 0)
_OWN = re.compile(r"/dev/(?:fd/(\d+)|stdin|stdout|stderr)|/proc/self/fd/(\d+)")
_STANDARD = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}
_LONGEST = 60  # characters of a name that its temporary name keeps

_OPENED: dict[str, os.stat_result] = {}  # what each path led to when it was opened last


def open_plain(path: Path) -> io.BufferedReader:
    """Open a regular file to read its bytes; links are followed.

    Raises:
        InputError: if it is a FIFO, a device, a socket or a folder, or consists of holes.
        OSError: if it is not there or can't be opened.
    """
    try:
        _refuse_special(path, os.stat(path).st_mode)  # opening a device may do something
    except ValueError as err:
        if isinstance(err, InputError):
            raise
        raise InputError(f"{str(path)!r} can't be read: there is a null byte in its name.") from err
    number = os.open(path, _READ)
    try:
        status = os.fstat(number)
        _refuse_special(path, status.st_mode)
        if status.st_size > MAX_SPARSE and _has_holes(number, status):
            raise InputError(
                f"{path} has {status.st_size:,} bytes, most of them holes that were never written: fetch or write it "
                f"again ({MAX_SPARSE.how})."
            )
        _OPENED[os.path.abspath(path)] = status
        return os.fdopen(number, "rb")
    except BaseException:
        os.close(number)
        raise


def is_still_what_was_opened(path: Path) -> bool:
    """Return whether a path leads to the very file that ``open_plain`` opened there last, and nobody wrote since.

    A file put there for a moment and taken back leaves the digest as it was, but was another file.
    """
    then, now = _OPENED.get(os.path.abspath(path)), os.stat(path)
    return then is None or (os.path.samestat(then, now) and _times(then) == _times(now))


def _times(status: os.stat_result) -> tuple[int, ...]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def read_bytes(path: Path, limit: Bound = MAX_JSON) -> bytes:
    """Read a regular file whole.

    Raises:
        InputError: if it is no regular file, or has more than ``limit`` bytes.
        OSError: if it is not there or can't be read.
    """
    with open_plain(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        limit.check(size, f"{path} has {size:,} bytes")
        data = stream.read(size + 1)
        while len(data) > size and (more := stream.read(1 << 20)):  # it grows, or its size is not told, as in /proc
            data += more
            limit.check(len(data), f"{path} has {len(data):,} bytes and more")
        return data


def read_text(path: Path, limit: Bound = MAX_JSON, encoding: str = "utf-8", errors: str = "strict") -> str:
    """Read a regular file of text whole, with its line ends as they are; else as ``read_bytes``.

    Raises:
        InputError: if it is no regular file, or has more than ``limit`` bytes.
        UnicodeDecodeError: if it is no text of this encoding.
        OSError: if it is not there or can't be read.
    """
    return read_bytes(path, limit).decode(encoding, errors)


def read_json(path: Path, limit: Bound = MAX_JSON) -> Any:
    """Read a file of JSON.

    Raises:
        InputError: if it is no regular file, has more than ``limit`` bytes, or holds no JSON.
        OSError: if it is not there or can't be read.
    """
    return parse_json(read_bytes(path, limit), path)


def parse_json(data: bytes, path: Path) -> Any:
    """Parse the bytes of a file of JSON.

    Raises:
        InputError: if they are none.
    """
    try:
        return json.loads(data)
    except RecursionError as err:
        raise InputError(f"{path} is no JSON that can be read: it is nested too deeply.") from err
    except ValueError as err:  # UnicodeDecodeError and JSONDecodeError are such
        raise InputError(f"{path} is no JSON ({err}).") from err


def read_packed(path: Path, limit: Bound = MAX_JSON) -> bytes:
    """Read a regular file whole, unpacked where it is gzipped.

    Raises:
        InputError: if it is no regular file, or has more than ``limit`` bytes, packed or unpacked.
        OSError: if it is not there or can't be read.
        EOFError: if it breaks off.
        zlib.error: if it is damaged.
    """
    data = read_bytes(path, limit)
    if data[:2] != b"\x1f\x8b":
        return data
    with gzip.GzipFile(fileobj=io.BytesIO(data)) as stream:
        found = stream.read(limit + 1)
    limit.check(len(found), f"{path} unpacks to more than {limit:,} bytes")
    return found


def plain_folder(folder: Path) -> None:
    """Refuse a folder that holds something else than regular files and folders, which a library would open.

    Raises:
        InputError: naming it.
    """
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            with contextlib.suppress(OSError):  # a link that leads nowhere
                _refuse_special(path, path.stat().st_mode)


def csv_text(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return rows as CSV below their head line."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([head, *rows])
    return stream.getvalue()


def write_csv(path: Path, head: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write rows as a whole CSV file."""
    text = csv_text(head, rows)
    atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline=""))


def atomically(
    path: Path,
    write: Callable[[Path], object],
    mend: str = "choose a folder that you may write",
    folder: bool = False,
) -> None:
    """Call ``write`` on a temporary name beside ``path``, then move it there: a killed run leaves no half file.

    What is no regular file, such as ``/dev/null``, ``/dev/stdout`` or a FIFO, is written to and stays what it is. A
    link to a regular file is replaced, and not followed.

    Args:
        path: the output.
        write: writes to the path that it is given, where an empty file lies.
        mend: what to do where it can't be written, as the message ends.
        folder: whether ``write`` makes a folder; then nothing lies there.

    Raises:
        InputError: if it can't be written.
    """
    temporary = None
    try:
        if _is_special(path):
            _write_through(path, write)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = beside(path, folder)
        write(temporary)
        if temporary.is_symlink():
            raise InputError(f"{temporary} was made a link while it was written: choose a folder of your own.")
        replace(temporary, path)
    except OSError as err:
        raise InputError(f"{path} can't be written ({err.strerror or err}): {mend}.") from err
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):  # where the folder itself is wrong, that is told above
                temporary.unlink(missing_ok=True)


def beside(path: Path, folder: bool = False) -> Path:
    """Make an empty file beside ``path``, under a name that nobody can have foreseen; of a folder, only the name.

    Raises:
        OSError: if it can't be made.
    """
    temporary = path.with_name(f".{path.name[:_LONGEST]}.{secrets.token_hex(8)}")
    if not folder:
        os.close(os.open(temporary, _NEW, 0o666))
    return temporary


def replace(temporary: Path, path: Path) -> None:
    """Move a file to its place, where nothing or a regular file lies; of a folder, nothing or an empty folder.

    Raises:
        InputError: if something else lies there.
        OSError: if it can't be moved.
    """
    if _is_special(path):
        raise InputError(f"{path} is no regular file, and is not replaced by one: give another name.")
    os.replace(temporary, path)


def _refuse_special(path: Path, mode: int) -> None:
    kind = next((kind for test, kind in _KINDS if test(mode)), None)
    if kind is not None:
        raise InputError(f"{path} can't be read: it is {kind}, no regular file.")


def _has_holes(number: int, status: os.stat_result) -> bool:
    """Tell whether most of a file was never written; a file system that can't say so has no holes."""
    if not hasattr(os, "SEEK_HOLE") or status.st_blocks * 512 > status.st_size // 2:
        return False
    try:
        return os.lseek(number, 0, os.SEEK_HOLE) < status.st_size
    except OSError:
        return False
    finally:
        os.lseek(number, 0, os.SEEK_SET)


def _is_special(path: Path) -> bool:
    """Tell whether a name is that of a device, a pipe or a socket, or lies where those are."""
    real = os.path.join(os.path.realpath(path.parent), path.name)
    if real.startswith(("/dev/", "/proc/")) and not real.startswith("/dev/shm/"):  # noqa: S108 - files live there
        return True
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def _write_through(path: Path, write: Callable[[Path], object]) -> None:
    """Write to what is there, once all is made."""
    with tempfile.TemporaryDirectory(prefix="subliminal-") as place:
        made = Path(place, "made")
        write(made)
        if made.is_dir():
            raise InputError(f"{path} is no folder: name a new one.")
        with os.fdopen(_opened_through(path), "wb") as stream, made.open("rb") as source:
            shutil.copyfileobj(source, stream)


def _opened_through(path: Path) -> int:
    """Open a device or a pipe to write; of this process's own, take the one that is open."""
    name = os.path.abspath(path)
    if own := _OWN.fullmatch(name):
        sys.stdout.flush()
        return os.dup(int(own[1] or own[2] or _STANDARD.get(name, 1)))
    if stat.S_ISBLK(path.stat().st_mode):
        raise InputError(f"{path} is a block device, whose content would be lost: give a file.")
    try:
        number = os.open(path, _THROUGH)
    except OSError as err:
        if err.errno == errno.ENXIO:
            raise InputError(
                f"{path} is a FIFO that nobody reads, or a socket: give a file, or read it first."
            ) from err
        raise
    os.set_blocking(number, True)
    return number
