"""Screens of data sets as a requirement of an audit: is each one clean for the base that learns from it?

A screen is a test result (in-toto) whose configuration names the screen, its base and its reference
(``plans/screening/record.py`` writes it). It counts for the bytes, or the rows, that its subject's digests name.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lightning_subliminal.audit.locate import Places
from lightning_subliminal.audit.node import Node
from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.io.adapter_names import holds_model
from lightning_subliminal.lineage.material import Material
from lightning_subliminal.lineage.names import artefact_files, dir_hash
from lightning_subliminal.lineage.statement import TEST_RESULT, Statement, read_statement

if TYPE_CHECKING:
    from lightning_subliminal.audit.graph import Graph

__all__ = ["need_screens", "present_digests"]

_DATA = ("rows", "completions", "file", "data")  # kinds and roles of data sets
_OTHER_BYTES = ("changed-file", "changed-rows", "lost-file", "unlisted-file", "wrong-parent")


def present_digests(graph: "Graph", node: Node) -> set[str]:
    """Return digests by which a screen of a data set finds it, besides those of its statement.

    These are the roots of its rows, and without a statement the present digest of its file or folder.
    """
    if node.statement is not None:
        return {root for root, _ in node.statement.rows.values()}
    path = node.path
    if path is None or (path.is_dir() and holds_model(path)):
        return set()
    if path.is_file():
        return {sha} if (sha := graph.digests.get(path)) else set()
    files = {name: graph.digests.get(path / name) or "unreadable" for name in artefact_files(path)}
    return {dir_hash(files)} if files else set()


def need_screens(
    graph: "Graph",
    results: Mapping[str, Sequence[tuple[Statement, bool]]],
    places: Places,
    against: Material | None,
) -> None:
    """Report each data set without a passed screen that counts, or with a failed one, for a base that learns from it.

    Args:
        graph: of the audit.
        results: test results by node, each with whether it counts.
        places: where screens of other bytes are looked for, to say so.
        against: the base that will learn from the artefact, if it is a data set.
    """
    for data, learners in _data_sets(graph, against):
        screens = [each for each, counts in results.get(data.key, []) if counts and _part(each, "screen") is not None]
        if not screens:
            data.report("unscreened", _none_found(data, places))
        elif changed := [each.rule for each in data.findings if each.rule in _OTHER_BYTES]:
            data.report("unscreened", f"its screen is of other bytes: {', '.join(dict.fromkeys(changed))}")
        for base in learners if screens else ():
            if why := _lacking(screens, base):
                data.report("unscreened", why)


def _data_sets(graph: "Graph", against: Material | None) -> list[tuple[Node, list[Material | None]]]:
    """Return the data sets that must be clean, each with the bases that learn from it; None for any base."""
    found: dict[str, list[Material | None]] = {}
    root = graph.nodes[graph.root]
    is_bare = root.statement is None and root.path is not None and (root.path.is_file() or not holds_model(root.path))
    if root.kind in _DATA or is_bare:
        found[root.key] = [against]
    for node in graph.upstream(graph.root):
        if node.kind in _DATA:
            continue
        mine = [graph.nodes[link.key].material for link in node.links if link.role == "base"]
        for link in node.links:
            if link.role in _DATA:
                found.setdefault(link.key, []).extend(mine or [None])
    return [(graph.nodes[key], list({str(each): each for each in bases}.values())) for key, bases in found.items()]


def _lacking(screens: Sequence[Statement], base: Material | None) -> str:
    """Return why screens do not show that a data set is clean for a base; empty if they do."""
    name = base.uri.removeprefix("base:") if base is not None else ""
    if base is not None:
        others = {str(_part(each, "base", "uri")).removeprefix("base:") for each in screens}
        screens = [each for each in screens if _part(each, "base", "digest") == dict(base.digest)]
        if not screens:
            return f"it was screened for {', '.join(sorted(others))}, and not for {name}, which learns from it"
    stated = [str(each.predicate.get("result")) for each in screens]
    if "FAILED" in stated:
        failed = screens[stated.index("FAILED")]
        return f"its screen failed the test: {', '.join(map(str, failed.predicate.get('failedTests') or ['FAILED']))}"
    if "PASSED" not in stated:
        notes = _part(screens[0], "screen", "annotations")
        doubts = notes.get("doubts") if isinstance(notes, dict) else None
        return f"its screen could not decide: {', '.join(map(str, doubts or ['no reason is given']))}"
    return ""


def _none_found(data: Node, places: Places) -> str:
    """Return the message for a data set without a screen, with whether one of the same name is of other bytes."""
    name = data.label.rpartition("/")[2]
    for path in places.test_results():
        try:
            statement = read_statement(path)
        except (InputError, OSError):
            continue
        named = [str(each.get("uri", "")).rpartition("/")[2] for each in statement.subjects]
        if statement.predicate_type == TEST_RESULT and _part(statement, "screen") is not None and name in named:
            return f"no screen of its bytes counts: {path} is of other bytes, or signed by no trusted key"
    return "no screen of it that counts was found: `screen FILE --base BASE --out DIR` writes one"


def _part(statement: Statement, role: str, field: str | None = None) -> Any:
    """Return the entry of a test result's configuration with a role, or a field of it; None if there is none."""
    setup = statement.predicate.get("configuration")
    entries = [each for each in (setup if isinstance(setup, list) else []) if isinstance(each, dict)]
    found = next((each for each in entries if each.get("name") == role), None)
    return found if field is None or found is None else found.get(field)
