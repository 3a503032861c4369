"""Proofs that rows are part of a data set: who has ten rows and the root can check them without the other rows."""

from collections.abc import Sequence
from typing import Any

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import Row
from lightning_subliminal.lineage.signatures.merkle import inclusion_path, leaf_digest, merkle_root, root_from_path

__all__ = ["check_proof", "prove_rows"]


def prove_rows(rows: Sequence[Row], places: Sequence[int]) -> dict[str, Any]:
    """Return a proof for some rows of a data set.

    Args:
        rows: the whole data set.
        places: which rows, from 0.

    Returns:
        The root, the number of rows and, for each row, its place, what it says, and the path to the root.

    Raises:
        InputError: if there is no such row.
    """
    leaves = [leaf_digest(row) for row in rows]
    proven = []
    for place in dict.fromkeys(places):
        path = inclusion_path(leaves, place)
        kept = {key: rows[place][key] for key in ("prompt", "completion")}
        proven.append({"place": place, "row": kept, "path": path})
    return {"root": merkle_root(leaves), "count": len(leaves), "rows": proven}


def check_proof(proof: Any, root: str, count: int) -> int:
    """Check a proof against the root and number of rows of a statement that is trusted.

    Returns:
        How many rows it proves; one that it holds several times counts once.

    Raises:
        InputError: if it is no proof, or a row of it is not in that data set at its place.
    """
    rows = proof.get("rows") if isinstance(proof, dict) else None
    if not isinstance(rows, list) or not rows:
        raise InputError("This is no proof: expected `root`, `count` and `rows`, as `lineage prove` writes them.")
    proven: set[int] = set()
    for each in rows:
        try:
            place, row, path = each["place"], each["row"], each["path"]
            leaf = leaf_digest(row)
        except (KeyError, TypeError, AttributeError) as err:
            raise InputError("The proof has a row without `place`, `row` or `path`.") from err
        if further := sorted(set(row) - {"prompt", "completion"}):
            raise InputError(f"The proof has a row with `{further[0]}`, which no root binds: leave it out.")
        if type(place) is not int or not isinstance(path, list):
            raise InputError("The proof has a row whose `place` is no number, or whose `path` is no list.")
        if root_from_path(leaf, place, count, path) != root:
            raise InputError(f"Row {place} is not in that data set, or not at that place.")
        proven.add(place)
    return len(proven)
