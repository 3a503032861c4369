"""The questions that an audit answers: may a trait pass, how many generations of synthetic data, any failed test?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lightning_subliminal.audit.graph import Graph
from lightning_subliminal.audit.locate import Places
from lightning_subliminal.audit.node import WRITERS, Node
from lightning_subliminal.audit.screens import present_digests
from lightning_subliminal.core.errors import InputError, UnreadableError
from lightning_subliminal.core.io.bounds import MAX_LINKS
from lightning_subliminal.lineage.names import envelope_place
from lightning_subliminal.lineage.signatures.dsse import is_signed_by
from lightning_subliminal.lineage.signatures.keys import TrustedKey
from lightning_subliminal.lineage.statement import TEST_RESULT, Statement, read_statement

__all__ = ["Risk", "Writer", "base_risk", "gather_results", "generations", "writers"]

_WORST = ("FAILED", "WARNED", "PASSED")
_TESTS = ("passedTests", "warnedTests", "failedTests")
_DATA = ("completions", "rows", "file", "data")
_NO_TEACHERS = ("judge", "control", "filter")
_ALIKE = "one initialisation"  # a verdict of `kinship`
_MOST_ENDS = 3  # bases of a merge that are compared, each with each


@dataclass(frozen=True)
class Writer:
    """A model that wrote data.

    Attributes:
        node: the model.
        wrote: the data set.
        base: the base that the data set's statement names in addition to the model; None if it names none.
    """

    node: Node
    wrote: Node
    base: Node | None = None


@dataclass(frozen=True)
class Risk:
    """Whether a trait of a model that wrote the data may pass to a model that learns from it.

    Attributes:
        writer: label of the model that wrote.
        learner: label of the model that learns.
        shared: labels of the bases that both descend from.
        matched: labels of bases that one was trained to imitate and the other descends from.
        measured: the result of ``kinship`` for their bases; None if it was not measured.
        verdict: shared, matched, related (by measurement), apart, not by lineage, or unknown.
    """

    writer: str
    learner: str
    shared: tuple[str, ...]
    matched: tuple[str, ...]
    measured: dict[str, Any] | None
    verdict: str


def is_written(graph: Graph, node: Node) -> bool:
    """Return whether a model wrote a data set: completions, or rows whose statement names a model and no data."""
    roles = {link.role for link in node.links}
    return node.kind == "completions" or (node.kind == "rows" and bool(roles & set(WRITERS)) and not roles & set(_DATA))


def generations(graph: Graph) -> int:
    """Return the largest number of successive data sets written by models behind an artefact.

    Counted along training data and starting weights; judges and controls, from which it did not learn, are ignored.
    """
    depth: dict[str, int] = {}
    for node in graph.parents_first(_NO_TEACHERS):
        behind = [depth.get(link.key, 0) for link in node.links if link.role not in _NO_TEACHERS]
        depth[node.key] = max(behind, default=0) + is_written(graph, node)
    return depth[graph.root]


def writers(graph: Graph) -> list[Writer]:
    """Return the models whose traits may be in the data or the training behind an artefact.

    Data and students name them as teacher or student: models that wrote, chose or continued rows, or whose
    probabilities a student was trained on. If only a base is named, it wrote the data untrained.
    """
    found = []
    for node in graph.upstream(graph.root):
        if node.kind not in ("completions", "rows", "student"):
            continue
        models = [graph.nodes[link.key] for link in node.links if link.role in ("teacher", "student")]
        base = next((graph.nodes[link.key] for link in node.links if link.role == "base"), None)
        if not models and base is not None and is_written(graph, node):
            models = [base]
        found += [Writer(each, node, base) for each in models]
    return found


def base_risk(
    graph: Graph,
    learner: Node,
    models: Sequence[Writer],
    measure: Callable[[Node, Node], dict[str, Any] | None] | None = None,
) -> list[Risk]:
    """Compare the bases of a learner with those of the writers, each writer once.

    Args:
        graph: the graph of the audit.
        learner: the model that learns, a node of the graph.
        models: the models that wrote, or may write.
        measure: measures the kinship of two bases; returns None without their weights.
    """
    mine = _descent(graph, learner)
    risks: dict[tuple[str | None, str], Risk] = {}
    steps = 0
    for writer in models:
        theirs = _descent(graph, writer.node)
        steps += len(theirs) + len(mine)
        MAX_LINKS.check(steps, f"Comparing the bases of {len(models):,} writers takes more than {MAX_LINKS:,} steps")
        if not theirs and writer.base is not None:  # the model was not found, but its base is named
            theirs = _descent(graph, writer.base)
        shared = tuple(mine[sha].label for sha in mine if sha in theirs)
        matched = tuple(
            other.label
            for one, others in ((learner, theirs), (writer.node, mine))
            for other in _imitated(graph, one)
            if other.identity in others
        )
        measured = None
        if not shared and measure is not None:
            measured = _measured(_ends(graph, mine), _ends(graph, theirs), measure)
        verdict = _verdict(shared, matched, measured, bool(mine and theirs))
        risk = Risk(writer.node.label, learner.label, shared, matched, measured, verdict)
        risks.setdefault((writer.node.identity, verdict), risk)
    return list(risks.values())


def _measured(
    mine: list[Node], theirs: list[Node], measure: Callable[[Node, Node], dict[str, Any] | None]
) -> dict[str, Any] | None:
    """Measure each original base of one model against each of the other; return the closest kinship."""
    found = [measure(one, other) for one in mine[:_MOST_ENDS] for other in theirs[:_MOST_ENDS]]
    if any(each is None for each in found) and not any(each and each["verdict"] == _ALIKE for each in found):
        return None  # one pair could not be measured
    order = (_ALIKE, "cannot tell", "independent")
    return min(filter(None, found), key=lambda each: order.index(each["verdict"]), default=None)


def _ends(graph: Graph, line: dict[str, Node]) -> list[Node]:
    """Return the original bases of a model: several for a merge."""
    return [node for node in line.values() if not any(link.role == "base" for link in node.links)]


def gather_results(graph: Graph, places: Places, keys: Sequence[TrustedKey]) -> dict[str, list[tuple[Statement, bool]]]:
    """Find the test results about the graph's artefacts, record them at the nodes, and return them by the node's key.

    The flag of each statement is whether it counts: it is signed by a trusted key, or no key has to sign.
    """
    by_digest: dict[str, list[Node]] = {}
    for node in graph.nodes.values():
        for sha in node.digests | present_digests(graph, node):
            by_digest.setdefault(sha, []).append(node)
    found: dict[str, list[tuple[Statement, bool]]] = {}
    for path in places.test_results():
        try:
            statement = read_statement(path)
        except UnreadableError as err:
            places.unread[path] = str(err)
            continue
        except InputError:
            continue  # its subject is unknown
        if statement.predicate_type != TEST_RESULT:
            continue
        shas = {sha for each in statement.subjects for sha in each["digest"].values()}
        odd = _fault(statement)
        for node in {node.key: node for sha in shas for node in by_digest.get(sha, ())}.values():
            if odd is not None:
                node.report("bad-statement", f"a test result {odd}", path)
            counts = odd is None and (not keys or is_signed_by(statement.raw, envelope_place(path), keys))
            found.setdefault(node.key, []).append((statement, counts))
    for key, statements in found.items():
        node = graph.nodes[key]
        stated = {str(each.predicate.get("result")) for each, counts in statements if counts or _fails(each)}
        node.result = next((each for each in _WORST if each in stated), None)
        for statement, _ in statements:
            if _fails(statement):
                tests = statement.predicate.get("failedTests")
                names = ", ".join(map(str, tests)) if isinstance(tests, list) else "a test"
                node.report("flagged", f"failed: {names} ({statement.place})")
    return found


def _fault(statement: Statement) -> str | None:
    """Return why a test result is invalid, so that it does not count; None if it is valid by in-toto's schema."""
    fields = statement.predicate
    if fields.get("result") not in _WORST:
        return f"has the result {str(fields.get('result'))[:40]!r}: expected PASSED, WARNED or FAILED"
    for name in _TESTS:
        tests = fields.get(name)
        if tests is not None and not (isinstance(tests, list) and all(isinstance(each, str) for each in tests)):
            return f"has a `{name}` that is not a list of texts"
    failed, warned = fields.get("failedTests"), fields.get("warnedTests")
    if (fields["result"] == "PASSED" and (failed or warned)) or (fields["result"] == "WARNED" and failed):
        return f"has the result {fields['result']}, but names tests with a worse one"
    if twice := {*(fields.get("passedTests") or ())} & {*(warned or ()), *(failed or ())}:
        return f"lists {min(twice)[:80]!r} as passed, and as not passed"
    return None


def _fails(statement: Statement) -> bool:
    return statement.predicate.get("result") == "FAILED"


def _descent(graph: Graph, node: Node) -> dict[str, Node]:
    """Return a model and the models from whose weights it was trained, by digest, nearest first."""
    line = graph.upstream(node.key, ("base",))
    if node.kind not in ("base", "model"):
        line = line[1:]  # an adapter alone is not a base
    return {each.identity: each for each in line if each.identity}


def _imitated(graph: Graph, node: Node) -> list[Node]:
    """Return the models whose behaviour a model or its bases were trained to match."""
    line = graph.upstream(node.key, ("base",))
    return [graph.nodes[link.key] for each in line for link in each.links if link.role == "imitated"]


def _verdict(shared: tuple[str, ...], matched: tuple[str, ...], measured: dict[str, Any] | None, known: bool) -> str:
    if shared:
        return "shared"
    if matched:
        return "matched"
    if measured is not None and measured.get("verdict") == _ALIKE:
        return "related"
    if measured is not None and measured.get("verdict") == "independent":
        return "apart"
    return "not by lineage" if known else "unknown"
