"""A lineage as an SPDX 3.0.1 document in JSON-LD: AI and dataset packages, what made them, and relations.

It says to conform to the core, software and build profiles only. The AI and dataset profiles demand a supplier, a place
to download from, a version and a release time, which a lineage doesn't know.
"""

import os
from collections.abc import Sequence
from datetime import datetime, timezone
from io import BytesIO
from typing import Any

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.version import __version__
from lightning_subliminal.lineage.export.model import Described, Family, Metric
from lightning_subliminal.lineage.material import Material

__all__ = ["spdx_document"]

_URN = "urn:x-lightning-subliminal:"
_DIR_HASH = "in-toto dirHash: SHA-256 of the sorted lines '<sha256>  <name>' of the files"


def spdx_document(nodes: Sequence[Described], metrics: Sequence[Metric] = (), created: datetime | None = None) -> str:
    """Return the SPDX document of a model or a data set.

    Args:
        nodes: the artefact and its ancestors, itself last.
        metrics: figures of the model.
        created: when the document is made, which the standard asks for; SOURCE_DATE_EPOCH, else now.

    Raises:
        InputError: if the artefact has no record, or is neither model nor data set.
        InputError: if spdx-python-model is not installed.
    """
    family = Family(nodes)
    if not (family.main.is_model or family.main.is_data):
        raise InputError(f"A {family.main.kind} can't be exported as SPDX: expected a model or a data set.")
    try:
        from spdx_python_model import v3_0_1
    except ModuleNotFoundError as err:
        raise InputError("SPDX needs spdx-python-model: pip install 'lightning-subliminal[lineage]'.") from err
    return _Document(v3_0_1, family, metrics, created or _now()).text()


def _now() -> datetime:
    stated = os.environ.get("SOURCE_DATE_EPOCH")
    try:
        seconds = int(stated) if stated else None
        moment = datetime.now(timezone.utc) if seconds is None else datetime.fromtimestamp(seconds, timezone.utc)
    except (ValueError, OverflowError, OSError) as err:
        raise InputError(f"SOURCE_DATE_EPOCH is {stated!r}: expected seconds since 1970 as a whole number.") from err
    return moment.replace(microsecond=0)  # the standard's form has none


class _Document:
    def __init__(self, spdx: Any, family: Family, metrics: Sequence[Metric], created: datetime) -> None:
        self.spdx, self.family, self.metrics = spdx, family, metrics
        self.prefix = f"{_URN}{family.main.key}:"
        self.elements: list[Any] = []
        self.info = spdx.CreationInfo(specVersion="3.0.1", created=created.astimezone(timezone.utc))
        called = f"lightning-subliminal {__version__}"
        # Who exports is not known; the program is.
        self.info.createdBy = [self._add(spdx.SoftwareAgent, "agent", called)]
        self.info.createdUsing = [self._add(spdx.Tool, "tool", called)]

    def text(self) -> str:
        """Return the document."""
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
        written = BytesIO()
        try:
            spdx.JSONLDSerializer().write(
                spdx.SHACLObjectSet([*self.elements, self.info]), written, indent=1, sort_keys=True
            )
        except (ValueError, TypeError) as err:
            raise InputError(f"The lineage can't be told as SPDX 3.0.1: {' '.join(str(err).split())[:300]}.") from err
        return written.getvalue().decode() + "\n"

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
            if said := self.family.told(node):
                made.ai_informationAboutTraining = " ".join(said)
            made.ai_hyperparameter = [self._entry(name, value) for name, value in _parameters(node)]
            if node is self.family.main:
                made.ai_metric = [self._entry(each.type, _figure(each)) for each in self.metrics]
        else:
            made = self._add(spdx.dataset_DatasetPackage, node.key, node.name)
            made.software_primaryPurpose = spdx.software_SoftwarePurpose.data
            # A file that only has a name may hold anything; ours are rows of text.
            kind = spdx.dataset_DatasetType.text if node.statement else spdx.dataset_DatasetType.noAssertion
            made.dataset_datasetType = [kind]
            if writers := self.family.writers(node):
                names = ", ".join(each.name for each in writers)
                made.dataset_dataCollectionProcess = f"Written by the model {names}."
            made.dataset_dataPreprocessing = [_part(each) for each in self.family.settings(node)]
            counts = [count for _, count in node.statement.rows.values()] if node.statement is not None else []
            if counts and min(counts) >= 0:
                made.dataset_datasetSize = sum(counts)
        made.verifiedUsing = [
            self._hash(sha) if sha == node.file_sha else self._other(name, sha) for name, sha in node.digests.items()
        ]
        return made

    def _relate_all(self, node: Described, packages: dict[str, Any]) -> None:
        me, family = packages[node.key], self.family
        files = []
        for place, (name, sha) in enumerate(node.files.items()):
            files.append(self._add(self.spdx.software_File, f"{node.key}:{place}", name))
            files[-1].verifiedUsing = [self._hash(sha)]
        self._relate("contains", me, files)
        if node.is_model:
            self._relate("trainedOn", me, [packages[each.key] for each in family.data(node)])
            self._relate("descendantOf", me, [packages[each.key] for each in family.bases(node)])
        else:
            sources = [packages[each.key] for each in family.data(node)]
            for writer in family.writers(node) if not sources else ():
                self._relate("generates", packages[writer.key], [me])
            self._relate("descendantOf", me, sources)
        if node.statement is not None and node.statement.build_type:
            build = self._add(self.spdx.build_Build, f"{node.key}:build")
            build.build_buildType = _iri(node.statement.build_type)
            if node.statement.invocation:
                build.build_buildId = node.statement.invocation
            self._relate("hasInput", build, [packages[each.key] for each in family.parents(node)])
            self._relate("hasOutput", build, [me])

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
        """Return a digest that is no file's: whoever reads `sha256` would compare it with one."""
        told = _DIR_HASH if name == "dirHash" else f"{name}, as the statement has it"
        return self.spdx.Hash(algorithm=self.spdx.HashAlgorithm.other, hashValue=sha, comment=told)

    def _entry(self, key: str, value: str) -> Any:
        return self.spdx.DictionaryEntry(key=key, value=value)


def _parameters(node: Described) -> list[tuple[str, str]]:
    """Return the scalars among a model's own settings, not those of what it was trained on."""
    told = node.statement.settings if node.statement is not None else None
    settings = told if isinstance(told, dict) else {}
    found = []
    for place in ("student", "trainer"):
        part = settings.get(place)
        found += [(f"{place}.{name}", value) for name, value in part.items()] if isinstance(part, dict) else []
    found = found or list(settings.items())
    return sorted((name, str(value)) for name, value in found if isinstance(value, (str, int, float)))


def _figure(metric: Metric) -> str:
    ends = "" if metric.low is None or metric.high is None else f" [{metric.low:.6g}, {metric.high:.6g}]"
    return f"{metric.value:.6g}{ends}" + (f" on {metric.slice}" if metric.slice else "")


def _part(part: Material) -> str:
    return " ".join([part.role, part.uri, *(f"{name}:{sha}" for name, sha in sorted(part.digest.items()))])


def _iri(text: str) -> str:
    """Somebody else's `buildType` may be no IRI, which the standard asks for."""
    return text if ":" in text and not set(text) & set(' <>"{}|\\^`') else _URN + "unreadable"
