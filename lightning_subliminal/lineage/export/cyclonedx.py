"""Export of a lineage as a CycloneDX 1.6 bill of materials: the model with its card, its data sets, its base.

A folder's ``dirHash`` is a property and not one of the component's `hashes`, since it is not the digest of a file; the
files are inner components, each with its SHA-256. There is no timestamp and no random serial number, so the same
lineage gives the same bytes.
"""

import json
from collections.abc import Sequence
from importlib import import_module
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.version import __version__
from lightning_subliminal.lineage.export.model import PREFIX, Described, Family

__all__ = ["cyclonedx_bom"]


def cyclonedx_bom(nodes: Sequence[Described]) -> str:
    """Return the bill of materials of a model or a data set as JSON, validated against the standard's schema.

    Args:
        nodes: the artefact and its ancestors, itself last.

    Raises:
        InputError: if it has no record or does not fit the standard, or cyclonedx-python-lib is not installed.
    """
    family = Family(nodes)
    if not (family.main.is_model or family.main.is_data):
        raise InputError(f"A {family.main.kind} can't be exported as CycloneDX: expected a model or a data set.")
    try:
        for name in ("cyclonedx", "jsonschema"):  # the second is the validator's
            import_module(name)
    except ModuleNotFoundError as err:
        raise InputError("CycloneDX needs cyclonedx-python-lib: pip install 'lightning-subliminal[lineage]'.") from err
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    parts = {each.key: each for each in family.nodes if each.is_model or each.is_data}
    components = {key: _component(family, node) for key, node in parts.items()}
    tool = {"type": "library", "name": "lightning-subliminal", "version": __version__}
    bom: dict[str, Any] = {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"tools": {"components": [tool]}, "component": components.pop(family.main.key)},
    }
    if components:
        bom["components"] = list(components.values())
    bom["dependencies"] = []
    for key, node in sorted(parts.items()):
        needs = sorted(each.key for each in family.parents(node) if each.key in parts)
        bom["dependencies"].append({"ref": key} | ({"dependsOn": needs} if needs else {}))
    bom["serialNumber"] = uuid5(NAMESPACE_URL, json.dumps(bom, sort_keys=True)).urn
    text = json.dumps(bom, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    wrong = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    if wrong is not None:
        why = " ".join(str(getattr(wrong.data, "message", wrong)).split())[:300]
        raise InputError(f"The lineage can't be exported as CycloneDX 1.6: {why}.")
    return text


def _component(family: Family, node: Described) -> dict[str, Any]:
    facts = {"kind": node.kind} | {name: sha for name, sha in node.digests.items() if sha != node.file_sha}
    if node.statement is not None:
        facts |= {"statementSha256": node.statement.sha256, "buildType": node.statement.build_type}
        facts |= {f"version:{name}": str(value) for name, value in node.statement.versions.items()}
    properties = [{"name": PREFIX + name, "value": value} for name, value in facts.items() if value]
    for part in family.settings(node):
        value = " ".join([part.uri, *(f"{name}:{sha}" for name, sha in sorted(part.digest.items()))])
        properties.append({"name": PREFIX + (part.role or "part"), "value": value})
    component: dict[str, Any] = {
        "type": "machine-learning-model" if node.is_model else "data",
        "name": node.name,
        "bom-ref": node.key,
        "properties": properties,
    }
    if node.file_sha:
        component["hashes"] = _hashes(node.file_sha)
    if node.files:
        component["components"] = [
            {"type": "file", "name": name, "bom-ref": f"{node.key}/{name}", "hashes": _hashes(sha)}
            for name, sha in node.files.items()
        ]
    if bases := family.bases(node):  # without references, which would be duplicates
        ancestors = [{"type": "machine-learning-model", "name": each.name} for each in bases]
        component["pedigree"] = {"ancestors": ancestors}
    if not node.is_model:
        component["data"] = [_data(family, node)]
    elif card := _card(family, node):
        component["modelCard"] = card
    return component


def _hashes(sha: str) -> list[dict[str, str]]:
    return [{"alg": "SHA-256", "content": sha}]


def _card(family: Family, node: Described) -> dict[str, Any]:
    """Return the `modelCard`, without unknown fields."""
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
    if origin := family.origin(node):
        card["considerations"] = {"technicalLimitations": origin}
    return card


def _data(family: Family, node: Described) -> dict[str, Any]:
    """Return the `data` entry of a data set: its rows, and who wrote it."""
    data: dict[str, Any] = {"type": "dataset", "name": node.name}
    if writers := family.written_by(node):
        data["description"] = writers
    facts: list[dict[str, str]] = []
    for name, (root, count) in node.rows.items():
        facts.append({"name": f"{PREFIX}merkleSha256:{name}", "value": root})
        if count >= 0:
            facts.append({"name": f"{PREFIX}rows:{name}", "value": str(count)})
    return data | ({"contents": {"properties": facts}} if facts else {})
