"""Names of an artefact's files: which are its own, which would lead out of its folder, and the digest of them all."""

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from lightning_subliminal.core.errors import InputError, UnreadableError

__all__ = [
    "ENVELOPE",
    "MODEL_SIGNATURE",
    "RECORD",
    "RESULTS",
    "artefact_files",
    "check_name",
    "dir_hash",
    "envelope_place",
    "inside",
    "statement_place",
]

_LONGEST = 255  # bytes of a file's name, on any common file system
_LONGEST_PATH = 4000  # bytes of a name with all its folders; Linux takes 4,095 of a whole path
_HUB_REPO = re.compile(r"(models|datasets|spaces)--")
RECORD = "lineage.json"  # the statement
ENVELOPE = "lineage.dsse.json"  # the same, signed
MODEL_SIGNATURE = "model.sig"  # of OpenSSF's model-signing
RESULTS = "test-results"  # folder of statements about what was tested here


def statement_place(path: Path) -> Path:
    """Return where the statement about an artefact is: in its folder, or next to its file."""
    return path / RECORD if path.is_dir() else path.with_name(f"{path.name}.{RECORD}")


def envelope_place(statement: Path) -> Path:
    """Return where the signed envelope of a statement is: next to it."""
    return statement.with_name(f"{statement.stem}.dsse.json")


def dir_hash(files: Mapping[str, str]) -> str:
    """Return the digest of a folder from the SHA-256 of its files, by in-toto's rule for ``dirHash``.

    It is the SHA-256 of one line per file, ``<sha256>  <name>``, in the order of the names' bytes, so it binds names
    and contents. ``find . -type f | cut -c3- | LC_ALL=C sort | xargs -r sha256sum | sha256sum`` prints the same.
    """
    names = sorted(files, key=lambda name: name.encode(errors="surrogateescape"))
    lines = []
    for name in names:  # escaped as by sha256sum, or a name with a line break would look like two files
        safe = name.replace("\\", "\\\\").replace("\n", "\\n")
        lines.append(("" if safe == name else "\\") + f"{files[name]}  {safe}\n")
    return hashlib.sha256("".join(lines).encode(errors="surrogateescape")).hexdigest()


def artefact_files(folder: Path, left_out: Callable[[str, str], None] | None = None) -> Iterator[str]:
    """Yield the names of a folder's files as ``a/b.txt``, except hidden ones and statements about it.

    Sorted folder by folder. Special files, such as pipes, are left out, too. Folders that are links are not entered;
    a file that is a link is yielded, so that the caller can refuse it.

    Args:
        folder: the artefact.
        left_out: called with the name of each file left out or unreadable and the reason; not with statements about
            the artefact.

    Raises:
        UnreadableError: if a folder or file can't be read, and ``left_out`` is None.
    """

    def unreadable(err: OSError) -> None:
        if isinstance(err, (FileNotFoundError, NotADirectoryError)):
            return  # a missing folder holds no files
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
        if left_out is None:  # else each file in them is reported
            folders[:] = [each for each in folders if each[0] != "." and (here != folder or each != RESULTS)]


def _why_left_out(name: str, path: Path) -> str:
    """Return why a file is not one of the artefact's own; empty if it is one."""
    parts = name.split("/")
    if any(part[0] == "." for part in parts):
        return "is hidden"
    if parts[0] == RESULTS and len(parts) > 1:
        return f"is in {RESULTS}/"
    return "" if path.is_symlink() or path.is_file() else "is not a plain file"


def _is_hub_blob(link: Path) -> bool:
    """Return whether a link is a file of a snapshot in the Hub's cache, which leads to a blob of its own repository.

    ``models--owner--name/snapshots/COMMIT/config.json -> ../../blobs/HASH``
    """
    snapshots = [each for each in link.parents if each.name == "snapshots" and _HUB_REPO.match(each.parent.name)]
    if not snapshots:
        return False
    try:
        target = link.resolve(strict=True)
        return target.is_file() and target.parent == (snapshots[-1].parent / "blobs").resolve(strict=True)
    except (OSError, RuntimeError):  # a dangling or circular link
        return False


def check_name(name: str) -> None:
    """Refuse a name that is not a plain relative path below the folder.

    Raises:
        InputError: with the fault.
    """
    parts = name.split("/")
    if not name or name[0] == "/" or "\\" in name or "\0" in name or parts[0][1:] == ":":
        raise InputError(f"{_short(name)} is not a relative name with slashes.")
    if any(ord(each) < 32 or ord(each) == 127 for each in name):
        raise InputError(f"{_short(name)} holds a control character.")
    if len(name.encode(errors="surrogateescape")) > _LONGEST_PATH:
        raise InputError(f"{_short(name)} has more than {_LONGEST_PATH:,} bytes: no disk holds a path this long.")
    if {"", ".", ".."} & set(parts):
        raise InputError(f"{_short(name)} has a part that is empty, `.` or `..`, and could lead out of its folder.")


def inside(folder: Path, name: str) -> Path:
    """Return the path of a file of an artefact.

    Raises:
        InputError: if its name is not a plain relative path, or a part of the path is a link.
    """
    check_name(name)
    path = folder
    for part in name.split("/"):
        path = path / part
        if len(part.encode(errors="surrogateescape")) > _LONGEST:
            raise InputError(f"{_short(name)} has a part of more than {_LONGEST} bytes: no disk holds one.")
        try:
            is_foreign_link = path.is_symlink() and not _is_hub_blob(path)
        except OSError as err:  # a folder that may not be entered, or a path that is too long
            raise UnreadableError(f"{_short(name)} can't be read ({err.strerror or err}).") from err
        if is_foreign_link:
            raise InputError(
                f"{_short(name)} is a link, or behind a link, to {os.readlink(path)!r}: expected plain files; only a "
                "snapshot in the Hub's cache may hold links."
            )
    return path


def _short(name: str) -> str:
    return repr(name) if len(name) <= 80 else f"{name[:80]!r}..."
