"""Git LFS pointers: three lines of text that stand for a file which was never downloaded."""

from pathlib import Path

from lightning_subliminal.errors import InputError

__all__ = ["refuse_pointer"]

_HEAD = b"version https://git-lfs.github.com/spec/"
_MOST = 1024  # bytes; a pointer has some 130


def refuse_pointer(path: Path) -> None:
    """Refuse a file that is a Git LFS pointer; any other file, or none, is somebody else's to read.

    Raises:
        InputError: saying how to fetch the file itself.
    """
    try:
        if not path.is_file() or path.stat().st_size > _MOST:
            return
        with path.open("rb") as stream:
            head = stream.read(len(_HEAD))
    except OSError:
        return
    if head == _HEAD:
        raise InputError(
            f"{path} is a Git LFS pointer, not the file itself: run `git lfs pull` in its repository, or download it."
        )
