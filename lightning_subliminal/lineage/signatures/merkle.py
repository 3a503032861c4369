"""The digest of a data set as the root of a tree over its rows, so that a part of it can be checked without the rest.

The tree is that of RFC 6962, section 2.1: a leaf is SHA-256(0x00 | row), a node SHA-256(0x01 | left | right), and the
left half holds the largest power of two of rows that is smaller than all. So no leaf can pass for a node, and rows
that are changed, added, dropped, doubled or put in another order change the root.

A leaf holds prompt and completion: role and content of each message, and further keys where a message has any, such as
`weight`, `name` or `tool_calls`, which other trainers read. A key without a value is none: Parquet gives each message
the keys of all. Ids and other columns of a row, such as whether a completion was finished (then its end is trained on,
too), are bound by the digest of the file alone.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Row

__all__ = ["RowsTree", "inclusion_path", "leaf_digest", "merkle_root", "root_from_path", "rows_root"]


def leaf_digest(row: Row) -> bytes:
    """Return a row's leaf: of its prompt and completion as JSON with sorted keys, no spaces, in UTF-8.

    Example:
        >>> leaf_digest({"prompt": [], "completion": [], "id": "any"}).hex()[:8]
        '1ec38f81'
    """
    kept = {
        key: [{"role": part["role"], "content": part["content"]} | _further(part) for part in row[key]]
        for key in ("prompt", "completion")
    }
    text = json.dumps(kept, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(b"\0" + text.encode(errors="surrogatepass")).digest()


def merkle_root(leaves: Sequence[bytes]) -> str:
    """Return the root over leaves, 64 hexadecimal digits; of none, the SHA-256 of nothing."""
    level = list(leaves)
    if not level:
        return hashlib.sha256().hexdigest()
    while len(level) > 1:
        level = _above(level)
    return level[0].hex()


def rows_root(rows: Iterable[Row]) -> tuple[str, int]:
    """Return the root over rows, and how many they are."""
    tree = RowsTree()
    for row in rows:
        tree.add(row)
    return tree.root(), tree.count


class RowsTree:
    """A root that grows row by row; it keeps a digest for each bit of the number of rows, and no row."""

    def __init__(self) -> None:
        self.count = 0
        self._peaks: list[bytes] = []  # roots of full trees, the largest first: one for each 1 in the count's bits

    def add(self, row: Row) -> None:
        """Put a row behind the others."""
        node, waiting = leaf_digest(row), self.count
        while waiting & 1:
            node, waiting = _node(self._peaks.pop(), node), waiting >> 1
        self._peaks.append(node)
        self.count += 1

    def root(self) -> str:
        """Return the root over the rows so far, as ``merkle_root`` does."""
        if not self._peaks:
            return merkle_root([])
        *rest, node = self._peaks
        for peak in reversed(rest):
            node = _node(peak, node)
        return node.hex()


def inclusion_path(leaves: Sequence[bytes], place: int) -> list[str]:
    """Return what proves that a leaf is in the tree: the digests beside its way up, lowest first (RFC 6962, 2.1.1).

    Raises:
        InputError: if there is no such leaf.
    """
    if not 0 <= place < len(leaves):
        raise InputError(f"There is no row {place}: the data set has rows 0 to {len(leaves) - 1}.")
    level, path = list(leaves), []
    while len(level) > 1:
        beside = place ^ 1
        if beside < len(level):
            path.append(level[beside].hex())
        level, place = _above(level), place // 2
    return path


def root_from_path(leaf: bytes, place: int, count: int, path: Sequence[str]) -> str:
    """Return the root that a leaf and its path lead to; compare it with the one that a trusted statement names.

    Args:
        leaf: the row's.
        place: of the row, from 0.
        count: rows of the data set.
        path: as ``inclusion_path`` gives it.

    Raises:
        InputError: if the path is not one for this place and count.
    """
    if not 0 <= place < count:
        raise InputError(f"A proof for row {place} of {count} can't be: expected a place from 0 to {count - 1}.")
    found, rest, width = leaf, list(path), count
    while width > 1:
        beside = place ^ 1
        if beside < width:
            if not rest:
                raise InputError(f"The proof is too short for a data set of {count} rows.")
            other = _bytes(rest.pop(0))
            found = _node(other, found) if place % 2 else _node(found, other)
        place, width = place // 2, (width + 1) // 2
    if rest:
        raise InputError(f"The proof is too long for a data set of {count} rows.")
    return found.hex()


def _further(message: dict[str, Any]) -> dict[str, Any]:
    """Return what a message holds beside role and content, alike from memory, JSON and Parquet."""
    return {key: _plain(each) for key, each in message.items() if key not in ("role", "content") and each is not None}


def _plain(value: Any) -> Any:
    """Return a value as each store gives it: no keys without a value, and whole numbers of one kind."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items() if each is not None}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _above(level: list[bytes]) -> list[bytes]:
    """Return the next level: pairs joined; one that is left over goes up as it is, which is RFC 6962's split."""
    joined = [_node(left, right) for left, right in zip(level[::2], level[1::2], strict=False)]
    return joined + level[len(level) - len(level) % 2 :]


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def _bytes(digest: str) -> bytes:
    try:
        found = bytes.fromhex(digest)
    except (ValueError, TypeError) as err:
        raise InputError(f"{digest!r} in the proof is no digest: expected 64 hexadecimal digits.") from err
    if len(found) != 32:
        raise InputError(f"{digest!r} in the proof is no SHA-256: expected 64 hexadecimal digits.")
    return found
