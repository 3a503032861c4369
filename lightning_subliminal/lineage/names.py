"""Names of files inside an artefact: which are its own, which would lead out of it, and the digest over them all."""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from lightning_subliminal.errors import InputError

__all__ = ["ENVELOPE", "MODEL_SIGNATURE", "RECORD", "RESULTS", "artefact_files", "check_name", "dir_hash", "inside"]

_LONGEST = 255  # bytes of a file's name, on any common file system
_HUB_REPO = re.compile(r"(models|datasets|spaces)--")
RECORD = "lineage.json"  # the statement
ENVELOPE = "lineage.dsse.json"  # the same, signed
MODEL_SIGNATURE = "model.sig"  # of OpenSSF's model-signing
RESULTS = "test-results"  # folder of statements about what was tested here


def dir_hash(files: Mapping[str, str]) -> str:
    """Give the digest of a folder from the SHA-256 of its files, by in-toto's rule for ``dirHash``.

    It is the SHA-256 of one line a file, ``<sha256>  <name>``, in the order of the names' bytes: it binds the names as
    well as what the files hold. ``find . -type f | cut -c3- | LC_ALL=C sort | xargs -r sha256sum | sha256sum`` prints
    the same.
    """
    names = sorted(files, key=lambda name: name.encode(errors="surrogateescape"))
    lines = "".join(_line(files[name], name) for name in names)
    return hashlib.sha256(lines.encode(errors="surrogateescape")).hexdigest()


def _line(sha: str, name: str) -> str:
    """Give a line as sha256sum does: with a line break in its name a file would else look like two."""
    safe = name.replace("\\", "\\\\").replace("\n", "\\n")
    return f"{sha}  {name}\n" if safe == name else f"\\{sha}  {safe}\n"


def artefact_files(folder: Path) -> Iterator[str]:
    """Yield the names of a folder's files as ``a/b.txt``: hidden ones and statements about it left out.

    Sorted folder by folder; what is no plain file, such as a pipe, is left out, too. Folders that are links are
    not entered; a file that is a link is named, so that who checks can refuse it.
    """
    for place, folders, files in os.walk(folder):
        here = Path(place)
        folders[:] = sorted(each for each in folders if each[0] != "." and not (here == folder and each == RESULTS))
        links = [each for each in folders if (here / each).is_symlink()]
        for name in sorted([*files, *links]):
            known = here == folder and name in (RECORD, ENVELOPE, MODEL_SIGNATURE)
            path = here / name
            if name[0] != "." and not known and (path.is_symlink() or path.is_file()):
                yield path.relative_to(folder).as_posix()


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
        raise InputError(f"{name!r} is no relative name with slashes.")
    if any(ord(each) < 32 or ord(each) == 127 for each in name):
        raise InputError(f"{name!r} holds a control character.")
    if {"", ".", ".."} & set(parts):
        raise InputError(f"{name!r} has a part that is empty, `.` or `..`, and could lead out of its folder.")


def inside(folder: Path, name: str) -> Path:
    """Give the path of a file of an artefact.

    Raises:
        InputError: if its name is no plain way down, or a link stands on that way.
    """
    check_name(name)
    path = folder
    for part in name.split("/"):
        path = path / part
        if len(part.encode(errors="surrogateescape")) > _LONGEST:
            raise InputError(f"{name[:80]!r}... has a part of more than {_LONGEST} bytes, which no disk holds.")
        if path.is_symlink() and not _is_hub_blob(path):
            raise InputError(
                f"{name!r} is, or lies behind, a link to {os.readlink(path)!r}: an artefact holds no links, but for "
                "those of a snapshot in the Hub's cache."
            )
    return path
