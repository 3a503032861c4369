"""One artefact of the graph that an audit walks: what its statement says, and what of it holds."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lightning_subliminal.audit.rules import Finding
from lightning_subliminal.bases.lookup import POCKET
from lightning_subliminal.core.errors import UnreadableError
from lightning_subliminal.lineage.material import SCHEME, Material
from lightning_subliminal.lineage.statement import Statement

__all__ = ["INITIAL", "WRITERS", "Link", "Node", "label_of"]

# Roles of what has a lineage of its own; the others say how a stage was set up.
_LONGEST = 400  # characters of a label: a hub id and a path are shorter
INITIAL = ("base",)  # whose weights a model goes on from
WRITERS = ("teacher", "student", "base")  # of completions


@dataclass(frozen=True)
class Link:
    """A parent, by the role that it had.

    Attributes:
        role: base, teacher, completions, rows, student, imitated, file, and so on.
        key: of its node.
    """

    role: str
    key: str


@dataclass
class Node:
    """An artefact.

    Attributes:
        key: what tells it from other nodes.
        label: what people call it.
        path: its folder or file; None where it is not at hand.
        statement: what is said of it; None where nothing is.
        material: how its child names it; None for the one that the audit begins with.
        links: its parents.
        settings: parts that say how it was made: filters, transforms, judges' settings.
        claims: what its model card says, unverified.
        findings: what the audit found here.
        signers: trusted keys that have signed the statement; None where there is no envelope.
        result: PASSED, WARNED or FAILED by tests of it, the worst first; None where there is none.
    """

    key: str
    label: str
    path: Path | None = None
    statement: Statement | None = None
    material: Material | None = None
    links: list[Link] = field(default_factory=list)
    settings: list[Material] = field(default_factory=list)
    claims: list[Material] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)
    signers: list[str] | None = None
    result: str | None = None

    @property
    def kind(self) -> str:
        """What it is: by its statement, else by its role."""
        if self.statement is not None:
            return self.statement.kind
        return self.material.role if self.material is not None else "artefact"

    @property
    def digests(self) -> set[str]:
        """Digests that name it: of the folder or file, and of the statement."""
        found = set(self.material.digest.values()) if self.material is not None else set()
        if self.statement is not None:
            found |= {self.statement.sha256} | ({self.statement.whole} if self.statement.whole else set())
        return found

    @property
    def identity(self) -> str | None:
        """The digest of what it holds, by which two nodes are the same model or data."""
        is_base = self.material is not None and self.material.uri.startswith("base:")  # by its model's own files alone
        if self.statement is not None and self.statement.whole and not is_base:
            return self.statement.whole
        shas = self.material.digest if self.material is not None else {}
        return shas.get("dirHash") or shas.get("sha256")

    def find(self, rule: str, says: str, path: object = "") -> None:
        """Note a finding here."""
        self.findings.append(Finding.of(rule, self.label, says, path or self.path or ""))

    @contextmanager
    def guarding(self, check: str) -> Iterator[None]:
        """Note whatever goes wrong inside as a finding here, so that the audit goes on."""
        try:
            yield
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except (UnreadableError, OSError) as err:
            self.find("unreadable", f"{check}: {err}")
        except BaseException as err:  # a panic of a library in Rust is no Exception
            self.find("unchecked", f"{check}: {type(err).__name__}: {str(err)[:300]}")


def label_of(material: Material | None, path: Path | None) -> str:
    """Return what people call an artefact: by its name in the child's statement, else by its folder."""
    if material is not None and material.uri:
        name = material.uri.removeprefix(SCHEME).removeprefix("base:")
        return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 40]}...{name[-30:]}"
    if path is None:
        return "?"
    where = "pocket" if path.parent == POCKET else path.parent.name
    return f"{where}/{path.name}" if where else path.name
