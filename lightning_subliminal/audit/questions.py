"""The questions of an audit, and its answers."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lightning_subliminal.audit.node import Node
from lightning_subliminal.audit.run import Audit
from lightning_subliminal.formats.row_errors import printable

__all__ = ["Answer", "answers", "counted"]

_LINKS = ("missing-parent", "wrong-parent", "cut-chain", "cycle", "no-statement", "unknown-origin")
_BYTES = (
    *("changed-file", "lost-file", "unlisted-file", "changed-rows", "changed-statement", "bad-statement"),
    *("unsafe-path", "unexpected", "unreadable", "unchecked"),
)
_WHO = "{writers} wrote the data, {learner} learns from it"
_WORDS = {
    "shared": f"yes: {_WHO}, and both descend from {{bases}}",
    "matched": f"yes: {_WHO}; one was trained to behave as {{bases}}, the other's base",
    "related": f"yes: {_WHO}; by their weights their bases have one initialisation",
    "apart": f"not by a shared start: {_WHO}; by weights their bases are independent",
    "not by lineage": f"not by lineage; weights were not compared or undecided: {_WHO}",
    "unknown": f"unknown: {_WHO}, and not all of their bases are known",
}


@dataclass(frozen=True)
class Answer:
    """A question and the audit's answer.

    Attributes:
        key: its stable name.
        question: the question.
        says: the lines of the answer.
        state: good; bad; look, if nothing is wrong but the user should know; open, if the audit can't decide.
    """

    key: str
    question: str
    says: list[str]
    state: Literal["good", "bad", "look", "open"]


def answers(audit: Audit, nodes: Sequence[Node]) -> list[Answer]:
    """Return the questions of an audit, with their answers.

    Args:
        audit: the audit.
        nodes: the audited artefacts.
    """
    return [
        *(_links(audit, nodes), _bytes(audit, nodes), _signed(audit, nodes)),
        *(_shared(audit), _generations(audit), _flagged(audit)),
    ]


def _bad(audit: Audit, *rules: str) -> Literal["bad", "look"]:
    return "bad" if any(audit.levels.get(each) == "error" for each in rules) else "look"


def _links(audit: Audit, nodes: Sequence[Node]) -> Answer:
    counts = [f"{count} {rule}" for rule in _LINKS if (count := audit.count(rule))]
    ends = [node.label for node in nodes if not node.links]
    reach = f"{counted(len(nodes), 'artefact')}, down to {_some(ends)}"
    lines = [f"no: {', '.join(counts)}", reach] if counts else [f"yes: {reach}"]
    question = "Is everything found that it was made from?"
    return Answer("links", question, lines, _bad(audit, *_LINKS) if counts else "good")


def _bytes(audit: Audit, nodes: Sequence[Node]) -> Answer:
    question = "Was a file changed, lost or added since it was made?"
    checked = [node for node in nodes if node.path is not None and node.statement is not None]
    files = sum(len(node.statement.files) for node in checked if node.statement is not None)
    rest = [node.label for node in nodes if node.path is None or node.statement is None]
    unread = [f"not checked, without a statement or files: {_some(rest)}"] if rest else []
    counts = [f"{count} {rule}" for rule in _BYTES if (count := audit.count(rule))]
    if counts:
        return Answer("bytes", question, [f"yes: {', '.join(counts)}", *unread], _bad(audit, *_BYTES))
    if not checked:
        return Answer("bytes", question, ["unknown: there is no statement to compare with"], "open")
    same = f"no: {counted(files, 'file')} of {counted(len(checked), 'artefact')} match their statements (lineage.json)"
    return Answer("bytes", question, [same, *unread], "open" if rest else "good")


def _signed(audit: Audit, nodes: Sequence[Node]) -> Answer:
    question, by = "Who has signed the statements?", audit.signed_by()
    stated = [node for node in nodes if node.statement is not None]
    unsigned = sum(node.signers is None for node in stated)
    lines = [f"{counted(count, 'statement')} by {name}" for name, count in by.items()]
    lines += [f"{unsigned} of {counted(len(stated), 'statement')} unsigned"] if unsigned else []
    if not audit.trusted:
        others = len(stated) - unsigned
        lines += [f"{counted(others, 'statement')} signed, no key is trusted"] if others else []
        lines += ["to trust a key: --trust KEY.pub"] if stated else ["there is no statement to sign"]
        return Answer("signed", question, lines, "open")
    wrong = audit.count("untrusted-signer", "forged-signature")
    lines += [f"{wrong} not signed by any of {', '.join(audit.trusted)}"] if wrong else []
    return Answer("signed", question, lines or ["no one"], "bad" if wrong or not by else "good")


def _shared(audit: Audit) -> Answer:
    question = "May a trait of the writer of the data pass to a model that learns from it?"
    if not audit.risks:
        if audit.generations:
            return Answer("shared base", question, ["not checked: --against BASE names the learner"], "open")
        if audit.known_to_the_end:
            return Answer("shared base", question, ["no model wrote data behind it"], "good")
        ends = "it has no lineage" if audit.root.statement is None else "its lineage ends early"
        return Answer("shared base", question, [f"unknown writer: {ends}; `lineage add` declares it"], "open")
    alike: dict[tuple[str, str, tuple[str, ...]], list[str]] = {}
    for each in audit.risks:
        alike.setdefault((each.verdict, each.learner, each.shared or each.matched), []).append(each.writer)
    lines = [
        _WORDS[verdict].format(writers=_some(writers), learner=printable(learner), bases=_some(bases))
        for (verdict, learner, bases), writers in alike.items()
    ]
    verdicts = {verdict for verdict, _, _ in alike}
    if verdicts & {"shared", "matched", "related"}:
        return Answer("shared base", question, lines, _bad(audit, "shared-base", "matched-base"))
    return Answer("shared base", question, lines, "open")  # apart by weights may be matched in behaviour


def _generations(audit: Audit) -> Answer:
    question, count = "How many generations of model-written data are behind it?", audit.generations
    if not audit.known_to_the_end:
        return Answer("generations", question, [f"at least {count}: its lineage is incomplete"], "open")
    return Answer("generations", question, [str(count)], "good" if count < 2 else "look")


def _flagged(audit: Audit) -> Answer:
    question, found = "Did a test find a trait, or a screen unclean rows?", counted(audit.results, "test result")
    if audit.flagged:
        return Answer("flagged", question, [f"yes: {_some(audit.flagged)} ({found})"], _bad(audit, "flagged"))
    if not audit.results:
        return Answer("flagged", question, ["no test results were found"], "open")
    return Answer("flagged", question, [f"no: {found}, none failed"], "good")


def counted(number: int, what: str) -> str:
    """Return a number with its noun."""
    return f"{number:,} {what}{'s' if number != 1 else ''}"


def _some(names: Sequence[str], most: int = 4) -> str:
    """Return a few names, and the number of the others."""
    names = [printable(name) for name in dict.fromkeys(names)]
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
