"""Untrusted files, read without hanging or filling the memory; and files written atomically.

A path may lead to a pipe, a device, a socket, a folder or a sparse file, so files from outside are opened here and
read up to a bound. An output never replaces what is not a regular file.
"""

import contextlib
import csv
import gzip
import io
import json
import math
import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.bounds import MAX_JSON, MAX_SPARSE, Bound
from lightning_subliminal.core.io.special_files import (
    CAREFUL,
    has_holes,
    is_special,
    refuse_special,
    write_through,
)

__all__ = [
    "atomically",
    "csv_text",
    "file_stamp",
    "finite",
    "is_still_what_was_opened",
    "open_plain",
    "parse_json",
    "plain_folder",
    "read_bytes",
    "read_json",
    "read_packed",
    "read_text",
    "replace",
    "temporary_file",
    "walk_json",
    "write_csv",
]

_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
_LONGEST = 60  # characters of a name that its temporary name keeps
_OPENED: dict[str, os.stat_result] = {}  # the status of the file that was opened last, by path


def open_plain(path: Path) -> io.BufferedReader:
    """Open a regular file for reading bytes; links are followed.

    Raises:
        InputError: if it is a FIFO, a device, a socket or a folder, or a large sparse file.
        OSError: if it does not exist or can't be opened.
    """
    try:
        refuse_special(path, os.stat(path).st_mode)  # opening a device may have effects
    except ValueError as err:
        if isinstance(err, InputError):
            raise
        raise InputError(f"{str(path)!r} can't be read: its name has a null byte.") from err
    number = os.open(path, os.O_RDONLY | CAREFUL)
    try:
        status = os.fstat(number)
        refuse_special(path, status.st_mode)
        if status.st_size > MAX_SPARSE and has_holes(number, status):
            raise InputError(
                f"{path} has {status.st_size:,} bytes, most of them holes that were never written: download or write "
                f"it again ({MAX_SPARSE.how})."
            )
        _OPENED[os.path.abspath(path)] = status
        return os.fdopen(number, "rb")
    except BaseException:
        os.close(number)
        raise


def is_still_what_was_opened(path: Path) -> bool:
    """Return whether a path leads to the file that ``open_plain`` opened there last, unchanged since.

    A digest alone would not show that the file was swapped for another one and back in the meantime.
    """
    then = _OPENED.get(os.path.abspath(path))
    return then is None or file_stamp(then) == file_stamp(os.stat(path))


def file_stamp(status: os.stat_result) -> tuple[int, ...]:
    """Return the parts of a file's status that change with its content: device, inode, size, and both times."""
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def read_bytes(path: Path, limit: Bound = MAX_JSON) -> bytes:
    """Read a whole regular file.

    Raises:
        InputError: if it is not a regular file, or has more than ``limit`` bytes.
        OSError: if it does not exist or can't be read.
    """
    with open_plain(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        limit.check(size, f"{path} has {size:,} bytes")
        data = stream.read(size + 1)
        while len(data) > size and (more := stream.read(1 << 20)):  # it grows, or has no size, as in /proc
            data += more
            limit.check(len(data), f"{path} has {len(data):,} bytes and more")
        return data


def read_text(path: Path, limit: Bound = MAX_JSON, encoding: str = "utf-8", errors: str = "strict") -> str:
    """Read a whole text file with its line ends unchanged; raise as ``read_bytes``, and UnicodeDecodeError."""
    return read_bytes(path, limit).decode(encoding, errors)


def read_json(path: Path, limit: Bound = MAX_JSON) -> Any:
    """Read a JSON file.

    Raises:
        InputError: if it is not valid JSON, or as ``read_bytes``.
        OSError: as ``read_bytes``.
    """
    return parse_json(read_bytes(path, limit), path)


def parse_json(data: bytes, path: Path) -> Any:
    """Parse the bytes of a JSON file; raise an InputError if they are not valid JSON."""
    try:
        return json.loads(data)
    except RecursionError as err:
        raise InputError(f"{path} is not readable JSON: it is nested too deeply.") from err
    except ValueError as err:  # UnicodeDecodeError or JSONDecodeError
        raise InputError(f"{path} is not valid JSON ({err}).") from err


def walk_json(value: Any) -> Iterator[tuple[str, Any]]:
    """Yield each value of a JSON document, at any depth, with its key (that of the list for a list's elements)."""
    waiting = [("", value)]
    while waiting:  # without recursion: the document may be nested deeply
        key, found = waiting.pop()
        yield key, found
        if isinstance(found, dict):
            waiting += found.items()
        elif isinstance(found, list):
            waiting += [(key, each) for each in found]


def read_packed(path: Path, limit: Bound = MAX_JSON) -> bytes:
    """Read a whole regular file, and decompress it if it is gzipped.

    Raises:
        InputError: if it is not a regular file, or has more than ``limit`` bytes, packed or unpacked.
        OSError: as ``read_bytes``.
        EOFError: if it is truncated.
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
    """Check that a folder holds only regular files and folders, since a library would open anything else.

    Raises:
        InputError: naming any other file.
    """
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place, name)
            with contextlib.suppress(OSError):  # a broken link
                refuse_special(path, path.stat().st_mode)


def csv_text(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> str:
    """Return a header and rows as CSV."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows([head, *rows])
    return stream.getvalue()


def write_csv(path: Path, head: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write a header and rows as a CSV file, atomically."""
    text = csv_text(head, rows)
    atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8", newline=""))


def atomically(
    path: Path,
    write: Callable[[Path], object],
    remedy: str = "choose a folder that you may write",
    folder: bool = False,
) -> None:
    """Call ``write`` with a temporary path in the same folder, then move it to ``path``: no run leaves a partial file.

    What is not a regular file, such as ``/dev/null``, ``/dev/stdout`` or a FIFO, is written to and not replaced. A link
    to a regular file is replaced, not followed.

    Args:
        path: the output.
        write: writes to the path of an existing, empty file.
        remedy: the end of the message if the output can't be written.
        folder: whether ``write`` creates a folder; then nothing exists at the path that it is given.

    Raises:
        InputError: if it can't be written.
    """
    temporary = None
    try:
        if is_special(path):
            write_through(path, write)
            return
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = temporary_file(path, folder)
        write(temporary)
        if temporary.is_symlink():
            raise InputError(f"{temporary} was replaced by a link while it was written: choose a folder of your own.")
        replace(temporary, path)
    except OSError as err:
        raise InputError(f"{path} can't be written ({err.strerror or err}): {remedy}.") from err
    finally:
        if temporary is not None:
            with contextlib.suppress(OSError):  # a fault of the folder itself is reported above
                temporary.unlink(missing_ok=True)


def temporary_file(path: Path, folder: bool = False) -> Path:
    """Create an empty file with an unpredictable name in the folder of ``path``; for a folder, return the name only.

    Raises:
        OSError: if it can't be created.
    """
    temporary = path.with_name(f".{path.name[:_LONGEST]}.{secrets.token_hex(8)}")
    if not folder:
        os.close(os.open(temporary, _NEW, 0o666))
    return temporary


def replace(temporary: Path, path: Path) -> None:
    """Move a file to a path where nothing or a regular file is; a folder to one where nothing or an empty folder is.

    Raises:
        InputError: if something else is there.
        OSError: if it can't be moved.
    """
    if is_special(path):
        raise InputError(f"{path} is not a regular file, and is not replaced by one: choose another name.")
    os.replace(temporary, path)


def finite(value: Any) -> Any:
    """Return JSON-able data with null for numbers that are not finite: JSON has none."""
    if isinstance(value, dict):
        return {key: finite(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
