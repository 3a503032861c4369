"""Pointers of Git LFS and git-annex: lines of text that stand for a file which was never downloaded."""

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
    """Refuse a file that is such a pointer; any other file, or none, is somebody else's to read.

    Raises:
        InputError: saying how to fetch the file itself.
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
