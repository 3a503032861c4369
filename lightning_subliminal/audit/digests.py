"""Digests of many files: streamed, on all cores, each file once while it is unchanged.

A file counts as unchanged while its device, inode, size and both times (of content and of status) are the same. A user
who can set the clock or write to the raw disk can defeat that: ``--no-cache`` reads every file. The remembered digests
are in the auditor's own home, not with the artefacts, so that a user who can write to a shared cache can't change them.
"""

import contextlib
import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from lightning_subliminal.core.cache import is_mine
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import stream_digest
from lightning_subliminal.core.io.files import atomically, file_stamp, open_plain, read_json
from lightning_subliminal.core.rows import stream_parquet

__all__ = ["Digests"]

_HOME = Path("~/.cache/lightning-subliminal-audit/digests.json")
_MOST_NOTES = 200_000


class Digests:
    """Digests of files, remembered between audits.

    Args:
        notes: the file of remembered digests; None for ``$LIGHTNING_SUBLIMINAL_AUDIT_NOTES``, else one in the home.
        remember: False reads every file, and remembers nothing.
        workers: number of threads; None for one per core.

    Attributes:
        read: number of files that were read, not remembered.
        bytes_read: their total size.
    """

    def __init__(self, notes: Path | None = None, remember: bool = True, workers: int | None = None) -> None:
        place = os.environ.get("LIGHTNING_SUBLIMINAL_AUDIT_NOTES") or _HOME.expanduser()
        self._path = (notes or Path(place)) if remember else None
        self._notes: dict[str, str] = self._read_notes()
        self._found: dict[Path, str] = {}
        self._workers = workers or os.cpu_count() or 1
        self.read = 0
        self.bytes_read = 0

    def add(self, paths: Iterable[Path], tick: Callable[[int], None] = lambda size: None) -> None:
        """Digest files, several at a time.

        Args:
            paths: plain files; one that can't be read gets no digest.
            tick: called with the bytes of each block, or of a file whose digest is remembered.
        """
        new = [path for path in dict.fromkeys(paths) if path not in self._found]
        with ThreadPoolExecutor(self._workers) as pool:
            for path, sha in zip(new, pool.map(lambda path: self._digest(path, tick), new), strict=True):
                if sha is not None:
                    self._found[path] = sha

    def get(self, path: Path) -> str | None:
        """Return a file's SHA-256; None if it can't be read."""
        if path not in self._found:
            self.add([path])
        return self._found.get(path)

    def rows_root(self, path: Path, any_schema: bool = False) -> tuple[str, int]:
        """Return the root of a file's rows, and their number.

        Args:
            path: a Parquet file of this package's rows, or a file in any schema.
            any_schema: whether to read it with ``read_rows``.

        Raises:
            InputError: if it does not hold rows.
        """
        from lightning_subliminal.formats import Report, read_rows
        from lightning_subliminal.lineage import rows_root

        key = f"{'read' if any_schema else 'rows'}:{_stamp(path.stat())}"
        if key in self._notes:
            root, _, count = self._notes[key].partition(":")
            return root, int(count)
        try:
            rows = read_rows(path.absolute(), report=Report()) if any_schema else stream_parquet(path)
            root, number = rows_root(rows)
        except (KeyError, TypeError, AttributeError) as err:
            raise InputError(f"{path} does not hold rows with prompt and completion.") from err
        self._notes[key] = f"{root}:{number}"
        return root, number

    def keep(self) -> None:
        """Store the digests; a failure to write only makes the next audit slower."""
        if self._path is None:
            return
        kept = dict(list(self._notes.items())[-_MOST_NOTES:])

        def write(temporary: Path) -> None:
            temporary.chmod(0o600)
            temporary.write_text(json.dumps(kept), encoding="utf-8")

        with contextlib.suppress(InputError):
            atomically(self._path, write)

    def _digest(self, path: Path, tick: Callable[[int], None]) -> str | None:
        try:
            with open_plain(path) as buffered:
                stream: Any = buffered.raw  # blocks as large as those hashed
                before = os.fstat(stream.fileno())
                key = _stamp(before)
                if key in self._notes:
                    tick(before.st_size)
                    return self._notes[key]
                sha = stream_digest(stream.readinto, tick)
                if _stamp(os.fstat(stream.fileno())) == key:  # it was not changed meanwhile
                    self._notes[key] = sha
        except (InputError, OSError):  # a FIFO, a device, a sparse or a missing file
            return None
        self.read += 1
        self.bytes_read += before.st_size
        return sha

    def _read_notes(self) -> dict[str, str]:
        if self._path is None:
            return {}
        try:
            if not is_mine(self._path.stat()):
                return {}
            notes = read_json(self._path)
        except (OSError, ValueError):
            return {}
        is_valid = isinstance(notes, dict) and all(isinstance(value, str) for value in notes.values())
        return notes if is_valid else {}


def _stamp(status: os.stat_result) -> str:
    return "-".join(map(str, file_stamp(status)))
