"""What an artefact was made from: each thing by its role, its name and the digest of what it was then."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning_subliminal.core.fingerprint import digest, file_digest
from lightning_subliminal.core.kinds import kind_of

__all__ = ["SCHEME", "Material", "file_material", "setting_material"]

SCHEME = (
    "lightning-subliminal:"  # of a URI that names an artefact by its place in a cache, such as rows/0123456789abcdef
)


@dataclass(frozen=True)
class Material:
    """One input of a stage, as an in-toto ResourceDescriptor.

    Attributes:
        role: what it was to the stage: base, teacher, completions, rows, student, file, filter, judge, requests.
        uri: what it is called: a base's name, `lightning-subliminal:` and a place in a cache, or a file's name.
        digest: its digests by algorithm: `dirHash` of a folder, `sha256` of a file or of settings.
        statement: SHA-256 of its own statement's bytes, where it has one.
        annotations: further facts.
    """

    role: str
    uri: str
    digest: Mapping[str, str]
    statement: str | None = None
    annotations: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """Return it as a ResourceDescriptor."""
        told: dict[str, Any] = {"name": self.role, "uri": self.uri, "digest": dict(self.digest)}
        notes = dict(self.annotations) | ({"statementSha256": self.statement} if self.statement else {})
        return told | ({"annotations": notes} if notes else {})


def file_material(path: Path, role: str = "file") -> Material:
    """Return a file that was read: by its name and SHA-256."""
    return Material(role, path.name, {"sha256": file_digest(path)})


def setting_material(role: str, thing: Any) -> Material:
    """Return a part whose class and settings say what it does, such as a filter: by the digest of ``describe(thing)``."""
    return Material(role, kind_of(type(thing)), {"sha256": digest(thing)})
