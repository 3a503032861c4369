"""Run an audit: the walk, further checks, and the risk that a trait passes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from lightning_subliminal.audit.digests import Digests
from lightning_subliminal.audit.graph import Graph, walk
from lightning_subliminal.audit.locate import Places
from lightning_subliminal.audit.node import Node
from lightning_subliminal.audit.risk import Risk, Writer, base_risk, gather_results, generations, writers
from lightning_subliminal.audit.rules import RULES, Finding, Level
from lightning_subliminal.audit.screens import need_screens
from lightning_subliminal.bases import material, resolve
from lightning_subliminal.bases.folders import weight_bytes
from lightning_subliminal.core.errors import InputError, known_name
from lightning_subliminal.lineage.signatures.keys import TrustedKey
from lightning_subliminal.lineage.statement import Statement

__all__ = ["Audit", "audit", "measured_kinship"]

_ORDER: dict[Level, int] = {"error": 0, "warning": 1, "note": 2}
_RISKY = {
    **{"shared": "shared-base", "related": "shared-base", "matched": "matched-base"},
    **{"unknown": "unknown-base", "not by lineage": "unknown-base"},  # they may share a base
    "apart": "apart-by-weights",
}
_REASONS = {
    "apart": "measured on the weights, which don't show whether one was matched to the other in behaviour",
    "related": "measured on the weights",
    "unknown": "the lineage of one of them was not found",
    "not by lineage": "the lineage shows no common base, and nothing was measured",
}
_MODELS = ("student", "teacher", "model", "base")
_ENDS_EARLY = (
    *("missing-parent", "wrong-parent", "unknown-origin", "no-statement", "unsafe-path", "bad-statement"),
    *("unreadable", "unchecked", "cut-chain"),
)
_MOST_BYTES = 2**31  # of weights: to compare larger models, such as two of 7B, the user runs `kinship`


@dataclass
class Audit:
    """What an audit found.

    Attributes:
        graph: the artefact and everything it was made from.
        findings: the findings, worst first.
        generations: number of successive data sets written by models behind it.
        risks: whether a trait may pass, for each model that wrote data.
        flagged: labels of artefacts with a failed test.
        results: number of test results about the artefacts.
        trusted: names of the trusted keys.
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
        """Whether there are no errors."""
        return not any(each.level == "error" for each in self.findings)

    @property
    def known_to_the_end(self) -> bool:
        """Whether each chain ends in a base known by its digest."""
        return not any(each.rule in _ENDS_EARLY for each in self.findings)

    @cached_property
    def levels(self) -> dict[str, Level]:
        """The level of each rule among the findings."""
        return {each.rule: each.level for each in self.findings}

    def count(self, *rules: str) -> int:
        """Return the number of findings of some rules."""
        return sum(each.rule in rules for each in self.findings)

    def signed_by(self) -> dict[str, int]:
        """Return the number of statements that each trusted key has signed."""
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
        path: its folder, a file with a statement next to it, or a model's folder without one.
        keys: trusted public keys; each statement must then be signed by one of them.
        against: a base that will learn from it: do the writers of the data share it? Does a model itself share it, in
            case it writes data?
        search: further folders in which parents and test results may be.
        expect: the digest of its folder or statement that it must have, as noted at an earlier audit. Without it, an
            old artefact with its old statement looks like the present one.
        require: further conditions: ``tested`` for a passed and no failed test of each model that wrote data;
            ``tested:NAME`` for that test; ``screened`` for a clean screen of each data set that a model behind the
            artefact trained on, for that model's base, and of the artefact itself if it is one, for ``against``.
        levels: levels of rules that differ from their own.
        measure: whether to measure the kinship of bases whose lineage does not show a common one.
        digests: remembers digests.
        tick: called with numbers of bytes as they are digested.
        begin: called with the number of all bytes to digest.

    Raises:
        InputError: if ``path`` does not exist, or a rule or requirement is not known.
    """
    for rule in levels or {}:
        known_name(rule, RULES, f"unknown rule {rule!r}")
    for name in require:
        known_name(name.partition(":")[0], ("tested", "screened"), f"--require {name!r} is not known")
    graph = walk(path, keys, search, digests, tick, begin)
    root = graph.nodes[graph.root]
    places = Places(path.absolute() if path.is_dir() else path.absolute().parent, search)
    results: dict[str, list[tuple[Statement, bool]]] = {}
    with root.guarding("its test results"):
        results = gather_results(graph, places, keys)
    if expect is not None and expect not in root.digests:
        now = f"is {str(root.identity)[:16]}" if root.digests else "is unknown without a statement"
        root.report("unexpected", f"its digest {now}: expected {expect[:16]}")
    for name in require:
        if name == "screened":
            need_screens(graph, results, places, material(against) if against is not None else None)
        else:
            _need_tests(graph, results, name.partition(":")[2])
    for away, why in places.unread.items():
        root.report("unreadable", why, away)

    def guarded_kinship(first: Node, second: Node) -> dict[str, Any] | None:
        found = None
        with first.guarding("its kinship"):
            found = measured_kinship(first, second)
        return found

    measured = guarded_kinship if measure else None
    # The model that learned from the data: the artefact itself, or the student in a run's folder.
    students = [graph.nodes[each.key] for each in root.links if each.role == "student"]
    own = next(iter([root] if root.kind in _MODELS else students), None)
    risks: list[Risk] = []
    with root.guarding("whether a trait may pass"):
        risks = base_risk(graph, own, writers(graph), measured) if own is not None else []
    if against is not None:
        learner = _learner(graph, against, search)
        models = [Writer(root, root)] if root.kind in _MODELS else []  # in case it writes data for that base
        known = {(each.writer, each.learner) for each in risks}
        more = base_risk(graph, learner, [*writers(graph), *models], measured)
        risks += [each for each in more if (each.writer, each.learner) not in known]
    for risk in risks:
        if risk.verdict in _RISKY:
            why = ", ".join(risk.shared or risk.matched) or _REASONS[risk.verdict]
            root.report(_RISKY[risk.verdict], f"{risk.writer} wrote the data, {risk.learner} learns from it: {why}")
    found = [each for node in graph.nodes.values() for each in dict.fromkeys(node.findings)]
    found = [replace(each, level=(levels or {}).get(each.rule, each.level)) for each in found]
    found.sort(key=lambda each: _ORDER[each.level])
    flagged = [node.label for node in graph.nodes.values() if node.result == "FAILED"]
    number = sum(len(each) for each in results.values())
    return Audit(graph, found, generations(graph), risks, flagged, number, [each.name for each in keys])


def measured_kinship(first: Node, second: Node) -> dict[str, Any] | None:
    """Measure whether the weights of two models come from one initialisation; None if they were not found."""
    if first.path is None or second.path is None:
        return None
    from lightning_subliminal.evaluation import find_model
    from lightning_subliminal.kinship import kinship

    if max(weight_bytes(first.path), weight_bytes(second.path)) > _MOST_BYTES:
        return None
    try:
        return kinship(find_model(str(first.path)), find_model(str(second.path)), by="weights").as_json()
    except InputError:  # not a model, or without known projections
        return None


def _learner(graph: Graph, against: str, search: Sequence[Path]) -> Node:
    """Add the base that will learn, with everything it was made from, to the graph and return it."""
    named = material(against)
    for node in graph.nodes.values():
        if node.identity == named.digest["dirHash"] and node.path is not None:
            return node
    below = walk(resolve(against).folder, search=search, digests=graph.digests)
    below.nodes[below.root].label = against
    below.nodes[below.root].material = named
    for key, node in below.nodes.items():
        node.findings = []  # it is not audited
        same = next((each for each in graph.nodes.values() if each.identity == node.identity and each.identity), None)
        graph.nodes.setdefault(key, same or node)
    return graph.nodes[below.root]


def _need_tests(graph: Graph, results: dict[str, Any], name: str) -> None:
    """Report writers of data without a passed test that counts, or with a failed one."""
    for node in {writer.node.key: writer.node for writer in writers(graph)}.values():
        counting = [each.predicate for each, counts in results.get(node.key, []) if counts]
        passed = [each for each in counting if each.get("result") == "PASSED"]
        if name:
            passed = [each for each in counting if name in (each.get("passedTests") or ())]
        failed = [each for each in counting if each.get("result") == "FAILED"]
        if failed or not passed:
            why = "one is FAILED" if failed else f"none is PASSED{f' for {name}' if name else ''}"
            node.report("untested", f"it wrote data, and of its test results that count, {why}")
