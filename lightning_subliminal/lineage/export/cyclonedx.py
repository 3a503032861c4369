"""A lineage as a CycloneDX 1.6 bill of materials: the model with its card, its data sets, its base.

A folder's ``dirHash`` is a property, not one of the component's `hashes`: it is the digest of a list of files and no
file's own, so the files are components inside, each with its SHA-256. There is no time and no random serial number, so
that the same lineage gives the same bytes.
"""

import json
import warnings
from collections.abc import Sequence
from importlib import import_module
from typing import TYPE_CHECKING, Any
from uuid import NAMESPACE_URL, uuid5

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.version import __version__
from lightning_subliminal.lineage.export.model import PREFIX, Described, Family, Metric

if TYPE_CHECKING:
    from cyclonedx.model.component import Component

__all__ = ["cyclonedx_bom"]


def cyclonedx_bom(nodes: Sequence[Described], metrics: Sequence[Metric] = ()) -> str:
    """Return the bill of materials of a model or a data set as JSON, checked against the standard's schema.

    Args:
        nodes: the artefact and its ancestors, itself last.
        metrics: figures for the model's card.

    Raises:
        InputError: if it has no record, or what it says doesn't fit the standard.
        InputError: if cyclonedx-python-lib is not installed.
    """
    family = Family(nodes)
    if not (family.main.is_model or family.main.is_data):
        raise InputError(f"A {family.main.kind} can't be exported as CycloneDX: expected a model or a data set.")
    _need_library()
    told = _bom(family)
    by_ref = {each.key: each for each in family.nodes}
    for component in (told["metadata"]["component"], *told.get("components", [])):
        node = by_ref[component["bom-ref"]]  # the library knows neither field and drops them
        if node.is_model:
            if card := _card(family, node, metrics if node is family.main else ()):
                component["modelCard"] = card
        else:
            component["data"] = [_data(family, node)]
    told.pop("serialNumber")
    told["metadata"].pop("timestamp")
    told["serialNumber"] = uuid5(NAMESPACE_URL, json.dumps(told, sort_keys=True)).urn
    text = json.dumps(told, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    _check(text)
    return text


def _need_library() -> None:
    try:
        for name in ("cyclonedx", "jsonschema"):  # the second is the validator's
            import_module(name)
    except ModuleNotFoundError as err:
        raise InputError("CycloneDX needs cyclonedx-python-lib: pip install 'lightning-subliminal[lineage]'.") from err


def _bom(family: Family) -> dict[str, Any]:
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output import make_outputter
    from cyclonedx.schema import OutputFormat, SchemaVersion

    bom = Bom()
    bom.metadata.tools.components.add(
        Component(type=ComponentType.LIBRARY, name="lightning-subliminal", version=__version__)
    )
    made = {each.key: _component(family, each) for each in family.nodes if each.is_model or each.is_data}
    for node in family.nodes:
        if node.key in made:
            bom.register_dependency(
                made[node.key], [made[each.key] for each in family.parents(node) if each.key in made]
            )
    bom.metadata.component = made.pop(family.main.key)
    bom.components.update(made.values())
    with warnings.catch_warnings():  # a model that names no parents is no mistake, as it takes it for
        warnings.filterwarnings("ignore", message="The Component this BOM is describing", category=UserWarning)
        text = make_outputter(bom, OutputFormat.JSON, SchemaVersion.V1_6).output_as_string()
    told: dict[str, Any] = json.loads(text)
    return told


def _component(family: Family, node: Described) -> "Component":
    from cyclonedx.model import Property
    from cyclonedx.model.component import Component, ComponentType, Pedigree

    kind = ComponentType.MACHINE_LEARNING_MODEL if node.is_model else ComponentType.DATA
    facts = {"kind": node.kind} | {name: sha for name, sha in node.digests.items() if sha != node.file_sha}
    if node.statement is not None:
        facts |= {"statementSha256": node.statement.sha256, "buildType": node.statement.build_type}
        facts |= {f"version:{name}": str(value) for name, value in node.statement.versions.items()}
    properties = [Property(name=PREFIX + name, value=value) for name, value in facts.items() if value]
    for part in family.settings(node):
        value = " ".join([part.uri, *(f"{name}:{sha}" for name, sha in sorted(part.digest.items()))])
        properties.append(Property(name=PREFIX + (part.role or "part"), value=value))
    ancestors = [  # without a reference, which would be there twice
        Component(
            type=ComponentType.MACHINE_LEARNING_MODEL,
            name=each.name,
        )
        for each in family.bases(node)
    ]
    return Component(
        type=kind,
        name=node.name,
        bom_ref=node.key,
        hashes=_hashes(node.file_sha),
        properties=properties,
        components=[
            Component(type=ComponentType.FILE, name=name, bom_ref=f"{node.key}/{name}", hashes=_hashes(sha))
            for name, sha in node.files.items()
        ],
        pedigree=Pedigree(ancestors=ancestors) if ancestors else None,
    )


def _hashes(sha: str | None) -> list[Any]:
    from cyclonedx.model import HashAlgorithm, HashType

    return [HashType(alg=HashAlgorithm.SHA_256, content=sha)] if sha else []


def _card(family: Family, node: Described, metrics: Sequence[Metric]) -> dict[str, Any]:
    """Return the `modelCard`; fields that nothing is known for are left out."""
    parameters: dict[str, Any] = {}
    if node.kind in ("student", "control") and family.data(node):
        parameters["approach"] = {"type": "supervised"}  # a label for each token: sampled, or a distribution
    for place in (node, *family.bases(node)):
        config = place.json_file("config.json")
        named = config.get("architectures")
        if isinstance(named, list) and named and isinstance(named[0], str):
            parameters["modelArchitecture"] = named[0]
            if isinstance(config.get("model_type"), str):
                parameters["architectureFamily"] = config["model_type"]
            break
    if data := family.data(node):
        parameters["datasets"] = [{"ref": each.key} for each in data]
    card: dict[str, Any] = {"modelParameters": parameters} if parameters else {}
    if metrics:
        card["quantitativeAnalysis"] = {"performanceMetrics": [_metric(each) for each in metrics]}
    if said := family.told(node):
        card["considerations"] = {"technicalLimitations": said}
    return card


def _metric(metric: Metric) -> dict[str, Any]:
    told: dict[str, Any] = {"type": metric.type, "value": f"{metric.value:.6g}"}
    if metric.slice is not None:
        told["slice"] = metric.slice
    ends = {"lowerBound": metric.low, "upperBound": metric.high}
    interval = {name: f"{end:.6g}" for name, end in ends.items() if end is not None}
    return told | ({"confidenceInterval": interval} if interval else {})


def _data(family: Family, node: Described) -> dict[str, Any]:
    """Return the one `data` entry of a data set: its rows, and who wrote it."""
    told: dict[str, Any] = {"type": "dataset", "name": node.name}
    if writers := family.writers(node):
        told["description"] = "Written by the model " + ", ".join(each.name for each in writers) + "."
    facts: list[dict[str, str]] = []
    for name, (root, count) in sorted(node.statement.rows.items()) if node.statement is not None else []:
        facts.append({"name": f"{PREFIX}merkleSha256:{name}", "value": root})
        if count >= 0:
            facts.append({"name": f"{PREFIX}rows:{name}", "value": str(count)})
    return told | ({"contents": {"properties": facts}} if facts else {})


def _check(text: str) -> None:
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if wrong is not None:
        why = " ".join(str(getattr(wrong.data, "message", wrong)).split())[:300]
        raise InputError(f"The lineage can't be told as CycloneDX 1.6: {why}.")
