"""The rules of an audit: each kind of finding has a name, a level, and a line that explains it."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["RULES", "Finding", "Level", "Rule"]

Level = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Rule:
    """A kind of finding.

    Attributes:
        level: its severity, unless the auditor sets another: an error makes the exit code 3.
        means: its meaning for an artefact.
    """

    level: Level
    means: str


RULES: dict[str, Rule] = {
    "changed-file": Rule("error", "a file differs from the statement"),
    "lost-file": Rule("error", "a file that the statement names is missing"),
    "unlisted-file": Rule("error", "the artefact holds a file that the statement does not name"),
    "beside": Rule("note", "the folder holds further files, which the statement does not cover"),
    "unsafe-path": Rule("error", "a name or a link leads out of the artefact's folder"),
    "read-elsewhere": Rule("error", "a loader of models would read files for it that none of its digests covers"),
    "unreadable": Rule("error", "a part of the artefact can't be read, or no audit reads it, so its state is unknown"),
    "unchecked": Rule("error", "a check stopped with an unexpected error, so its result is unknown"),
    "changed-rows": Rule("error", "the rows do not match the root in the statement"),
    "bad-statement": Rule("error", "the statement can't be read, or is ambiguous"),
    "changed-statement": Rule("error", "the statement contradicts itself or its place"),
    "wrong-parent": Rule("error", "a parent was found that is not what the artefact was made from"),
    "missing-parent": Rule("error", "a parent of the artefact was not found"),
    "cut-chain": Rule("error", "the statement does not name a parent that this kind of artefact always has"),
    "cycle": Rule("error", "an artefact was made from itself"),
    "forged-signature": Rule("error", "the signature is not valid for this statement"),
    "untrusted-signer": Rule("error", "no trusted key has signed the statement"),
    "unsigned": Rule("note", "the statement is not signed: any user who can write to the folder can rewrite it"),
    "unexpected": Rule("error", "the artefact does not have the expected digest"),
    "untested": Rule("error", "no trusted test result states that it behaves as its control does"),
    "unscreened": Rule("error", "no trusted screen states that the data set is clean for the base that learns from it"),
    "no-statement": Rule("error", "no statement names what it was made from"),
    "unknown-origin": Rule("warning", "the chain ends in an artefact of unknown origin"),
    "declared": Rule("note", "it was declared afterwards, not recorded when it was made"),
    "restated": Rule("warning", "a base is unchanged, but its statement has changed, as with a new release"),
    "unverified-claim": Rule("note", "a model card claims this, without a digest"),
    "shared-base": Rule("warning", "the writer of the data and the learner descend from one base: traits may pass"),
    "matched-base": Rule("warning", "one was trained to behave as the other's base does: traits may pass"),
    "unknown-base": Rule("warning", "the writer of the data and the learner may descend from one base"),
    "apart-by-weights": Rule("note", "the weights show no shared start; they can't show matched behaviour"),
    "flagged": Rule(
        "warning", "a test found that it does not behave as its control does, or a screen that it is not clean"
    ),
}


@dataclass(frozen=True)
class Finding:
    """A finding of an audit.

    Attributes:
        rule: a name in ``RULES``.
        where: the artefact's label.
        says: the message, one line.
        path: the file or folder it is about; empty if there is none.
        level: error, warning or note.
    """

    rule: str
    where: str
    says: str
    path: str = ""
    level: Level = "error"

    @classmethod
    def of(cls, rule: str, where: str, message: str, path: object = "") -> "Finding":
        """Make a finding at its rule's own level."""
        return cls(rule, where, " ".join(str(message).split()), str(path), RULES[rule].level)
