"""in-toto Statements v1 about artefacts, with an SLSA provenance v1 or a test-result as predicate.

``lightning_subliminal/lineage/README.md`` has the schema of our parameters, which SLSA demands of a ``buildType``.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import describe, digest
from lightning_subliminal.core.io.bounds import MAX_MATERIALS
from lightning_subliminal.lineage.environment import code_digest, environment, package_versions
from lightning_subliminal.lineage.material import Material
from lightning_subliminal.lineage.names import dir_hash
from lightning_subliminal.lineage.strict_json import parse, read_bytes

__all__ = [
    "BUILD_TYPE",
    "DECLARED_TYPE",
    "PROVENANCE",
    "STATEMENT",
    "TEST_RESULT",
    "WHOLE",
    "Statement",
    "as_bytes",
    "invocation",
    "provenance",
    "read_statement",
    "result_statement",
]

STATEMENT = "https://in-toto.io/Statement/v1"
PROVENANCE = "https://slsa.dev/provenance/v1"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
# URNs, not URLs: this project has no permanent page yet. README.md in this folder defines them.
BUILD_TYPE = "urn:x-lightning-subliminal:stage:v1"
DECLARED_TYPE = "urn:x-lightning-subliminal:declared:v1"  # `lineage add`: a claim, not a record
BUILDER = "urn:x-lightning-subliminal:package"
WHOLE = "./"  # name of the subject for the whole folder
ROWS = "#rows"  # suffix of a file's name: the subject for its rows, in order
_SHA = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class Statement:
    """A statement that was read.

    Attributes:
        data: its JSON.
        raw: its bytes, which a signature covers.
        place: where it was read.
    """

    data: Mapping[str, Any]
    raw: bytes
    place: str

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of its bytes, by which other statements name it."""
        return hashlib.sha256(self.raw).hexdigest()

    @property
    def predicate_type(self) -> str:
        """The type of its claim."""
        return str(self.data["predicateType"])

    @property
    def predicate(self) -> Mapping[str, Any]:
        """The claim."""
        return _part(self.data, "predicate")

    @property
    def subjects(self) -> list[Mapping[str, Any]]:
        """The subjects of the claim."""
        return list(self.data["subject"])

    @cached_property
    def files(self) -> dict[str, str]:
        """SHA-256 of each file, by name."""
        found = {str(each.get("name")): each["digest"].get("sha256") for each in self.subjects if each.get("name")}
        return {name: sha for name, sha in found.items() if sha and name != WHOLE}  # a subject of rows has only a root

    @property
    def whole(self) -> str | None:
        """The ``dirHash`` that it states for the folder."""
        return _text(_part(self._whole, "digest").get("dirHash"))

    @property
    def shares_folder(self) -> bool:
        """Whether its folder may hold other files."""
        return _part(self._whole, "annotations").get("files") == "named"

    @property
    def _whole(self) -> Mapping[str, Any]:
        return next((each for each in self.subjects if each.get("name") == WHOLE), {})

    @property
    def rows(self) -> dict[str, tuple[str, int]]:
        """Root and number of rows of each file of rows."""
        roots = {}
        for each in self.subjects:
            name, root = str(each.get("name")), each["digest"].get("merkleSha256")
            if root is not None and name.endswith(ROWS):
                count = _part(each, "annotations").get("count")
                roots[name.removesuffix(ROWS)] = (root, count if isinstance(count, int) else -1)
        return roots

    @property
    def kind(self) -> str:
        """What the artefact is, such as ``teacher``; ``artefact`` if the statement doesn't state it."""
        return str(self.parameters.get("kind", "artefact"))

    @property
    def build_type(self) -> str:
        """The type of the process that made it."""
        return str(_part(self.predicate, "buildDefinition").get("buildType", ""))

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The external parameters of provenance."""
        return _part(self.predicate, "buildDefinition", "externalParameters")

    @property
    def settings(self) -> Any:
        """All settings that determine an artefact of this package."""
        return self.parameters.get("settings")

    @property
    def invocation(self) -> str | None:
        """The digest of the parameters, if this package wrote the statement."""
        return _text(_part(self.predicate, "runDetails", "metadata").get("invocationId"))

    @property
    def versions(self) -> Mapping[str, Any]:
        """Versions of the packages that made it."""
        return _part(self.predicate, "runDetails", "builder", "version")

    @cached_property
    def materials(self) -> list[Material]:
        """What the artefact was made from, as the statement claims."""
        found = []
        stated = _part(self.predicate, "buildDefinition").get("resolvedDependencies")
        for each in map(_mapping, stated if isinstance(stated, list) else []):
            notes = dict(_part(each, "annotations"))
            statement = _text(notes.pop("statementSha256", None))
            shas = {str(name): str(value) for name, value in _part(each, "digest").items()}
            found.append(Material(str(each.get("name", "")), str(each.get("uri", "")), shas, statement, notes))
        return found


def provenance(
    kind: str,
    settings: Any,
    files: Mapping[str, str],
    materials: Sequence[Material] = (),
    rows: Mapping[str, tuple[str, int]] | None = None,
    declared: Mapping[str, Any] | None = None,
    shares_folder: bool = False,
) -> dict[str, Any]:
    """Return the statement of an artefact. It has no timestamp, so the same stage writes the same bytes.

    Args:
        kind: what it is, such as ``teacher``.
        settings: all settings that determine it, as ``describe`` takes them.
        files: SHA-256 of each of its files.
        materials: what it was made from.
        rows: root and number of rows of each file of rows.
        declared: who declares it, if no stage recorded it.
        shares_folder: whether its folder may hold other files, as a run's folder does.
    """
    notes = {"leaf": "RFC 6962 over prompt and completion"}
    whole = {"name": WHOLE, "digest": {"dirHash": dir_hash(files)}}
    subject: list[dict[str, Any]] = [whole | ({"annotations": {"files": "named"}} if shares_folder else {})]
    subject += [{"name": name, "digest": {"sha256": files[name]}} for name in sorted(files)]
    subject += [
        {"name": name + ROWS, "digest": {"merkleSha256": root}, "annotations": notes | {"count": count}}
        for name, (root, count) in sorted((rows or {}).items())
    ]
    parameters = _parameters(kind, settings)
    ours = {"name": "lightning-subliminal", "digest": {"dirHash": code_digest()}}
    definition: dict[str, Any] = {
        "buildType": BUILD_TYPE if declared is None else DECLARED_TYPE,
        "externalParameters": parameters,
        "internalParameters": {"environment": environment()} if declared is None else {"declared": describe(declared)},
        "resolvedDependencies": [each.as_json() for each in materials],
    }
    builder: dict[str, Any] = {"id": DECLARED_TYPE}  # the versions that made it are unknown
    if declared is None:
        builder = {"id": BUILDER, "version": package_versions(), "builderDependencies": [ours]}
    details = {"builder": builder, "metadata": {"invocationId": digest(parameters)}}
    return _statement(subject, PROVENANCE, {"buildDefinition": definition, "runDetails": details})


def invocation(kind: str, settings: Any) -> str:
    """Return the digest of a statement's parameters (``Statement.invocation``)."""
    return digest(_parameters(kind, settings))


def _parameters(kind: str, settings: Any) -> dict[str, Any]:
    return {"kind": kind, "settings": describe(settings)}


def result_statement(
    subject: Sequence[Mapping[str, Any]],
    passed: Sequence[str] = (),
    warned: Sequence[str] = (),
    failed: Sequence[str] = (),
    configuration: Sequence[Mapping[str, Any]] = (),
) -> dict[str, Any]:
    """Return the statement of an evaluation or a screening (in-toto's test-result v0.1).

    Args:
        subject: what was tested, as ResourceDescriptors with digests.
        passed: tests that found nothing.
        warned: tests that could not decide.
        failed: tests that found what they look for.
        configuration: what was tested with, as ResourceDescriptors.
    """
    result = "FAILED" if failed else "WARNED" if warned or not passed else "PASSED"
    predicate = {"result": result, "configuration": list(configuration)}
    tests = {"passedTests": passed, "warnedTests": warned, "failedTests": failed}
    return _statement(
        list(subject), TEST_RESULT, predicate | {name: list(value) for name, value in tests.items() if value}
    )


def as_bytes(statement: Mapping[str, Any]) -> bytes:
    """Return the bytes of a statement's file: readable JSON with sorted keys.

    Raises:
        InputError: if a text in it, such as a file's name, can't be encoded as UTF-8.
    """
    text = json.dumps(statement, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    try:
        return text.encode()
    except UnicodeEncodeError as err:
        odd = next(line.strip() for line in text.splitlines() if any("\ud800" <= each <= "\udfff" for each in line))
        raise InputError(f"{odd[:200]!a} is not valid UTF-8, so a lineage can't name it: rename the file.") from err


def read_statement(path: Path, raw: bytes | None = None) -> Statement:
    """Read a statement strictly; unknown fields are ignored, as in-toto requires.

    Args:
        path: its file, or its name in messages.
        raw: its bytes, if they come from elsewhere, such as an envelope.

    Raises:
        InputError: if it is not a valid statement.
    """
    raw = read_bytes(path) if raw is None else raw
    data = parse(raw, str(path))
    if data.get("_type") != STATEMENT:
        raise InputError(f"{path} is not an in-toto Statement v1: its `_type` is {str(data.get('_type'))[:80]!r}.")
    subject = data.get("subject")
    if not isinstance(subject, list) or not subject:
        raise InputError(f"{path} has no `subject`: expected a list of its subjects.")
    if not isinstance(data.get("predicateType"), str) or not isinstance(data.get("predicate", {}), dict):
        raise InputError(f"{path} has no `predicateType`, or a `predicate` that is not an object.")
    names: set[str] = set()
    for each in subject:
        shas = each.get("digest") if isinstance(each, dict) else None
        if not isinstance(shas, dict) or not shas or not all(isinstance(sha, str) for sha in shas.values()):
            raise InputError(f"{path} has a subject without a digest.")
        for kind in ("sha256", "dirHash", "merkleSha256"):
            if (sha := shas.get(kind)) is not None and (len(sha) != 64 or set(sha) - _SHA):
                raise InputError(f"{path} has a subject whose {kind} is not 64 lower-case hexadecimal digits.")
        if (name := each.get("name")) is not None:
            if not isinstance(name, str) or name in names:
                raise InputError(f"{path} has two subjects named {str(name)[:80]!r}, or one whose name is not a text.")
            names.add(name)
    statement = Statement(data, raw, str(path))
    count = len(statement.materials)
    MAX_MATERIALS.check(count, f"{path} names {count:,} materials")
    return statement


def _statement(subject: list[Any], predicate_type: str, predicate: Mapping[str, Any]) -> dict[str, Any]:
    return {"_type": STATEMENT, "subject": subject, "predicateType": predicate_type, "predicate": dict(predicate)}


def _part(value: Mapping[str, Any], *keys: str) -> Mapping[str, Any]:
    """Return the object below some keys; empty where there is none."""
    for key in keys:
        value = _mapping(value.get(key))
    return value


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
