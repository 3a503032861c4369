"""Pointers of Git LFS and git-annex: short texts in place of files that were not downloaded."""

from pathlib import Path

from lightning_subliminal.core.errors import InputError

__all__ = ["refuse_pointer"]

_LFS, _ANNEX = ("Git LFS", "git lfs pull"), ("git-annex", "git annex get")
_HEADS = {
    b"version https://git-lfs.github.com/spec/": _LFS,
    b"version https://hawser.github.com/spec/": _LFS,  # before its first release
    b"/annex/objects/": _ANNEX,
}
_MOST = 1024  # bytes; a pointer has some 130


def refuse_pointer(path: Path) -> None:
    """Check that a file is not a pointer; other faults of it are left to its reader.

    Raises:
        InputError: if it is a pointer, with the command that downloads the file.
    """
    try:
        if not path.is_file() or path.stat().st_size > _MOST:
            return
        with path.open("rb") as stream:
            head = stream.read(64)
    except OSError:
        return
    for begun, (kind, command) in _HEADS.items():
        if head.startswith(begun):
            raise InputError(
                f"{path} is a {kind} pointer, not the file itself: run `{command}` in its repository, or download it."
            )
