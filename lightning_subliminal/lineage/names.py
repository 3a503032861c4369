"""Names of files inside an artefact: which are its own, which would lead out of it, and the digest over them all."""

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from lightning_subliminal.core.errors import InputError, UnreadableError

__all__ = ["ENVELOPE", "MODEL_SIGNATURE", "RECORD", "RESULTS", "artefact_files", "check_name", "dir_hash", "inside"]

_LONGEST = 255  # bytes of a file's name, on any common file system
_LONGEST_WAY = 4000  # bytes of a name with all its folders; Linux takes 4,095 of a whole path
_HUB_REPO = re.compile(r"(models|datasets|spaces)--")
RECORD = "lineage.json"  # the statement
ENVELOPE = "lineage.dsse.json"  # the same, signed
MODEL_SIGNATURE = "model.sig"  # of OpenSSF's model-signing
RESULTS = "test-results"  # folder of statements about what was tested here


def dir_hash(files: Mapping[str, str]) -> str:
    """Return the digest of a folder from the SHA-256 of its files, by in-toto's rule for ``dirHash``.

    It is the SHA-256 of one line a file, ``<sha256>  <name>``, in the order of the names' bytes: it binds the names as
    well as what the files hold. ``find . -type f | cut -c3- | LC_ALL=C sort | xargs -r sha256sum | sha256sum`` prints
    the same.
    """
    names = sorted(files, key=lambda name: name.encode(errors="surrogateescape"))
    lines = "".join(_line(files[name], name) for name in names)
    return hashlib.sha256(lines.encode(errors="surrogateescape")).hexdigest()


def _line(sha: str, name: str) -> str:
    """Return a line as sha256sum does: with a line break in its name a file would else look like two."""
    safe = name.replace("\\", "\\\\").replace("\n", "\\n")
    return f"{sha}  {name}\n" if safe == name else f"\\{sha}  {safe}\n"


def artefact_files(folder: Path, left_out: Callable[[str, str], None] | None = None) -> Iterator[str]:
    """Yield the names of a folder's files as ``a/b.txt``: hidden ones and statements about it left out.

    Sorted folder by folder; what is no plain file, such as a pipe, is left out, too. Folders that are links are
    not entered; a file that is a link is named, so that who checks can refuse it.

    Args:
        folder: the artefact.
        left_out: is told the name of what is not yielded, and why, statements about the artefact aside; and of what
            can't be read.

    Raises:
        UnreadableError: if a folder or file can't be read, and ``left_out`` is None.
    """

    def unreadable(err: OSError) -> None:
        if isinstance(err, (FileNotFoundError, NotADirectoryError)):
            return  # what is not there holds no files
        path = Path(err.filename or folder)
        why = f"can't be read ({err.strerror})"
        if left_out is None:
            raise UnreadableError(f"{path} {why}: make it readable, or move it out of the folder.") from err
        left_out(path.relative_to(folder).as_posix(), why)

    for place, folders, files in os.walk(folder, onerror=unreadable):
        here = Path(place)
        folders[:] = sorted(folders)
        for name in sorted([*files, *(each for each in folders if os.path.islink(here / each))]):
            path = here / name
            inner = path.relative_to(folder).as_posix()
            if here == folder and name in (RECORD, ENVELOPE, MODEL_SIGNATURE):
                continue
            try:
                why = _why_left_out(inner, path)
            except OSError as err:
                unreadable(err)
                continue
            if not why:
                yield inner
            elif left_out is not None:
                left_out(inner, why)
        if left_out is None:  # else each file of theirs is told
            folders[:] = [each for each in folders if each[0] != "." and (here != folder or each != RESULTS)]


def _why_left_out(name: str, path: Path) -> str:
    """Say why a file is none of an artefact's own; empty where it is one."""
    parts = name.split("/")
    if any(part[0] == "." for part in parts):
        return "is hidden"
    if parts[0] == RESULTS and len(parts) > 1:
        return f"lies in {RESULTS}/"
    return "" if path.is_symlink() or path.is_file() else "is no plain file"


def _is_hub_blob(link: Path) -> bool:
    """Tell whether a link is a file of a snapshot in the Hub's cache: it leads into the blobs of its own repository.

    ``models--owner--name/snapshots/COMMIT/config.json -> ../../blobs/HASH``
    """
    rooms = [each for each in link.parents if each.name == "snapshots" and _HUB_REPO.match(each.parent.name)]
    if not rooms:
        return False
    try:
        target = link.resolve(strict=True)
        return target.is_file() and target.parent == (rooms[-1].parent / "blobs").resolve(strict=True)
    except (OSError, RuntimeError):  # it leads nowhere, or round in a circle
        return False


def check_name(name: str) -> None:
    """Refuse a name that is no plain way down from the folder.

    Raises:
        InputError: saying which part is wrong.
    """
    parts = name.split("/")
    if not name or name[0] == "/" or "\\" in name or "\0" in name or parts[0][1:] == ":":
        raise InputError(f"{_short(name)} is no relative name with slashes.")
    if any(ord(each) < 32 or ord(each) == 127 for each in name):
        raise InputError(f"{_short(name)} holds a control character.")
    if len(name.encode(errors="surrogateescape")) > _LONGEST_WAY:
        raise InputError(f"{_short(name)} has more than {_LONGEST_WAY:,} bytes, and no disk holds such a path.")
    if {"", ".", ".."} & set(parts):
        raise InputError(f"{_short(name)} has a part that is empty, `.` or `..`, and could lead out of its folder.")


def inside(folder: Path, name: str) -> Path:
    """Return the path of a file of an artefact.

    Raises:
        InputError: if its name is no plain way down, or a link stands on that way.
    """
    check_name(name)
    path = folder
    for part in name.split("/"):
        path = path / part
        if len(part.encode(errors="surrogateescape")) > _LONGEST:
            raise InputError(f"{_short(name)} has a part of more than {_LONGEST} bytes, which no disk holds.")
        try:
            leads_away = path.is_symlink() and not _is_hub_blob(path)
        except OSError as err:  # a folder on the way that may not be entered, or a path that is too long
            raise UnreadableError(f"{_short(name)} can't be read ({err.strerror or err}).") from err
        if leads_away:
            raise InputError(
                f"{_short(name)} is, or lies behind, a link to {os.readlink(path)!r}: an artefact holds no links, but "
                "for those of a snapshot in the Hub's cache."
            )
    return path


def _short(name: str) -> str:
    return repr(name) if len(name) <= 80 else f"{name[:80]!r}..."
