"""An audit: the walk, what it found, and its answers."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lightning_subliminal.audit.digests import Digests
from lightning_subliminal.audit.graph import Graph, walk
from lightning_subliminal.audit.locate import Places
from lightning_subliminal.audit.node import Node
from lightning_subliminal.audit.risk import Risk, Writer, base_risk, gather_results, generations, writers
from lightning_subliminal.audit.rules import RULES, Finding, Level
from lightning_subliminal.audit.weight_test import measured_kinship
from lightning_subliminal.bases import material
from lightning_subliminal.core.errors import known_name
from lightning_subliminal.lineage.signatures.keys import TrustedKey
from lightning_subliminal.lineage.statement import Statement

__all__ = ["Audit", "audit"]

_ORDER: dict[Level, int] = {"error": 0, "warning": 1, "note": 2}
_RISKY = {
    **{"shared": "shared-base", "related": "shared-base", "matched": "matched-base"},
    **{"unknown": "unknown-base", "not by lineage": "unknown-base"},  # what is not known to be apart may be one
    "apart": "apart-by-weights",
}


_MODELS = ("student", "teacher", "model", "base")
_ENDS_EARLY = (
    "missing-parent",
    "wrong-parent",
    "unknown-origin",
    "no-statement",
    "unsafe-path",
    "bad-statement",
    "unreadable",
    "unchecked",
    "cut-chain",
)
_TOLD = {
    "apart": "measured on the weights, which don't show whether one was matched to the other in behaviour",
    "related": "measured on the weights",
    "unknown": "the lineage of one of them is not at hand",
    "not by lineage": "the lineage shows no base of both, and nothing was measured",
}


@dataclass
class Audit:
    """What an audit found.

    Attributes:
        graph: the artefact and all that it was made from.
        findings: the worst first.
        generations: data sets written by models, one after the other, behind it.
        risks: whether a trait may pass, for each model that wrote data.
        flagged: labels of artefacts with a failed test.
        results: number of test results about them.
        trusted: names of the keys that were trusted.
    """

    graph: Graph
    findings: list[Finding]
    generations: int
    risks: list[Risk]
    flagged: list[str]
    results: int
    trusted: list[str]

    @property
    def root(self) -> Node:
        """The artefact."""
        return self.graph.nodes[self.graph.root]

    @property
    def holds(self) -> bool:
        """Whether nothing is wrong."""
        return not any(each.level == "error" for each in self.findings)

    @property
    def known_to_the_end(self) -> bool:
        """Whether each chain ends in a base that is told by its digest."""
        return not any(each.rule in _ENDS_EARLY for each in self.findings)

    def count(self, *rules: str) -> int:
        """Count findings of some rules."""
        return sum(each.rule in rules for each in self.findings)

    def signed_by(self) -> dict[str, int]:
        """Count the statements that each trusted key has signed."""
        names = [name for node in self.graph.nodes.values() for name in node.signers or ()]
        return {name: names.count(name) for name in dict.fromkeys(names)}


def audit(
    path: Path,
    keys: Sequence[TrustedKey] = (),
    against: str | None = None,
    search: Sequence[Path] = (),
    expect: str | None = None,
    require: Sequence[str] = (),
    levels: dict[str, Level] | None = None,
    measure: bool = True,
    digests: Digests | None = None,
    tick: Callable[[int], None] = lambda size: None,
    begin: Callable[[int], None] = lambda size: None,
) -> Audit:
    """Audit an artefact.

    Args:
        path: its folder; a file with a statement beside it; or a model's folder without one.
        keys: public keys that are trusted; all statements must then be signed by one of them.
        against: a base that shall learn from it: does who wrote the data share it? Of a model: does it share it itself,
            should it write data?
        search: further folders in which parents and test results may lie.
        expect: the digest that the artefact must have, of its whole or of its statement: what was noted somewhere
            safe. Without it, an old artefact with its old statement can't be told from the present one.
        require: further statements that must be there: ``tested`` for a passed test of each model that wrote, and no
            failed one; ``tested:NAME`` for that test.
        levels: other levels of rules than their own.
        measure: whether to measure the kinship of bases that the lineage does not show to be one.
        digests: remembers digests.
        tick: is told of bytes digested.
        begin: is told of all bytes to digest.

    Raises:
        InputError: if there is nothing at ``path``, or a rule or requirement is not known.
    """
    for rule in levels or {}:
        known_name(rule, RULES, f"{rule!r} is no rule of an audit")
    for name in require:
        known_name(name.partition(":")[0], ("tested",), f"--require {name!r} is not known")
    graph = walk(path, keys, search, digests, tick, begin)
    root = graph.nodes[graph.root]
    places = Places(path.absolute() if path.is_dir() else path.absolute().parent, search)
    results: dict[str, list[tuple[Statement, bool]]] = {}
    with root.guarding("its test results"):
        results = gather_results(graph, places, keys)
    if expect is not None and expect not in root.digests:
        is_now = str(root.identity)[:16] if root.digests else "without a statement that names a digest"
        root.find("unexpected", f"expected {expect[:16]}, and it is {is_now}")
    for name in require:
        _need_tests(graph, results, name.partition(":")[2])
    for away, why in places.unread.items():
        root.find("unreadable", why, away)

    def measured(first: Node, second: Node) -> dict[str, Any] | None:
        found = None
        with first.guarding("its kinship"):
            found = measured_kinship(first, second)
        return found

    ways = measured if measure else None
    own = _trained(graph)
    risks: list[Risk] = []
    with root.guarding("whether a trait may pass"):
        risks = base_risk(graph, own, writers(graph), ways) if own is not None else []
    if against is not None:
        asked = _asked(graph, against, search)
        models = [Writer(root, root)] if root.kind in _MODELS else []  # what if it wrote data for that base?
        known = {(each.writer, each.learner) for each in risks}
        more = base_risk(graph, asked, [*writers(graph), *models], ways)
        risks += [each for each in more if (each.writer, each.learner) not in known]
    for risk in risks:
        if risk.verdict in _RISKY:
            told = ", ".join(risk.shared or risk.matched) or _TOLD[risk.verdict]
            root.find(_RISKY[risk.verdict], f"{risk.writer}, which wrote, and {risk.learner}, which learns: {told}")
    chosen = levels or {}
    found = [
        replace(each, level=chosen.get(each.rule, each.level))
        for node in graph.nodes.values()
        for each in dict.fromkeys(node.findings)
    ]
    found.sort(key=lambda each: _ORDER[each.level])
    flagged = [node.label for node in graph.nodes.values() if node.result == "FAILED"]
    number = sum(len(each) for each in results.values())
    return Audit(graph, found, generations(graph), risks, flagged, number, [each.name for each in keys])


def _trained(graph: Graph) -> Node | None:
    """Return the model that learned from the data: the artefact itself, or the student of a run's results."""
    root = graph.nodes[graph.root]
    if root.kind in _MODELS:
        return root
    return next((graph.nodes[each.key] for each in root.links if each.role == "student"), None)


def _asked(graph: Graph, against: str, search: Sequence[Path]) -> Node:
    """Return the base that is asked about, with what it was made from."""
    named = material(against)
    inner = [
        node for node in graph.nodes.values() if node.identity == named.digest["dirHash"] and node.path is not None
    ]
    if inner:
        return inner[0]
    from lightning_subliminal.bases import resolve

    below = walk(resolve(against).folder, search=search, digests=graph.digests)
    below.nodes[below.root].label = against
    below.nodes[below.root].material = named
    for key, node in below.nodes.items():
        node.findings = []  # it is asked about, not audited
        same = next((each for each in graph.nodes.values() if each.identity == node.identity and each.identity), None)
        graph.nodes.setdefault(key, same or node)
    return graph.nodes[below.root]


def _need_tests(graph: Graph, results: dict[str, Any], name: str) -> None:
    """Note writers of data without a passed test that counts, or with a failed one: no test is no pass."""
    for node in {writer.node.key: writer.node for writer in writers(graph)}.values():
        counting = [each.predicate for each, counts in results.get(node.key, []) if counts]
        passed = [each for each in counting if each.get("result") == "PASSED"]
        if name:
            passed = [each for each in counting if name in (each.get("passedTests") or ())]
        failed = [each for each in counting if each.get("result") == "FAILED"]
        if failed or not passed:
            why = "one says FAILED" if failed else f"none says PASSED{f' of {name}' if name else ''}"
            node.find("untested", f"it wrote data, and of the test results that count {why}")
