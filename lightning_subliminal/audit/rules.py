"""What an audit can find. A rule has a name, a level, and a line that says what it means."""

from dataclasses import dataclass
from typing import Literal

__all__ = ["RULES", "Finding", "Level", "Rule"]

Level = Literal["error", "warning", "note"]


@dataclass(frozen=True)
class Rule:
    """A kind of finding.

    Attributes:
        level: how it counts unless the auditor says otherwise: an error makes the exit code 3.
        means: what it says about an artefact.
    """

    level: Level
    means: str


RULES: dict[str, Rule] = {
    "changed-file": Rule("error", "a file is not what the statement says"),
    "lost-file": Rule("error", "a file that the statement names is not there"),
    "unlisted-file": Rule("error", "a file lies in the artefact that the statement does not name"),
    "beside": Rule("note", "files lie beside the artefact's own, which it says nothing about"),
    "unsafe-path": Rule("error", "a name or a link leads out of the artefact's folder"),
    "read-elsewhere": Rule("error", "a loader of models would read for it what no digest of it covers"),
    "unreadable": Rule("error", "something of the artefact can't be read, or isn't, so nothing is known of it"),
    "unchecked": Rule("error", "a check stopped at something unexpected, so what it would find is not known"),
    "changed-rows": Rule("error", "the rows are not those of the root in the statement"),
    "bad-statement": Rule("error", "the statement can't be read, or could be read in two ways"),
    "changed-statement": Rule("error", "the statement contradicts itself or the place where it lies"),
    "wrong-parent": Rule("error", "what lies in a parent's place is not what the artefact was made from"),
    "missing-parent": Rule("error", "something that the artefact was made from is not at hand"),
    "cut-chain": Rule("error", "the statement does not name what such an artefact is always made from"),
    "cycle": Rule("error", "an artefact was made from itself"),
    "forged-signature": Rule("error", "the signature is not one over this statement"),
    "untrusted-signer": Rule("error", "nobody who is trusted has signed the statement"),
    "unsigned": Rule("note", "the statement is not signed: whoever can write the folder can rewrite it"),
    "unexpected": Rule("error", "the artefact is not the one whose digest was expected"),
    "untested": Rule("error", "no trusted test result says that it behaves as its control does"),
    "no-statement": Rule("error", "nothing says what it was made from"),
    "unknown-origin": Rule("warning", "the chain ends in something that nobody has told the origin of"),
    "declared": Rule("note", "somebody declared this afterwards: it was not recorded while it was made"),
    "restated": Rule(
        "warning", "a base is the same, and what is said of its origin has changed, as with a new release"
    ),
    "unverified-claim": Rule("note", "a model card says so, without a digest"),
    "shared-base": Rule("warning", "who wrote the data and who learns from it descend from one base: traits may pass"),
    "matched-base": Rule("warning", "one was trained to behave as the other's base does: traits may pass"),
    "unknown-base": Rule(
        "warning", "whether who wrote the data and who learns from it descend from one base is not known"
    ),
    "apart-by-weights": Rule(
        "note", "the weights show no shared start; whether one was matched to the other they can't show"
    ),
    "flagged": Rule("warning", "a test has found that it does not behave as its control does"),
}


@dataclass(frozen=True)
class Finding:
    """One thing that an audit found.

    Attributes:
        rule: a name in ``RULES``.
        where: the artefact, as people call it.
        says: the particulars, in a line.
        path: the file or folder it is about; empty where there is none.
        level: error, warning or note.
    """

    rule: str
    where: str
    says: str
    path: str = ""
    level: Level = "error"

    @classmethod
    def of(cls, rule: str, where: str, says: str, path: object = "") -> "Finding":
        """Make a finding at its rule's own level."""
        return cls(rule, where, " ".join(str(says).split()), str(path), RULES[rule].level)

    def as_json(self) -> dict[str, str]:
        """Return it as plain data."""
        return {"rule": self.rule, "level": self.level, "where": self.where, "says": self.says, "path": self.path}
