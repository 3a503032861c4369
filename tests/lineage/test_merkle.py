"""The root over rows, against RFC 6962's own definition, which is recursive; ours goes level by level, or by peaks."""

import hashlib
import json

import pytest
from cases import cases

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.rows import make_row, read_parquet, write_parquet
from lightning_subliminal.lineage import (
    RowsTree,
    inclusion_path,
    leaf_digest,
    merkle_root,
    root_from_path,
    rows_root,
)
from lightning_subliminal.lineage.signatures.merkle import check_proof, prove_rows

SIZES = range(41)
# Roots over the first 1 to 8 of these leaves, as the tests of Certificate Transparency's logs have them.
CT_LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
CT_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def sha(data):
    return hashlib.sha256(data).digest()


def split(count):
    """Return the largest power of two below ``count``: where RFC 6962 cuts a list."""
    half = 1
    while half * 2 < count:
        half *= 2
    return half


def tree_hash(leaves):
    """RFC 6962, section 2.1: MTH, of leaves that are hashed already."""
    if not leaves:
        return sha(b"")
    if len(leaves) == 1:
        return leaves[0]
    half = split(len(leaves))
    return sha(b"\1" + tree_hash(leaves[:half]) + tree_hash(leaves[half:]))


def audit_path(place, leaves):
    """RFC 6962, section 2.1.1: PATH."""
    if len(leaves) == 1:
        return []
    half = split(len(leaves))
    if place < half:
        return [*audit_path(place, leaves[:half]), tree_hash(leaves[half:])]
    return [*audit_path(place - half, leaves[half:]), tree_hash(leaves[:half])]


def rows(count):
    return [make_row(f"Go on: {place}", f"{place + 1}, {place + 2}", id=str(place)) for place in range(count)]


def leaves(count):
    return [leaf_digest(row) for row in rows(count)]


def test_a_pair_has_a_leaf_of_both_completions():
    plain, pair = make_row("a", "b"), make_row("a", "b", rejected=[{"role": "assistant", "content": "c"}])
    other = {**pair, "rejected": [{"role": "assistant", "content": "d"}]}
    assert len({leaf_digest(each) for each in (plain, pair, other)}) == 3
    for column in (None, "a text", 0.5):  # of a row that is no pair, or has a column of another kind
        assert leaf_digest({**plain, "rejected": column}) == leaf_digest(plain)
    proof = prove_rows([plain, pair], [1])
    root, count = rows_root([plain, pair])
    assert check_proof(proof, root, count) == 1
    proof["rows"][0]["row"]["rejected"][0]["content"] = "d"
    with pytest.raises(InputError, match="Row 1 is not in that data set"):
        check_proof(proof, root, count)


def test_published_roots():
    hashed = [sha(b"\0" + bytes.fromhex(leaf)) for leaf in CT_LEAVES]
    assert [merkle_root(hashed[: count + 1]) for count in range(8)] == CT_ROOTS
    assert merkle_root([]) == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@cases("count", SIZES)
def test_root_and_paths_are_those_of_the_recursive_definition(count):
    made = leaves(count)
    root = tree_hash(made).hex()
    assert merkle_root(made) == root
    assert rows_root(rows(count)) == (root, count)
    for place, leaf in enumerate(made):
        path = inclusion_path(made, place)
        assert path == [each.hex() for each in audit_path(place, made)]
        assert root_from_path(leaf, place, count, path) == root


def test_a_tree_that_grows_has_the_root_of_what_it_holds_so_far():
    tree, made = RowsTree(), []
    assert tree.root() == merkle_root([])
    for row in rows(70):
        tree.add(row)
        made.append(leaf_digest(row))
        assert (tree.root(), tree.count) == (tree_hash(made).hex(), len(made))


def test_the_root_says_nothing_of_how_rows_are_stored(tmp_path):
    plain = rows(9)
    write_parquet([{**row, "finished": True} for row in plain], tmp_path / "rows.parquet")
    assert rows_root(read_parquet(tmp_path / "rows.parquet")) == rows_root(plain)
    assert rows_root(row for row in plain) == rows_root(plain), "a stream will do"
    assert rows_root(json.loads(json.dumps(plain, indent=3))) == rows_root(plain)


def changed(part, text):
    def change(old):
        new = json.loads(json.dumps(old))
        new[3][part][0]["content"] = text
        return new

    return change


CHANGES = {
    "completion": changed("completion", "5, 4"),
    "prompt": changed("prompt", "Go on: 3 "),
    "added": lambda old: [*old, make_row("a", "b")],
    "dropped": lambda old: old[:-1],
    "dropped-first": lambda old: old[1:],
    "doubled": lambda old: [*old, old[-1]],
    "doubled-first": lambda old: [old[0], *old],
    "swapped": lambda old: [old[1], old[0], *old[2:]],
    "reversed": lambda old: old[::-1],
    "parts": lambda old: [{**old[0], "prompt": old[0]["completion"], "completion": old[0]["prompt"]}, *old[1:]],
    "role": lambda old: [{**old[0], "prompt": [{"role": "system", "content": "Go on: 0"}]}, *old[1:]],
    "message": lambda old: [{**old[0], "prompt": old[0]["prompt"] * 2}, *old[1:]],
}


@cases("change", CHANGES.values(), ids=CHANGES)
@cases("count", [5, 6, 7, 8])
def test_what_is_trained_on_moves_the_root(change, count):
    assert rows_root(change(rows(count)))[0] != rows_root(rows(count))[0]


def test_a_doubled_last_row_does_not_hide_as_in_trees_that_pad():
    """Bitcoin's tree doubles the last node of an odd level, so 3 leaves and 4 with the last doubled have one root."""
    made = leaves(3)
    assert merkle_root([*made, made[-1]]) != merkle_root(made)
    made = leaves(6)
    assert merkle_root([*made, *made[-2:]]) != merkle_root(made)


def with_key(**further):
    return [make_row([{"role": "user", "content": "a"} | further], "b")]


@cases(
    "further", [{"weight": 0}, {"weight": 0.5}, {"name": "x"}, {"tool_calls": [{"id": "1", "function": {"name": "f"}}]}]
)
def test_further_keys_of_a_message_move_the_root_and_are_those_of_any_store(further, tmp_path):
    assert rows_root(with_key(**further)) != rows_root(with_key())
    both = with_key(**further) + with_key() + with_key(weight=1.5)
    write_parquet(both, tmp_path / "rows.parquet")  # gives each message the keys of all, and whole numbers as floats
    assert rows_root(read_parquet(tmp_path / "rows.parquet")) == rows_root(both)
    assert rows_root(with_key(weight=None, tool_calls=None)) == rows_root(with_key()), "a key without a value is none"


def test_what_is_not_trained_on_does_not_move_it():
    reported = [{**row, "id": "x", "finished": False, "answer": 3} for row in rows(5)]
    assert rows_root(reported) == rows_root(rows(5))
    assert leaf_digest({"completion": rows(1)[0]["completion"], "prompt": rows(1)[0]["prompt"]}) == leaves(1)[0]


def test_the_leaf_is_what_other_tools_can_compute():
    row = make_row('Gö "on"\n', "\u2028é😀", id="1")
    completion = '"completion":[{"content":"\u2028é😀","role":"assistant"}]'
    prompt = '"prompt":[{"content":"Gö \\"on\\"\\n","role":"user"}]'
    assert leaf_digest(row) == sha(b"\0{" + f"{completion},{prompt}".encode() + b"}")


def test_no_node_passes_for_a_leaf():
    made = leaves(4)
    nodes = [sha(b"\1" + made[0] + made[1]), sha(b"\1" + made[2] + made[3])]
    root = merkle_root(made)
    assert merkle_root(nodes) == root, "so it must be impossible to give rows whose leaves are these"
    forged = [sha(b"\0" + made[0] + made[1]), sha(b"\0" + made[2] + made[3])]
    assert merkle_root(forged) != root
    with pytest.raises(InputError, match="too short for a data set of 4 rows"):
        root_from_path(nodes[0], 0, 4, [nodes[1].hex()])


@cases("count", [2, 3, 5, 8, 13])
def test_a_path_holds_for_one_leaf_at_one_place_of_one_count(count):
    made = leaves(count)
    root = merkle_root(made)
    for place, leaf in enumerate(made):
        path = inclusion_path(made, place)
        for other in range(count):
            if other != place:
                assert _root(leaf, other, count, path) != root, "another place"
                assert _root(made[other], place, count, path) != root, "another row"
        for at in range(len(path)):
            assert _root(leaf, place, count, [*path[:at], leaf.hex(), *path[at + 1 :]]) != root, "another digest"
        assert _root(leaf, place, count, path[:-1]) is None
        assert _root(leaf, place, count, [*path, path[0]]) is None
        if len(path) > 1:
            assert _root(leaf, place, count, path[::-1]) != root


def _root(leaf, place, count, path):
    """Return the root, or None where the path can't be one for this place and count."""
    try:
        return root_from_path(leaf, place, count, path)
    except InputError:
        return None


@cases(
    ("place", "count", "path", "message"),
    [
        (0, 4, ["00" * 32], "too short for a data set of 4 rows"),
        (0, 2, ["00" * 32] * 2, "too long for a data set of 2 rows"),
        (0, 1, ["00" * 32], "too long for a data set of 1 rows"),
        (2, 2, ["00" * 32], "row 2 of 2: expected an index from 0 to 1"),
        (-1, 2, ["00" * 32], "for row -1 of 2: expected an index"),
        (0, 0, [], "for row 0 of 0: expected an index"),
        (0, 2, ["zz" * 32], "is not a digest: expected 64 hexadecimal digits"),
        (0, 2, ["00" * 31], "is not a SHA-256: expected 64 hexadecimal digits"),
        (0, 2, [""], "is not a SHA-256"),
        (0, 2, [7], "7 in the proof is not a digest"),
        (0, 2, [None], "None in the proof is not a digest"),
    ],
)
def test_bad_proofs_are_reported(place, count, path, message):
    with pytest.raises(InputError, match=message) as caught:
        root_from_path(b"\0" * 32, place, count, path)
    assert "\n" not in str(caught.value)


@cases("place", [-1, 5, 6])
def test_a_row_that_is_not_there_has_no_path(place):
    with pytest.raises(InputError, match=f"There is no row {place}: the data set has rows 0 to 4"):
        inclusion_path(leaves(5), place)
