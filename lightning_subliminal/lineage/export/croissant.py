"""Export of a data set's lineage as Croissant 1.0 (JSON-LD): files with digests, columns, the model that wrote it.

Croissant 1.0 has no field for the model: it is named in fields of responsible AI (RAI 1.0), for people, and of PROV,
for programs. A lineage does not know licence, publisher and date, so they are omitted; validators warn of that.
"""

import json
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any

from lightning_subliminal.core.errors import InputError
from lightning_subliminal.core.fingerprint import file_digest
from lightning_subliminal.lineage.export.model import Described, Family
from lightning_subliminal.lineage.names import check_name, inside

__all__ = ["croissant"]

_CONFORMS = ["http://mlcommons.org/croissant/1.0", "http://mlcommons.org/croissant/RAI/1.0"]
_FORMATS = {
    ".parquet": "application/x-parquet",
    ".jsonl": "application/jsonlines",
    ".json": "application/json",
    ".csv": "text/csv",
    ".txt": "text/plain",
}
_TERMS = (  # Croissant terms that are plain names in its namespace
    *("citeAs", "column", "equivalentProperty", "extract", "field", "fileProperty", "fileObject", "fileSet", "format"),
    *("includes", "isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex"),
    *("repeated", "replace", "samplingRate", "separator", "source", "subField", "transform"),
)
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "prov": "http://www.w3.org/ns/prov#",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{name: f"cr:{name}" for name in _TERMS},
}


def croissant(nodes: Sequence[Described]) -> str:
    """Return the Croissant metadata of a data set, to be written to the folder of the files that it names.

    Args:
        nodes: the data set and its ancestors, itself last.

    Raises:
        InputError: if it has no record, is not a data set, or names a file outside its folder.
    """
    family = Family(nodes)
    node = family.main
    if not node.is_data:
        raise InputError(f"A {node.kind} can't be exported as Croissant: expected a data set, such as a rows folder.")
    metadata: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": _CONFORMS,
        "name": node.name,
        "description": _description(family, node),
        "distribution": [_file(name, sha) for name, sha in node.files.items()],
    }
    if sets := [found for name in node.files if (found := _record_set(node, name))]:
        metadata["recordSet"] = sets
    metadata |= _written_by(family, node)
    return json.dumps(metadata, indent=1, ensure_ascii=False) + "\n"


def _description(family: Family, node: Described) -> str:
    sentences = [f"A data set of the kind {node.kind}."]
    sentences += [f"{count} rows in {name}." for name, (_, count) in node.rows.items() if count >= 0]
    sentences += [f"Written by the model {each.name}." for each in family.writers(node)]
    sentences += [f"{name} of the folder: {sha}." for name, sha in node.digests.items()]
    return " ".join(sentences)


def _file(name: str, sha: str) -> dict[str, Any]:
    check_name(name)  # a reader fetches `contentUrl`
    kind = _FORMATS.get(PurePosixPath(name).suffix, "application/octet-stream")
    names = {"@id": name, "name": name, "contentUrl": name}
    return {"@type": "cr:FileObject", **names, "encodingFormat": kind, "sha256": sha}


def _record_set(node: Described, name: str) -> dict[str, Any] | None:
    """Return the columns of a Parquet file; None if it is not found or differs from its statement."""
    if node.folder is None or not name.endswith(".parquet"):
        return None
    import pyarrow.parquet
    from pyarrow.lib import ArrowException

    try:
        path = inside(node.folder, name)
        if file_digest(path) != node.files[name]:
            return None
        schema = pyarrow.parquet.read_schema(path)
    except (InputError, OSError, ArrowException):  # the audit reports faults
        return None
    place = f"records/{name.removesuffix('.parquet')}"
    fields = [field for column in schema if (field := _field(place, name, column.name, column.type))]
    return {"@type": "cr:RecordSet", "@id": place, "name": place, "field": fields} if fields else None


def _field(place: str, file: str, column: str, kind: Any) -> dict[str, Any] | None:
    """Return the description of a column; None if Croissant has no term for its type."""
    from pyarrow import types

    field = {"@type": "cr:Field", "@id": f"{place}/{column}", "name": f"{place}/{column}"}
    source = {"fileObject": {"@id": file}, "extract": {"column": column}}
    if types.is_list(kind) and types.is_struct(kind.value_type):  # messages
        inner = []
        for part in kind.value_type:
            if (data_type := _data_type(part.type)) is None:
                return None
            name = f"{place}/{column}/{part.name}"
            where = source | {"transform": {"jsonPath": part.name}}
            inner.append({"@type": "cr:Field", "@id": name, "name": name, "dataType": data_type, "source": where})
        return field | {"description": "A list of messages.", "repeated": True, "subField": inner}
    repeated = types.is_list(kind)
    data_type = _data_type(kind.value_type if repeated else kind)
    if data_type is None:
        return None
    return field | {"dataType": data_type, "source": source} | ({"repeated": True} if repeated else {})


def _data_type(kind: Any) -> str | None:
    from pyarrow import types

    if types.is_string(kind) or types.is_large_string(kind):
        return "sc:Text"
    tests = {"sc:Boolean": types.is_boolean, "sc:Integer": types.is_integer, "sc:Float": types.is_floating}
    return next((name for name, is_one in tests.items() if is_one(kind)), None)


def _written_by(family: Family, node: Described) -> dict[str, Any]:
    """Return who wrote a data set and how it was processed, for people (RAI) and for programs (PROV)."""
    fields: dict[str, Any] = {}
    if writers := family.writers(node):
        fields["rai:dataCollection"] = family.written_by(node)
        fields["rai:machineAnnotationTools"] = [each.name for each in writers]
        fields["prov:wasGeneratedBy"] = {"@type": "prov:Activity", "prov:used": [_entity(each) for each in writers]}
    if settings := family.settings(node):
        fields["rai:dataPreprocessingProtocol"] = [f"{each.role} {each.uri}" for each in settings]
    if parents := family.parents(node):
        fields["prov:wasDerivedFrom"] = [_entity(each) for each in parents]
    return fields


def _entity(node: Described) -> dict[str, Any]:
    marks = [f"{name}:{sha}" for name, sha in node.digests.items()]
    return {"@type": "prov:Entity", "name": node.name} | ({"identifier": marks} if marks else {})
