"""The digest of a set: of its prompts, completions and rejected ones, whatever their schema and container."""

import hashlib
import json
from collections.abc import Iterable

from lightning_subliminal.core.rows import Row, trained_parts
from lightning_subliminal.lineage import RowsTree

__all__ = ["RowsDigest", "content_digest"]


def content_digest(rows: Iterable[Row]) -> str:
    """Return the SHA-256 of each row's ``trained_parts``, in their order: ``rows_digest`` without other columns."""
    digest = RowsDigest()
    for row in rows:
        digest.add(row)
    return digest.hexdigest()


class RowsDigest:
    """A SHA-256 that grows row by row."""

    def __init__(self) -> None:
        self.rows = 0
        self._sha = hashlib.sha256()
        self.tree = RowsTree()
        self._json = json.JSONEncoder(sort_keys=True, ensure_ascii=False)

    def add(self, row: Row) -> None:
        """Add a row."""
        self.tree.add(row)
        self._sha.update(f"{self._json.encode(trained_parts(row))}\n".encode())
        self.rows += 1

    def hexdigest(self) -> str:
        """Return the digest of the rows so far as 64 hexadecimal digits."""
        return self._sha.hexdigest()
