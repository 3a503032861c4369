"""The questions that an audit is for: may a trait pass, how synthetic is this, and has anybody been flagged?"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from lightning_subliminal.audit.graph import Graph
from lightning_subliminal.audit.locate import Places
from lightning_subliminal.audit.node import WRITERS, Node
from lightning_subliminal.core.errors import InputError, UnreadableError
from lightning_subliminal.core.io.bounds import MAX_LINKS
from lightning_subliminal.lineage.signatures.dsse import PAYLOAD_TYPE, read_envelope, signers
from lightning_subliminal.lineage.signatures.keys import TrustedKey
from lightning_subliminal.lineage.statement import TEST_RESULT, Statement, read_statement
from lightning_subliminal.lineage.strict_json import read_bytes

__all__ = ["Risk", "Writer", "base_risk", "gather_results", "generations", "writers"]

_WORST = ("FAILED", "WARNED", "PASSED")
_TESTS = ("passedTests", "warnedTests", "failedTests")
_DATA = ("completions", "rows", "file", "data")
_NO_TEACHERS = ("judge", "control", "filter")
_ALIKE = "one initialisation"  # as `kinship` says it
_MOST_ENDS = 3  # of a merge's bases, each of which is compared with each


@dataclass(frozen=True)
class Writer:
    """A model that wrote data.

    Attributes:
        node: the model.
        wrote: the data set.
        base: the base that the data set's statement names beside the model; None where it names none.
    """

    node: Node
    wrote: Node
    base: Node | None = None


@dataclass(frozen=True)
class Risk:
    """Whether a trait of one who wrote the data may pass to the one who learns from it.

    Attributes:
        writer: label of the model that wrote.
        learner: label of the model that learns.
        shared: labels of the bases that both descend from.
        matched: labels of bases that one was trained to imitate and the other descends from.
        measured: what ``kinship`` said of their bases; None where it was not asked.
        verdict: shared, matched, related (by measurement), apart, or unknown.
    """

    writer: str
    learner: str
    shared: tuple[str, ...]
    matched: tuple[str, ...]
    measured: dict[str, Any] | None
    verdict: str

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        told = {"writer": self.writer, "learner": self.learner, "verdict": self.verdict}
        return told | {"shared": list(self.shared), "matched": list(self.matched), "measured": self.measured}


def is_written(graph: Graph, node: Node) -> bool:
    """Tell whether a model wrote a data set itself: completions, or rows whose statement names a model and no data."""
    roles = {link.role for link in node.links}
    return node.kind == "completions" or (node.kind == "rows" and bool(roles & set(WRITERS)) and not roles & set(_DATA))


def generations(graph: Graph) -> int:
    """Count the most data sets written by models, one after the other, that lie behind an artefact.

    Along what it learned from and what that goes on from; judges and controls, who taught it nothing, are left out.
    """
    depth: dict[str, int] = {}
    stack, begun = [(graph.root, False)], set()
    while stack:
        key, done = stack.pop()
        node = graph.nodes[key]
        taught = [link.key for link in node.links if link.role not in _NO_TEACHERS]
        if done:
            depth[key] = max((depth.get(each, 0) for each in taught), default=0) + is_written(graph, node)
        elif key not in begun:
            begun.add(key)
            stack.append((key, True))
            stack += [(each, False) for each in taught]
    return depth[graph.root]


def writers(graph: Graph) -> list[Writer]:
    """Return the models whose traits may be in the data or the training behind an artefact.

    They are named as teacher or student by data or by a student: who wrote, chose or continued rows, and whose
    probabilities a student was compared with. The base itself where it wrote without being trained.
    """
    found = []
    for node in graph.above(graph.root):
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
    """Compare the bases of who learns with those of who wrote, each writer once.

    Args:
        graph: the walk.
        learner: the model that learns, a node of the graph.
        models: who wrote, or may write.
        measure: asks for the kinship of two bases, where their weights are at hand.
    """
    mine = _descent(graph, learner)
    told: dict[tuple[str | None, str], Risk] = {}
    steps = 0
    for writer in models:
        theirs = _descent(graph, writer.node)
        steps += len(theirs) + len(mine)
        MAX_LINKS.check(steps, f"To compare the bases of {len(models):,} writers takes more than {MAX_LINKS:,} steps")
        if not theirs and writer.base is not None:  # the model is not at hand, and its base is named
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
        told.setdefault(
            (writer.node.identity, verdict),
            Risk(writer.node.label, learner.label, shared, matched, measured, verdict),
        )
    return list(told.values())


def _measured(
    mine: list[Node], theirs: list[Node], measure: Callable[[Node, Node], dict[str, Any] | None]
) -> dict[str, Any] | None:
    """Measure each base that one goes back to against each of the other; give the nearest kinship that was found."""
    found = [measure(one, other) for one in mine[:_MOST_ENDS] for other in theirs[:_MOST_ENDS]]
    if any(each is None for each in found) and not any(each and each["verdict"] == _ALIKE for each in found):
        return None  # of one pair nothing is known
    order = (_ALIKE, "cannot tell", "independent")
    return min(
        (each for each in found if each is not None), key=lambda each: order.index(each["verdict"]), default=None
    )


def _ends(graph: Graph, line: dict[str, Node]) -> list[Node]:
    """Return the bases that a model goes back to in the end: several, where it is a merge."""
    return [node for node in line.values() if not any(link.role == "base" for link in node.links)]


def gather_results(graph: Graph, places: Places, keys: Sequence[TrustedKey]) -> dict[str, list[tuple[Statement, bool]]]:
    """Find the test results about the graph's artefacts, note them at the nodes, and give them by the node's key.

    The flag beside a statement says whether it counts: it is signed by a trusted key, or nobody is asked to sign.
    """
    by_digest: dict[str, list[Node]] = {}
    for node in graph.nodes.values():
        for sha in node.digests:
            by_digest.setdefault(sha, []).append(node)
    found: dict[str, list[tuple[Statement, bool]]] = {}
    for path in places.test_results():
        try:
            statement = read_statement(path)
        except UnreadableError as err:
            places.unread[path] = str(err)
            continue
        except InputError:
            continue  # it is about nothing that could be told
        if statement.predicate_type != TEST_RESULT:
            continue
        shas = {sha for each in statement.subjects for sha in each["digest"].values()}
        odd = _odd(statement)
        for node in {node.key: node for sha in shas for node in by_digest.get(sha, ())}.values():
            if odd is not None:
                node.find("bad-statement", f"a test result {odd}", path)
            counts = odd is None and (not keys or _is_signed(statement, path, keys))
            found.setdefault(node.key, []).append((statement, counts))
    for key, statements in found.items():
        said = {
            str(statement.predicate.get("result")) for statement, counts in statements if counts or _fails(statement)
        }
        node = graph.nodes[key]
        node.result = next((each for each in _WORST if each in said), None)
        for statement, _ in statements:
            if _fails(statement):
                tests = statement.predicate.get("failedTests")
                names = ", ".join(map(str, tests)) if isinstance(tests, list) else "a test"
                node.find("flagged", f"{names}: {statement.place}")
    return found


def _odd(statement: Statement) -> str | None:
    """Say what is odd about a test result, which then counts for nothing; None where it is as in-toto has it."""
    told = statement.predicate
    if told.get("result") not in _WORST:
        return f"says {str(told.get('result'))[:40]!r}: expected PASSED, WARNED or FAILED"
    for name in _TESTS:
        tests = told.get(name)
        if tests is not None and not (isinstance(tests, list) and all(isinstance(each, str) for each in tests)):
            return f"has a `{name}` that is no list of texts"
    failed, warned = told.get("failedTests"), told.get("warnedTests")
    if (told["result"] == "PASSED" and (failed or warned)) or (told["result"] == "WARNED" and failed):
        return f"says {told['result']}, and names tests that did worse"
    if twice := {*(told.get("passedTests") or ())} & {*(warned or ()), *(failed or ())}:
        return f"says that {min(twice)[:80]!r} passed, and that it did not"
    return None


def _fails(statement: Statement) -> bool:
    return statement.predicate.get("result") == "FAILED"


def _is_signed(statement: Statement, path: Any, keys: Sequence[TrustedKey]) -> bool:
    place = path.with_name(f"{path.stem}.dsse.json")
    try:
        envelope = read_envelope(read_bytes(place), str(place))
    except InputError:
        return False
    same = envelope.payload == statement.raw and envelope.payload_type == PAYLOAD_TYPE
    return same and bool(signers(envelope, keys))


def _descent(graph: Graph, node: Node) -> dict[str, Node]:
    """Return a model and the models that its weights go on from, by their digests, nearest first."""
    line = graph.above(node.key, ("base",))
    if node.kind not in ("base", "model"):
        line = line[1:]  # an adapter alone is no base of anybody
    return {each.identity: each for each in line if each.identity}


def _imitated(graph: Graph, node: Node) -> list[Node]:
    """Return the models whose behaviour a model's base was trained to match."""
    line = graph.above(node.key, ("base",))
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
