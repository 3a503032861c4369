"""The digest of a data set as the root of a Merkle tree over its rows, and proofs that single rows belong to it.

The tree is that of RFC 6962, section 2.1: a leaf is SHA-256(0x00 | row), a node SHA-256(0x01 | left | right), and the
left subtree holds the largest power of two of rows below their number. So a leaf can't pass for a node, and the root
changes if rows are changed, added, dropped, duplicated or reordered.

A leaf holds prompt, completion and, of a pair, the other completion `rejected`: role and content of each message and
its further keys, such as `weight`, `name` or `tool_calls`, which other trainers read. A key with the value None counts
as absent, since Parquet adds the keys of all messages to each. Ids and other columns, such as `finished` (it decides
whether the end token is trained on), are bound only by the digest of the file.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Row, trained_parts

__all__ = [
    "RowsTree",
    "check_proof",
    "inclusion_path",
    "leaf_digest",
    "merkle_root",
    "prove_rows",
    "root_from_path",
    "rows_root",
]


def leaf_digest(row: Row) -> bytes:
    """Return a row's leaf: its ``trained_parts`` as JSON with sorted keys, no spaces, in UTF-8.

    Example:
        >>> leaf_digest({"prompt": [], "completion": [], "id": "any"}).hex()[:8]
        '1ec38f81'
    """
    kept = {
        key: [{"role": part["role"], "content": part["content"]} | _further(part) for part in messages]
        for key, messages in trained_parts(row).items()
    }
    text = json.dumps(kept, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=str)
    return hashlib.sha256(b"\0" + text.encode(errors="surrogatepass")).digest()


def merkle_root(leaves: Sequence[bytes]) -> str:
    """Return the root of leaves, 64 hexadecimal digits; without leaves, the SHA-256 of no bytes."""
    level = list(leaves)
    while len(level) > 1:
        level = _parents(level)
    return level[0].hex() if level else hashlib.sha256().hexdigest()


def rows_root(rows: Iterable[Row]) -> tuple[str, int]:
    """Return the root of rows, and their number."""
    tree = RowsTree()
    for row in rows:
        tree.add(row)
    return tree.root(), tree.count


class RowsTree:
    """A root computed row by row; it keeps at most one digest per bit of the number of rows, and no rows."""

    def __init__(self) -> None:
        self.count = 0
        self._peaks: list[bytes] = []  # roots of full trees, largest first: one for each 1 bit of the count

    def add(self, row: Row) -> None:
        """Append a row."""
        node, waiting = leaf_digest(row), self.count
        while waiting & 1:
            node, waiting = _node(self._peaks.pop(), node), waiting >> 1
        self._peaks.append(node)
        self.count += 1

    def root(self) -> str:
        """Return the root of the rows so far, as ``merkle_root`` does."""
        if not self._peaks:
            return merkle_root([])
        *rest, node = self._peaks
        for peak in reversed(rest):
            node = _node(peak, node)
        return node.hex()


def inclusion_path(leaves: Sequence[bytes], place: int) -> list[str]:
    """Return the proof that a leaf is in the tree: the sibling digests on its path, lowest first (RFC 6962, 2.1.1).

    Raises:
        InputError: if there is no such leaf.
    """
    if not 0 <= place < len(leaves):
        raise InputError(f"There is no row {place}: the data set has rows 0 to {len(leaves) - 1}.")
    level, path = list(leaves), []
    while len(level) > 1:
        sibling = place ^ 1
        if sibling < len(level):
            path.append(level[sibling].hex())
        level, place = _parents(level), place // 2
    return path


def root_from_path(leaf: bytes, place: int, count: int, path: Sequence[str]) -> str:
    """Return the root that a leaf and its path lead to, for comparison with the root in a trusted statement.

    Args:
        leaf: the row's leaf.
        place: the row's index, from 0.
        count: number of rows of the data set.
        path: as ``inclusion_path`` returns it.

    Raises:
        InputError: if the path does not fit this index and count.
    """
    if not 0 <= place < count:
        raise InputError(f"The proof is for row {place} of {count}: expected an index from 0 to {count - 1}.")
    found, rest, width = leaf, list(path), count
    while width > 1:
        sibling = place ^ 1
        if sibling < width:
            if not rest:
                raise InputError(f"The proof is too short for a data set of {count} rows.")
            other = _bytes(rest.pop(0))
            found = _node(other, found) if place % 2 else _node(found, other)
        place, width = place // 2, (width + 1) // 2
    if rest:
        raise InputError(f"The proof is too long for a data set of {count} rows.")
    return found.hex()


def prove_rows(rows: Sequence[Row], places: Sequence[int]) -> dict[str, Any]:
    """Return a proof for some rows of a data set.

    Args:
        rows: the whole data set.
        places: indices of the rows, from 0.

    Returns:
        The root, the number of rows and, for each row, its index, its content, and its path to the root.

    Raises:
        InputError: if an index is out of range.
    """
    leaves = [leaf_digest(row) for row in rows]
    proven = []
    for place in dict.fromkeys(places):
        path = inclusion_path(leaves, place)
        proven.append({"place": place, "row": trained_parts(rows[place]), "path": path})
    return {"root": merkle_root(leaves), "count": len(leaves), "rows": proven}


def check_proof(proof: Any, root: str, count: int) -> int:
    """Check a proof against the root and number of rows in a trusted statement.

    Returns:
        The number of distinct rows that it proves.

    Raises:
        InputError: if it is not a valid proof, or a row is not in that data set at its index.
    """
    rows = proof.get("rows") if isinstance(proof, dict) else None
    if not isinstance(rows, list) or not rows:
        raise InputError("This is not a proof: expected `root`, `count` and `rows`, as `lineage prove` writes them.")
    proven: set[int] = set()
    for each in rows:
        try:
            place, row, path = each["place"], each["row"], each["path"]
            leaf = leaf_digest(row)
        except (KeyError, TypeError, AttributeError) as err:
            raise InputError("The proof has a row without `place`, `row` or `path`.") from err
        if further := sorted(set(row) - set(trained_parts(row))):
            raise InputError(f"The proof has a row with `{further[0]}`, which the root does not cover: leave it out.")
        if type(place) is not int or not isinstance(path, list):
            raise InputError("The proof has a row whose `place` is not a number, or whose `path` is not a list.")
        if root_from_path(leaf, place, count, path) != root:
            raise InputError(f"Row {place} is not in that data set, or not at that place.")
        proven.add(place)
    return len(proven)


def _further(message: dict[str, Any]) -> dict[str, Any]:
    """Return a message's keys other than role and content, equal from memory, JSON and Parquet."""
    return {key: _plain(each) for key, each in message.items() if key not in ("role", "content") and each is not None}


def _plain(value: Any) -> Any:
    """Return a value in the form common to all stores: no keys without a value, whole numbers as int."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items() if each is not None}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _parents(level: list[bytes]) -> list[bytes]:
    """Return the next level: pairs joined, and an unpaired last digest unchanged, which is RFC 6962's split."""
    joined = [_node(left, right) for left, right in zip(level[::2], level[1::2], strict=False)]
    return joined + level[len(level) - len(level) % 2 :]


def _node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\1" + left + right).digest()


def _bytes(digest: str) -> bytes:
    try:
        found = bytes.fromhex(digest)
    except (ValueError, TypeError) as err:
        raise InputError(f"{digest!r} in the proof is not a digest: expected 64 hexadecimal digits.") from err
    if len(found) != 32:
        raise InputError(f"{digest!r} in the proof is not a SHA-256: expected 64 hexadecimal digits.")
    return found
