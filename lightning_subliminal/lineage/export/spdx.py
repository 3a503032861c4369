"""Export of a lineage as an SPDX 3.0.1 document in JSON-LD: AI and dataset packages, their builds and relationships.

It claims only the core, software and build profiles. The AI and dataset profiles demand a supplier, a download
location, a version and a release time, which a lineage doesn't know.
"""

import os
from collections.abc import Sequence
from datetime import datetime, timezone
from io import BytesIO
from typing import Any

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.version import __version__
from lightning_subliminal.lineage.export.model import Described, Family
from lightning_subliminal.lineage.material import Material

__all__ = ["spdx_document"]

_URN = "urn:x-lightning-subliminal:"
_DIR_HASH = "in-toto dirHash: SHA-256 of the sorted lines '<sha256>  <name>' of the files"


def spdx_document(nodes: Sequence[Described]) -> str:
    """Return the SPDX document of a model or a data set.

    The standard demands a creation time: that of SOURCE_DATE_EPOCH, else the present.

    Args:
        nodes: the artefact and its ancestors, itself last.

    Raises:
        InputError: if the artefact has no record or is neither model nor data set, or spdx-python-model is not
            installed.
    """
    family = Family(nodes)
    if not (family.main.is_model or family.main.is_data):
        raise InputError(f"A {family.main.kind} can't be exported as SPDX: expected a model or a data set.")
    try:
        from spdx_python_model import v3_0_1
    except ModuleNotFoundError as err:
        raise InputError("SPDX needs spdx-python-model: pip install 'lightning-subliminal[lineage]'.") from err
    return _Document(v3_0_1, family).text()


def _now() -> datetime:
    stated = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        seconds = int(stated) if stated else None
        moment = datetime.now(timezone.utc) if seconds is None else datetime.fromtimestamp(seconds, timezone.utc)
    except (ValueError, OverflowError, OSError) as err:
        raise InputError(f"SOURCE_DATE_EPOCH is {stated!r}: expected seconds since 1970 as a whole number.") from err
    return moment.replace(microsecond=0)  # not allowed by the standard


class _Document:
    def __init__(self, spdx: Any, family: Family) -> None:
        self.spdx, self.family = spdx, family
        self.prefix = f"{_URN}{family.main.key}:"
        self.elements: list[Any] = []
        self.info = spdx.CreationInfo(specVersion="3.0.1", created=_now())
        program = f"lightning-subliminal {__version__}"
        # The person who exports is not known.
        self.info.createdBy = [self._add(spdx.SoftwareAgent, "agent", program)]
        self.info.createdUsing = [self._add(spdx.Tool, "tool", program)]

    def text(self) -> str:
        """Return the document as text."""
        spdx = self.spdx
        packages = {each.key: self._package(each) for each in self.family.nodes if each.is_model or each.is_data}
        for node in self.family.nodes:
            if node.key in packages:
                self._relate_all(node, packages)
        profiles = [getattr(spdx.ProfileIdentifierType, name) for name in ("core", "software", "build")]
        main = packages[self.family.main.key]
        document = self._add(spdx.SpdxDocument, "document", main.name)
        document.rootElement, document.profileConformance = [main], profiles
        document.element = [each for each in self.elements if each is not document]
        stream = BytesIO()
        try:
            objects = spdx.SHACLObjectSet([*self.elements, self.info])
            spdx.JSONLDSerializer().write(objects, stream, indent=1, sort_keys=True)
        except (ValueError, TypeError) as err:
            why = " ".join(str(err).split())[:300]
            raise InputError(f"The lineage can't be exported as SPDX 3.0.1: {why}.") from err
        return stream.getvalue().decode() + "\n"

    def _add(self, kind: Any, place: str, name: str | None = None) -> Any:
        made = kind(creationInfo=self.info)
        made.spdxId = self.prefix + place
        if name is not None:
            made.name = name
        self.elements.append(made)
        return made

    def _package(self, node: Described) -> Any:
        spdx = self.spdx
        if node.is_model:
            made = self._add(spdx.ai_AIPackage, node.key, node.name)
            made.software_primaryPurpose = spdx.software_SoftwarePurpose.model
            if origin := self.family.origin(node):
                made.ai_informationAboutTraining = " ".join(origin)
            made.ai_hyperparameter = [spdx.DictionaryEntry(key=name, value=value) for name, value in _parameters(node)]
        else:
            made = self._add(spdx.dataset_DatasetPackage, node.key, node.name)
            made.software_primaryPurpose = spdx.software_SoftwarePurpose.data
            # The content of a file that is only named is unknown; rows of this package are text.
            kind = spdx.dataset_DatasetType.text if node.statement else spdx.dataset_DatasetType.noAssertion
            made.dataset_datasetType = [kind]
            if writers := self.family.written_by(node):
                made.dataset_dataCollectionProcess = writers
            made.dataset_dataPreprocessing = [_part(each) for each in self.family.settings(node)]
            counts = [count for _, count in node.rows.values()]
            if counts and min(counts) >= 0:
                made.dataset_datasetSize = sum(counts)
        made.verifiedUsing = [
            self._hash(sha) if sha == node.file_sha else self._other(name, sha) for name, sha in node.digests.items()
        ]
        return made

    def _relate_all(self, node: Described, packages: dict[str, Any]) -> None:
        package, family = packages[node.key], self.family
        files = []
        for place, (name, sha) in enumerate(node.files.items()):
            files.append(self._add(self.spdx.software_File, f"{node.key}:{place}", name))
            files[-1].verifiedUsing = [self._hash(sha)]
        self._relate("contains", package, files)
        if node.is_model:
            self._relate("trainedOn", package, [packages[each.key] for each in family.data(node)])
            self._relate("descendantOf", package, [packages[each.key] for each in family.bases(node)])
        else:
            sources = [packages[each.key] for each in family.data(node)]
            for writer in family.writers(node) if not sources else ():
                self._relate("generates", packages[writer.key], [package])
            self._relate("descendantOf", package, sources)
        if node.statement is not None and node.statement.build_type:
            build = self._add(self.spdx.build_Build, f"{node.key}:build")
            build.build_buildType = _iri(node.statement.build_type)
            if node.statement.invocation:
                build.build_buildId = node.statement.invocation
            self._relate("hasInput", build, [packages[each.key] for each in family.parents(node)])
            self._relate("hasOutput", build, [package])

    def _relate(self, kind: str, one: Any, others: Sequence[Any]) -> None:
        if not others:
            return
        name = f"{one.spdxId.removeprefix(self.prefix)}:{kind}:{len(self.elements)}"
        made = self._add(self.spdx.Relationship, name)
        made.from_, made.to = one, list(others)
        made.relationshipType = getattr(self.spdx.RelationshipType, kind)

    def _hash(self, sha: str) -> Any:
        return self.spdx.Hash(algorithm=self.spdx.HashAlgorithm.sha256, hashValue=sha)

    def _other(self, name: str, sha: str) -> Any:
        """Return a digest that is not a file's: a reader would compare `sha256` with a file."""
        comment = _DIR_HASH if name == "dirHash" else f"{name}, as stated"
        return self.spdx.Hash(algorithm=self.spdx.HashAlgorithm.other, hashValue=sha, comment=comment)


def _parameters(node: Described) -> list[tuple[str, str]]:
    """Return the scalars among a model's own settings, without those of its training data."""
    stated = node.statement.settings if node.statement is not None else None
    settings = stated if isinstance(stated, dict) else {}
    found = []
    for place in ("student", "trainer"):
        part = settings.get(place)
        found += [(f"{place}.{name}", value) for name, value in part.items()] if isinstance(part, dict) else []
    found = found or list(settings.items())
    return sorted((name, str(value)) for name, value in found if isinstance(value, (str, int, float)))


def _part(part: Material) -> str:
    return " ".join([part.role, part.uri, *(f"{name}:{sha}" for name, sha in sorted(part.digest.items()))])


def _iri(text: str) -> str:
    """Return a `buildType` as an IRI, which the standard demands; another tool's may not be one."""
    return text if ":" in text and not set(text) & set(' <>"{}|\\^`') else _URN + "unreadable"
