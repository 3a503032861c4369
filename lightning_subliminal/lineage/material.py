"""What an artefact was made from: each input by its role, its name and its digest at that time."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning_subliminal.core.fingerprint import digest, file_digest
from lightning_subliminal.core.kinds import kind_of

__all__ = ["SCHEME", "Material", "file_material", "setting_material"]

SCHEME = "lightning-subliminal:"  # of a URI that is a place in a cache, such as rows/0123456789abcdef


@dataclass(frozen=True)
class Material:
    """One input of a stage, as an in-toto ResourceDescriptor.

    Attributes:
        role: its role in the stage: base, teacher, completions, rows, student, file, filter, judge, requests.
        uri: its name: a base's name, `lightning-subliminal:` and a place in a cache, or a file's name.
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
        fields: dict[str, Any] = {"name": self.role, "uri": self.uri, "digest": dict(self.digest)}
        notes = dict(self.annotations) | ({"statementSha256": self.statement} if self.statement else {})
        return fields | ({"annotations": notes} if notes else {})


def file_material(path: Path, role: str = "file") -> Material:
    """Return a file that was read, by its name and SHA-256."""
    return Material(role, path.name, {"sha256": file_digest(path)})


def setting_material(role: str, part: Any) -> Material:
    """Return a part defined by its class and settings, such as a filter, by the digest of ``describe(part)``."""
    return Material(role, kind_of(type(part)), {"sha256": digest(part)})
