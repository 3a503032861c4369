"""What an audit shows: a state for each artefact, an outline of them all, answers, findings folded, and a verdict.

The terminal, the page and the JSON say the same words, and take them from here.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from lightning_subliminal.audit.node import Node
from lightning_subliminal.audit.rules import RULES, Finding, Level
from lightning_subliminal.audit.run import Audit
from lightning_subliminal.core.io.bounds import MAX_SHOWN
from lightning_subliminal.formats.row_errors import printable

__all__ = ["LIMITS", "Answer", "Group", "Line", "Showing", "State"]

State = Literal["fine", "wrong", "flagged", "doubtful", "absent"]
_DEEPEST = 6  # of an outline, so that a chain of hundreds does not walk out of the window: two generations of data
_LINKS = ("missing-parent", "wrong-parent", "cut-chain", "cycle", "no-statement", "unknown-origin")
_BYTES = (
    *("changed-file", "lost-file", "unlisted-file", "changed-rows", "changed-statement", "bad-statement"),
    *("unsafe-path", "unexpected", "unreadable", "unchecked"),
)
LIMITS = (
    "An unsigned statement proves no more than that files and words agree: whoever can write the folder can rewrite "
    "both. Note the digest down elsewhere, and give it with --expect.",
    "A signature tells who says so, not that it is true: the first statement of a chain may lie, and no digest shows "
    "that.",
    "A test result that was deleted leaves no trace: --require tested asks that one be there.",
)
_WORDS = {
    "shared": "yes: {writers} wrote, {learner} learns, and both descend from {bases}",
    "matched": "yes: {writers} wrote, {learner} learns; one was trained to behave as {bases}, the other's base",
    "related": "yes: {writers} wrote, {learner} learns; by their weights their bases have one initialisation",
    "apart": "not by a shared start: {writers} wrote, {learner} learns; by weights their bases are independent",
    "not by lineage": "not by lineage, and weights were not compared or can't tell: {writers} wrote, {learner} learns",
    "unknown": "unknown: {writers} wrote, {learner} learns, and not all of their bases are known",
}


@dataclass(frozen=True)
class Line:
    """A line of the outline.

    Attributes:
        depth: how far in it stands.
        role: what the artefact was to the one above it; empty for the first.
        node: the artefact.
        how: ``shown`` here, shown ``again``, or told ``below`` in a section of its own.
    """

    depth: int
    role: str
    node: Node
    how: Literal["shown", "again", "below"]


@dataclass(frozen=True)
class Answer:
    """A question and what the audit says to it.

    Attributes:
        key: a name for it that stays.
        question: the question.
        says: the answer, in lines.
        state: good, bad, look where nothing is wrong and somebody should know, or open where it can't be told.
    """

    key: str
    question: str
    says: list[str]
    state: Literal["good", "bad", "look", "open"]


@dataclass(frozen=True)
class Group:
    """Findings of one rule.

    Attributes:
        rule: its name.
        level: how it counts in this audit.
        means: what it means.
        count: how many.
        folded: what they say, each once, with the artefacts that it was said of.
    """

    rule: str
    level: Level
    means: str
    count: int
    folded: list[tuple[str, list[str]]]


class Showing:
    """An audit in the words that people read.

    Args:
        audit: what was found.
    """

    def __init__(self, audit: Audit) -> None:
        self.audit = audit
        # The base of --against is in the graph, too, and is asked about, not audited.
        self.nodes = audit.graph.above(audit.graph.root)
        self._levels = {each.rule: each.level for each in audit.findings}

    @cached_property
    def ordered(self) -> list[Node]:
        """The artefacts, each before what it was made from, as far as there are no cycles."""
        graph, done, told = self.audit.graph, set[str](), list[Node]()
        stack = [(graph.root, False)]
        while stack:
            key, left = stack.pop()
            if left:
                told.append(graph.nodes[key])
            elif key not in done:
                done.add(key)
                stack.append((key, True))
                stack += [(link.key, False) for link in graph.nodes[key].links if link.key not in done]
        return told[::-1]

    def state(self, node: Node) -> State:
        """Return the worst that is known of an artefact."""
        levels = {self._levels.get(each.rule) for each in node.findings}
        if "error" in levels:
            return "wrong"
        if node.result == "FAILED":
            return "flagged"
        if node.path is None:
            return "absent"
        return "doubtful" if "warning" in levels else "fine"

    def notes(self, node: Node) -> list[str]:
        """Say in a few words what there is to know of an artefact: what is wrong, its tests, its signers."""
        rules = dict.fromkeys(
            each.rule for each in node.findings if self._levels.get(each.rule) in ("error", "warning")
        )
        told = [rule for rule in rules if rule not in ("unsigned", "untrusted-signer")]
        if node.result == "PASSED":
            told.append("passed its tests")
        if node.path is None:
            return [*told, "not at hand"]
        if node.statement is None:
            return [*told, "no statement"] if "no-statement" not in told else told
        if node.signers is None:
            return [*told, "unsigned"]
        if node.signers:
            return [*told, f"signed by {', '.join(node.signers)}"]
        return [*told, "signed by nobody trusted" if self.audit.trusted else "signed; by whom was not asked"]

    def outline(self) -> list[list[Line]]:
        """Return artefacts, each under its child, in sections: one that stands too deep begins a section.

        Of more than ``MAX_SHOWN`` the rest is left out, and of as many links to what is shown above: ``left_out``.
        """
        graph = self.audit.graph
        seen, sections, waiting, again = {graph.root}, [], [graph.root], 0
        for start in waiting:
            lines = [Line(0, "", graph.nodes[start], "shown")]
            stack = [(1, link) for link in reversed(graph.nodes[start].links)]
            while stack:
                depth, link = stack.pop()
                node = graph.nodes[link.key]
                if link.key in seen:
                    again += 1
                    if again <= MAX_SHOWN:
                        lines.append(Line(depth, link.role, node, "again"))
                    continue
                if len(seen) >= MAX_SHOWN:
                    continue
                seen.add(link.key)
                below = depth >= _DEEPEST and bool(node.links)
                lines.append(Line(depth, link.role, node, "below" if below else "shown"))
                if below:
                    waiting.append(link.key)
                else:
                    stack += [(depth + 1, each) for each in reversed(node.links)]
            sections.append(lines)
        return sections

    def left_out(self) -> str:
        """Say what the outline and the drawing leave out; empty where they have all."""
        nodes, links = len(self.ordered), sum(len(node.links) for node in self.ordered)
        if nodes <= MAX_SHOWN and links - nodes < MAX_SHOWN:
            return ""
        return (
            f"There are {nodes:,} artefacts with {links:,} links: at most {MAX_SHOWN:,} are shown; --json has all "
            f"({MAX_SHOWN.how})."
        )

    def groups(self) -> list[Group]:
        """Return the findings by rule, the worst first, those that say the same in one."""
        found: dict[str, list[Finding]] = {}
        for each in self.audit.findings:
            found.setdefault(each.rule, []).append(each)
        told = []
        for rule, findings in found.items():
            folded: dict[str, list[str]] = {}
            for each in findings:
                folded.setdefault(printable(each.says), []).append(printable(each.where))
            told.append(Group(rule, findings[0].level, RULES[rule].means, len(findings), list(folded.items())))
        return told

    def answers(self) -> list[Answer]:
        """Return the questions that an audit is for, with their answers."""
        return [self._links(), self._bytes(), self._signed(), self._shared(), self._generations(), self._flagged()]

    def verdict(self) -> str:
        """Say it in one sentence or two."""
        audit, rules = self.audit, Counter(each.rule for each in self.audit.findings)
        errors = [each for each in audit.findings if each.level == "error"]
        warned = [rule for rule in rules if self._levels[rule] == "warning"]
        allowed = [rule for rule in rules if RULES[rule].level == "error" and self._levels[rule] != "error"]
        by_you = f" You have allowed {', '.join(allowed)}." if allowed else ""
        if errors:
            where = len({each.where for each in errors})
            names = ", ".join(dict.fromkeys(each.rule for each in errors))
            return f"Wrong: {_count(len(errors), 'error')} at {_count(where, 'artefact')} ({names}).{by_you}"
        look = f"; look at {', '.join(warned)}" if warned else ""
        if allowed:
            return f"Nothing counts as wrong in {_count(len(self.nodes), 'artefact')}{look}.{by_you}"
        signed = (
            ""
            if audit.trusted
            else " Nobody had to sign: it holds as far as you trust whoever can write these folders."
        )
        return f"Nothing is wrong with {_count(len(self.nodes), 'artefact')}{look}.{signed}"

    def digests(self) -> dict[str, str | None]:
        """Return the digests to note down: of the artefact's whole, and of its statement, which names all upstream."""
        root = self.audit.root
        return {"whole": root.identity, "statement": root.statement.sha256 if root.statement is not None else None}

    def _bad(self, *rules: str) -> Literal["bad", "look"]:
        return "bad" if any(self._levels.get(each) == "error" for each in rules) else "look"

    def _links(self) -> Answer:
        counts = [f"{count} {rule}" for rule in _LINKS if (count := self.audit.count(rule))]
        ends = [node.label for node in self.nodes if not node.links]
        told = f"{_count(len(self.nodes), 'artefact')}, down to {_some(ends)}"
        says = [f"no: {', '.join(counts)}", told] if counts else [f"yes: {told}"]
        return Answer("links", "Is every link there?", says, self._bad(*_LINKS) if counts else "good")

    def _bytes(self) -> Answer:
        question = "Is any byte changed, lost or added?"
        checked = [node for node in self.nodes if node.path is not None and node.statement is not None]
        files = sum(len(node.statement.files) for node in checked if node.statement is not None)
        rest = [node.label for node in self.nodes if node.path is None or node.statement is None]
        unread = [f"not checked, since no statement or no file is at hand: {_some(rest)}"] if rest else []
        counts = [f"{count} {rule}" for rule in _BYTES if (count := self.audit.count(rule))]
        if counts:
            return Answer("bytes", question, [f"yes: {', '.join(counts)}", *unread], self._bad(*_BYTES))
        if not checked:
            return Answer("bytes", question, ["nobody can tell: there is no statement to compare with"], "open")
        told = f"no: {_count(files, 'file')} of {_count(len(checked), 'artefact')} are what their statements say"
        return Answer("bytes", question, [told, *unread], "open" if rest else "good")

    def _signed(self) -> Answer:
        question, by = "Who has signed it?", self.audit.signed_by()
        stated = [node for node in self.nodes if node.statement is not None]
        unsigned = sum(node.signers is None for node in stated)
        told = [f"{_count(count, 'statement')} by {name}" for name, count in by.items()]
        told += [f"{unsigned} of {_count(len(stated), 'statement')} unsigned"] if unsigned else []
        if not self.audit.trusted:
            others = len(stated) - unsigned
            told += [f"{_count(others, 'statement')} signed, by whom was not asked"] if others else []
            told += ["trust somebody: --trust KEY.pub"] if stated else ["there is no statement to sign"]
            return Answer("signed", question, told, "open")
        wrong = self.audit.count("untrusted-signer", "forged-signature")
        told += [f"{wrong} not signed by any of {', '.join(self.audit.trusted)}"] if wrong else []
        return Answer("signed", question, told or ["nobody"], "bad" if wrong or not by else "good")

    def _shared(self) -> Answer:
        question, known = "May a trait of who wrote the data pass to who learns from it?", self.audit.known_to_the_end
        if not self.audit.risks:
            if self.audit.generations:
                return Answer("shared base", question, ["not asked: --against BASE says who would learn"], "open")
            if known:
                return Answer("shared base", question, ["no model wrote data behind it"], "good")
            none = self.audit.root.statement is None
            says = "who wrote it: no lineage" if none else "who wrote all of it: its lineage ends early"
            says = f"not known {says}; `lineage add` declares it, `audit` can't tell"
            return Answer("shared base", question, [says], "open")
        alike: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
        for each in self.audit.risks:
            alike.setdefault((each.verdict, each.learner, each.shared or each.matched), []).append(each.writer)
        told = [
            _WORDS[verdict].format(writers=_some(writers), learner=printable(learner), bases=_some(bases))
            for (verdict, learner, bases), writers in alike.items()
        ]
        verdicts = {verdict for verdict, _, _ in alike}
        if verdicts & {"shared", "matched", "related"}:
            return Answer("shared base", question, told, self._bad("shared-base", "matched-base"))
        return Answer("shared base", question, told, "open")  # apart by weights may be matched in behaviour

    def _generations(self) -> Answer:
        question, count = "How many generations of data that models wrote lie behind it?", self.audit.generations
        if not self.audit.known_to_the_end:
            return Answer("generations", question, [f"at least {count}: not all of it is known"], "open")
        return Answer("generations", question, [str(count)], "good" if count < 2 else "look")

    def _flagged(self) -> Answer:
        question, found = "Was anything of it flagged?", _count(self.audit.results, "test result")
        if self.audit.flagged:
            return Answer("flagged", question, [f"yes: {_some(self.audit.flagged)} ({found})"], self._bad("flagged"))
        if not self.audit.results:
            return Answer("flagged", question, ["no test results are at hand"], "open")
        return Answer("flagged", question, [f"no: {found}, none failed"], "good")


def _count(number: int, what: str) -> str:
    return f"{number:,} {what}{'s' if number != 1 else ''}"


def _some(names: Sequence[str], most: int = 4) -> str:
    """Name a few, and count the others."""
    names = [printable(name) for name in dict.fromkeys(names)]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
