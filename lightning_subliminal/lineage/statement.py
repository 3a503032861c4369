"""Statements: who made what from what, as in-toto Statements v1, with SLSA provenance v1 or test-result inside.

``lightning_subliminal/lineage/README.md`` has the schema of our parameters, which SLSA asks of a ``buildType``.
"""

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
# No URL: this project has no page yet that would stay. README.md beside this file is what they stand for.
BUILD_TYPE = "urn:x-lightning-subliminal:stage:v1"
DECLARED_TYPE = "urn:x-lightning-subliminal:declared:v1"  # `lineage add`: somebody says so, nobody recorded it
BUILDER = "urn:x-lightning-subliminal:package"
WHOLE = "./"  # name of the subject that is the whole folder
ROWS = "#rows"  # after a file's name: the rows in it, in their order
_SHA = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class Statement:
    """A statement, read.

    Attributes:
        data: its JSON.
        raw: its bytes, which a signature is over.
        place: where it was read.
    """

    data: Mapping[str, Any]
    raw: bytes
    place: str

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of its bytes: how another statement names it."""
        import hashlib

        return hashlib.sha256(self.raw).hexdigest()

    @property
    def predicate_type(self) -> str:
        """What kind of claim it makes."""
        return str(self.data["predicateType"])

    @property
    def predicate(self) -> Mapping[str, Any]:
        """The claim."""
        return _mapping(self.data.get("predicate"))

    @property
    def subjects(self) -> list[Mapping[str, Any]]:
        """What the claim is about."""
        return list(self.data["subject"])

    @cached_property
    def files(self) -> dict[str, str]:
        """SHA-256 of each file, by its name."""
        found = {str(each.get("name")): each["digest"].get("sha256") for each in self.subjects if each.get("name")}
        return {name: sha for name, sha in found.items() if sha and name != WHOLE}  # that of rows has a root alone

    @property
    def whole(self) -> str | None:
        """The ``dirHash`` that it claims for the folder."""
        return next((_text(each["digest"].get("dirHash")) for each in self.subjects if each.get("name") == WHOLE), None)

    @property
    def shares_folder(self) -> bool:
        """Whether other files may lie in its folder."""
        whole = next((each for each in self.subjects if each.get("name") == WHOLE), {})
        return _mapping(whole.get("annotations")).get("files") == "named"

    @property
    def rows(self) -> dict[str, tuple[str, int]]:
        """Root and number of the rows of each file of rows."""
        told = {}
        for each in self.subjects:
            name, root = str(each.get("name")), each["digest"].get("merkleSha256")
            if root is not None and name.endswith(ROWS):
                count = _mapping(each.get("annotations")).get("count")
                told[name.removesuffix(ROWS)] = (root, count if isinstance(count, int) else -1)
        return told

    @property
    def kind(self) -> str:
        """What the artefact is, such as ``teacher``; ``artefact`` where the statement doesn't say."""
        return str(self.parameters.get("kind", "artefact"))

    @property
    def build_type(self) -> str:
        """Which process made it."""
        return str(_mapping(self.predicate.get("buildDefinition")).get("buildType", ""))

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The external parameters of provenance."""
        return _mapping(_mapping(self.predicate.get("buildDefinition")).get("externalParameters"))

    @property
    def settings(self) -> Any:
        """All that shaped an artefact of ours."""
        return self.parameters.get("settings")

    @property
    def invocation(self) -> str | None:
        """The digest of the parameters, where it is a statement of ours."""
        return _text(_mapping(_mapping(self.predicate.get("runDetails")).get("metadata")).get("invocationId"))

    @property
    def versions(self) -> Mapping[str, Any]:
        """Versions of the packages that made it."""
        builder = _mapping(_mapping(self.predicate.get("runDetails")).get("builder"))
        return _mapping(builder.get("version"))

    @cached_property
    def materials(self) -> list[Material]:
        """What it says it was made from."""
        told = []
        for each in _materials(self.predicate):
            each = _mapping(each)
            notes = dict(_mapping(each.get("annotations")))
            statement = _text(notes.pop("statementSha256", None))
            shas = {str(name): str(value) for name, value in _mapping(each.get("digest")).items()}
            told.append(Material(str(each.get("name", "")), str(each.get("uri", "")), shas, statement, notes))
        return told


def provenance(
    kind: str,
    settings: Any,
    files: Mapping[str, str],
    materials: Sequence[Material] = (),
    rows: Mapping[str, tuple[str, int]] | None = None,
    declared: Mapping[str, Any] | None = None,
    beside: bool = False,
) -> dict[str, Any]:
    """Return the statement of an artefact. It holds no time of day: the same stage gives the same bytes.

    Args:
        kind: what it is, such as ``teacher``.
        settings: all that shaped it, as ``describe`` takes it.
        files: SHA-256 of each of its files.
        materials: what it was made from.
        rows: root and number of the rows of files of rows.
        declared: who says so, where nobody recorded it.
        beside: whether other files may lie in its folder, as beside a run's results.
    """
    notes = {"leaf": "RFC 6962 over prompt and completion"}
    whole = {"name": WHOLE, "digest": {"dirHash": dir_hash(files)}}
    subject: list[dict[str, Any]] = [whole | ({"annotations": {"files": "named"}} if beside else {})]
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
    builder: dict[str, Any] = {"id": DECLARED_TYPE}  # whoever declares did not see it made, in whatever versions
    if declared is None:
        builder = {"id": BUILDER, "version": package_versions(), "builderDependencies": [ours]}
    details = {"builder": builder, "metadata": {"invocationId": digest(parameters)}}
    return _statement(subject, PROVENANCE, {"buildDefinition": definition, "runDetails": details})


def invocation(kind: str, settings: Any) -> str:
    """Return the digest by which a statement's parameters are known (``Statement.invocation``)."""
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
    """Return a statement as the bytes of its file: JSON with sorted keys that a person can read.

    Raises:
        InputError: if a text in it, such as a file's name, can't be written as UTF-8.
    """
    text = json.dumps(statement, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    try:
        return text.encode()
    except UnicodeEncodeError as err:
        odd = next(line.strip() for line in text.splitlines() if any("\ud800" <= each <= "\udfff" for each in line))
        raise InputError(f"{odd[:200]!a} is no UTF-8, so no lineage can name it: rename the file.") from err


def read_statement(path: Path, raw: bytes | None = None) -> Statement:
    """Read a statement strictly; fields that it doesn't know are ignored, as in-toto asks.

    Args:
        path: its file, or what messages call it.
        raw: its bytes, where they come from elsewhere, such as an envelope.

    Raises:
        InputError: if it is no statement.
    """
    raw = read_bytes(path) if raw is None else raw
    data = parse(raw, str(path))
    if data.get("_type") != STATEMENT:
        raise InputError(f"{path} is no in-toto Statement v1: its `_type` is {str(data.get('_type'))[:80]!r}.")
    subject = data.get("subject")
    if not isinstance(subject, list) or not subject:
        raise InputError(f"{path} has no `subject`: expected a list of what it is about.")
    if not isinstance(data.get("predicateType"), str) or not isinstance(data.get("predicate", {}), dict):
        raise InputError(f"{path} has no `predicateType`, or a `predicate` that is no object.")
    names: set[str] = set()
    for each in subject:
        shas = each.get("digest") if isinstance(each, dict) else None
        if not isinstance(shas, dict) or not shas or not all(isinstance(sha, str) for sha in shas.values()):
            raise InputError(f"{path} has a subject without a digest.")
        for kind in ("sha256", "dirHash", "merkleSha256"):
            if (sha := shas.get(kind)) is not None and (len(sha) != 64 or set(sha) - _SHA):
                raise InputError(f"{path} has a subject whose {kind} is no 64 lower-case hexadecimal digits.")
        if (name := each.get("name")) is not None:
            if not isinstance(name, str) or name in names:
                raise InputError(f"{path} has two subjects called {str(name)[:80]!r}, or one whose name is no text.")
            names.add(name)
    statement = Statement(data, raw, str(path))
    count = len(_materials(statement.predicate))
    MAX_MATERIALS.check(count, f"{path} names {count:,} materials")
    return statement


def _statement(subject: list[Any], predicate_type: str, predicate: Mapping[str, Any]) -> dict[str, Any]:
    return {"_type": STATEMENT, "subject": subject, "predicateType": predicate_type, "predicate": dict(predicate)}


def _materials(predicate: Mapping[str, Any]) -> list[Any]:
    found = _mapping(predicate.get("buildDefinition")).get("resolvedDependencies")
    return found if isinstance(found, list) else []


def _mapping(thing: Any) -> Mapping[str, Any]:
    return thing if isinstance(thing, dict) else {}


def _text(thing: Any) -> str | None:
    return thing if isinstance(thing, str) else None
