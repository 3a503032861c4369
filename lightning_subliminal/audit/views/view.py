"""The texts of an audit: a state per artefact, an outline, answers, grouped findings, and a verdict.

The terminal, the page and the JSON all take their texts from here.
"""

from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from lightning_subliminal.audit.node import Node
from lightning_subliminal.audit.questions import Answer, answers, counted
from lightning_subliminal.audit.rules import RULES, Finding, Level
from lightning_subliminal.audit.run import Audit
from lightning_subliminal.core.io.bounds import MAX_SHOWN
from lightning_subliminal.formats.row_errors import printable

__all__ = ["ANSWER_MARKS", "LIMITS", "STATE_MARKS", "AuditView", "FindingGroup", "Line", "State"]

State = Literal["fine", "wrong", "flagged", "doubtful", "absent"]
STATE_MARKS: dict[State, str] = {"fine": "✓", "wrong": "✗", "flagged": "⚑", "doubtful": "!", "absent": "?"}
ANSWER_MARKS = {"good": "✓", "bad": "✗", "look": "!", "open": "?"}
_DEEPEST = 6  # levels of an outline, so that long chains fit on the screen: two generations of data
LIMITS = (
    "An unsigned statement proves only that it agrees with the files: any user who can write to the folder can rewrite "
    "both. Note the digest elsewhere, and give it with --expect.",
    "A signature shows who made a statement, not that it is true: the first statement of a chain may be false, and no "
    "digest shows that.",
    "A deleted test result leaves no trace: --require tested or --require screened demands one.",
)


@dataclass(frozen=True)
class Line:
    """A line of the outline.

    Attributes:
        depth: its level of indentation.
        role: the artefact's role for the one above it; empty for the first.
        node: the artefact.
        how: ``shown`` here, shown ``again``, or continued ``below`` in a section of its own.
    """

    depth: int
    role: str
    node: Node
    how: Literal["shown", "again", "below"]


@dataclass(frozen=True)
class FindingGroup:
    """Findings of one rule.

    Attributes:
        rule: the rule's name.
        level: its level in this audit.
        means: its meaning.
        count: number of findings.
        folded: the different messages, each with the artefacts that it is about.
    """

    rule: str
    level: Level
    means: str
    count: int
    folded: list[tuple[str, list[str]]]


class AuditView:
    """An audit as text for people."""

    def __init__(self, audit: Audit) -> None:
        self.audit = audit
        self.nodes = audit.graph.upstream(audit.graph.root)  # without the base of --against, which is not audited

    @cached_property
    def ordered(self) -> list[Node]:
        """The artefacts, each before its parents, as far as there are no cycles."""
        return self.audit.graph.parents_first()[::-1]

    def state(self, node: Node) -> State:
        """Return the worst known state of an artefact."""
        levels = {self.audit.levels.get(each.rule) for each in node.findings}
        if "error" in levels:
            return "wrong"
        if node.result == "FAILED":
            return "flagged"
        if node.path is None:
            return "absent"
        return "doubtful" if "warning" in levels else "fine"

    def notes(self, node: Node) -> list[str]:
        """Return a few words on an artefact: its faults, tests and signers."""
        rules = dict.fromkeys(each.rule for each in node.findings if self.audit.levels.get(each.rule) != "note")
        notes = [rule for rule in rules if rule not in ("unsigned", "untrusted-signer")]
        if node.result == "PASSED":
            notes.append("passed its tests")
        if node.path is None:
            notes.append("not found")
        elif node.statement is None:
            notes += ["no statement"] if "no-statement" not in notes else []
        elif node.signers is None:
            notes.append("unsigned")
        elif node.signers:
            notes.append(f"signed by {', '.join(node.signers)}")
        else:
            notes.append("signed by no trusted key" if self.audit.trusted else "signed; no key is trusted")
        return notes

    def outline(self) -> list[list[Line]]:
        """Return the artefacts, each under its child, in sections; one that is too deep starts a section.

        At most ``MAX_SHOWN`` artefacts and as many repetitions are included: see ``left_out``.
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
        """Return a note on what the outline and the drawing leave out; empty if they are complete."""
        nodes, links = len(self.ordered), sum(len(node.links) for node in self.ordered)
        if nodes <= MAX_SHOWN and links - nodes < MAX_SHOWN:
            return ""
        return (
            f"There are {nodes:,} artefacts with {links:,} links: at most {MAX_SHOWN:,} are shown; --json has all "
            f"({MAX_SHOWN.how})."
        )

    def groups(self) -> list[FindingGroup]:
        """Return the findings by rule, worst first, with equal messages merged."""
        found: dict[str, list[Finding]] = {}
        for each in self.audit.findings:
            found.setdefault(each.rule, []).append(each)
        groups = []
        for rule, findings in found.items():
            folded: dict[str, list[str]] = {}
            for each in findings:
                folded.setdefault(printable(each.says), []).append(printable(each.where))
            groups.append(FindingGroup(rule, findings[0].level, RULES[rule].means, len(findings), list(folded.items())))
        return groups

    def answers(self) -> list[Answer]:
        """Return the questions of an audit, with their answers."""
        return answers(self.audit, self.nodes)

    def verdict(self) -> str:
        """Return the verdict, one or two sentences."""
        audit, rules = self.audit, Counter(each.rule for each in self.audit.findings)
        errors = [each for each in audit.findings if each.level == "error"]
        warned = [rule for rule in rules if self.audit.levels[rule] == "warning"]
        allowed = [rule for rule in rules if RULES[rule].level == "error" and self.audit.levels[rule] != "error"]
        by_user = f" You allowed {', '.join(allowed)}." if allowed else ""
        if errors:
            where = len({each.where for each in errors})
            names = ", ".join(dict.fromkeys(each.rule for each in errors))
            return f"Wrong: {counted(len(errors), 'error')} at {counted(where, 'artefact')} ({names}).{by_user}"
        look = f"; look at {', '.join(warned)}" if warned else ""
        if allowed:
            return f"Nothing counts as wrong in {counted(len(self.nodes), 'artefact')}{look}.{by_user}"
        unsigned = " No signature was required: it holds if you trust everyone who can write to these folders."
        signed = "" if audit.trusted else unsigned
        return f"Nothing is wrong with {counted(len(self.nodes), 'artefact')}{look}.{signed}"

    def digests(self) -> dict[str, str | None]:
        """Return the digests to note: of the folder, and of the statement, which covers everything upstream."""
        root = self.audit.root
        return {"whole": root.identity, "statement": root.statement.sha256 if root.statement is not None else None}
