"""A node of the graph that an audit walks: one artefact, its statement, and what was found about it."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from lightning_subliminal.audit.rules import Finding
from lightning_subliminal.bases.lookup import POCKET
from lightning_subliminal.core.errors import UnreadableError
from lightning_subliminal.lineage.material import SCHEME, Material
from lightning_subliminal.lineage.statement import Statement

__all__ = ["WRITERS", "Link", "Node", "label_of"]

_LONGEST = 400  # characters of a label: a hub id and a path are shorter
WRITERS = ("teacher", "student", "base")  # roles of the model that wrote completions


@dataclass(frozen=True)
class Link:
    """A link to a parent.

    Attributes:
        role: the parent's role: base, teacher, completions, rows, student, imitated, file, and so on.
        key: the parent's key.
    """

    role: str
    key: str


@dataclass
class Node:
    """An artefact.

    Attributes:
        key: identifies it among the nodes.
        label: its name for display.
        path: its folder or file; None if it was not found.
        statement: the statement about it; None if there is none.
        material: its entry in its child's statement; None for the artefact where the audit starts.
        links: its parents.
        settings: parts that were used to make it: filters, transforms, settings of judges.
        claims: what its model card claims, unverified.
        findings: what the audit found here.
        signers: trusted keys that have signed the statement; None if there is no envelope.
        result: the worst result of its tests: PASSED, WARNED or FAILED; None without tests.
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
    def folder(self) -> Path | None:
        """The folder of its files."""
        return self.path if self.path is None or self.path.is_dir() else self.path.parent

    @property
    def kind(self) -> str:
        """What it is: by its statement, else by its role."""
        if self.statement is not None:
            return self.statement.kind
        return self.material.role if self.material is not None else "artefact"

    @property
    def digests(self) -> set[str]:
        """Digests that identify it: of the folder or file, and of the statement."""
        found = set(self.material.digest.values()) if self.material is not None else set()
        if self.statement is not None:
            found |= {self.statement.sha256} | ({self.statement.whole} if self.statement.whole else set())
        return found

    @property
    def identity(self) -> str | None:
        """The digest of its content; two nodes with the same one are the same model or data."""
        is_base = self.material is not None and self.material.uri.startswith("base:")  # by its model files alone
        if self.statement is not None and self.statement.whole and not is_base:
            return self.statement.whole
        shas = self.material.digest if self.material is not None else {}
        return shas.get("dirHash") or shas.get("sha256")

    def report(self, rule: str, message: str, path: object = "") -> None:
        """Record a finding here."""
        self.findings.append(Finding.of(rule, self.label, message, path or self.path or ""))

    @contextmanager
    def guarding(self, check: str) -> Iterator[None]:
        """Record any exception inside as a finding here, so that the audit continues."""
        try:
            yield
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except (UnreadableError, OSError) as err:
            self.report("unreadable", f"{check}: {err}")
        except BaseException as err:  # a panic of a Rust library is not an Exception
            self.report("unchecked", f"{check}: {type(err).__name__}: {str(err)[:300]}")


def label_of(material: Material | None, path: Path | None) -> str:
    """Return an artefact's name for display: its name in the child's statement, else its folder's."""
    if material is not None and material.uri:
        name = material.uri.removeprefix(SCHEME).removeprefix("base:")
        return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 40]}...{name[-30:]}"
    if path is None:
        return "?"
    where = "pocket" if path.parent == POCKET else path.parent.name
    return f"{where}/{path.name}" if where else path.name
