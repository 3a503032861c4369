"""A data set's lineage as Croissant 1.0 (JSON-LD): its files with digests, its columns, the model that wrote it.

Croissant 1.0 has no field for the model: it is named in those of responsible AI (RAI 1.0), for people, and as PROV, for
programs. Licence, publisher and date are not known to a lineage and left out; validators warn of that.
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
_TERMS = (  # of Croissant that are plain names in its namespace
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
    """Return the Croissant metadata of a data set; put it beside the files that it names.

    Args:
        nodes: the data set and its ancestors, itself last.

    Raises:
        InputError: if it has no record, is no data set, or names a file outside its folder.
    """
    family = Family(nodes)
    node = family.main
    if not node.is_data:
        raise InputError(f"A {node.kind} can't be exported as Croissant: expected a data set, such as a rows folder.")
    told: dict[str, Any] = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": _CONFORMS,
        "name": node.name,
        "description": _description(family, node),
        "distribution": [_file(name, sha) for name, sha in node.files.items()],
    }
    if sets := [found for name in node.files if (found := _record_set(node, name))]:
        told["recordSet"] = sets
    told |= _written_by(family, node)
    return json.dumps(told, indent=1, ensure_ascii=False) + "\n"


def _description(family: Family, node: Described) -> str:
    rows = node.statement.rows if node.statement is not None else {}
    said = [f"{count} rows in {name}." for name, (_, count) in sorted(rows.items()) if count >= 0]
    said += [f"Written by the model {each.name}." for each in family.writers(node)]
    said += [f"{name} of the folder: {sha}." for name, sha in node.digests.items()]
    return " ".join([f"A data set of the kind {node.kind}.", *said])


def _file(name: str, sha: str) -> dict[str, Any]:
    check_name(name)  # a reader fetches what `contentUrl` says
    kind = _FORMATS.get(PurePosixPath(name).suffix, "application/octet-stream")
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "encodingFormat": kind,
        "sha256": sha,
    }


def _record_set(node: Described, name: str) -> dict[str, Any] | None:
    """Describe the columns of a Parquet file that is at hand and as its statement has it."""
    if node.folder is None or not name.endswith(".parquet"):
        return None
    import pyarrow.parquet
    from pyarrow.lib import ArrowException

    try:
        path = inside(node.folder, name)
        if file_digest(path) != node.files[name]:
            return None
        schema = pyarrow.parquet.read_schema(path)
    except (InputError, OSError, ArrowException):  # what is wrong with it is for the audit
        return None
    place = f"records/{name.removesuffix('.parquet')}"
    fields = [field for column in schema if (field := _field(place, name, column.name, column.type))]
    return {"@type": "cr:RecordSet", "@id": place, "name": place, "field": fields} if fields else None


def _field(place: str, file: str, column: str, kind: Any) -> dict[str, Any] | None:
    """Describe a column; None for one of a type that Croissant has no word for."""
    from pyarrow import types

    told = {"@type": "cr:Field", "@id": f"{place}/{column}", "name": f"{place}/{column}"}
    source = {"fileObject": {"@id": file}, "extract": {"column": column}}
    if types.is_list(kind) and types.is_struct(kind.value_type):  # messages: a part each, in their order
        inner = []
        for part in kind.value_type:
            if (data_type := _data_type(part.type)) is None:
                return None
            called = f"{place}/{column}/{part.name}"
            where = source | {"transform": {"jsonPath": part.name}}
            inner.append({"@type": "cr:Field", "@id": called, "name": called, "dataType": data_type, "source": where})
        return told | {"description": "A list of messages.", "repeated": True, "subField": inner}
    repeated = types.is_list(kind)
    data_type = _data_type(kind.value_type if repeated else kind)
    if data_type is None:
        return None
    return told | {"dataType": data_type, "source": source} | ({"repeated": True} if repeated else {})


def _data_type(kind: Any) -> str | None:
    from pyarrow import types

    if types.is_string(kind) or types.is_large_string(kind):
        return "sc:Text"
    if types.is_boolean(kind):
        return "sc:Boolean"
    if types.is_integer(kind):
        return "sc:Integer"
    return "sc:Float" if types.is_floating(kind) else None


def _written_by(family: Family, node: Described) -> dict[str, Any]:
    """Tell who wrote it and what was done to it since: for people (RAI), and for programs (PROV)."""
    told: dict[str, Any] = {}
    if writers := family.writers(node):
        names = [each.name for each in writers]
        told["rai:dataCollection"] = f"Written by the model {', '.join(names)}."
        told["rai:machineAnnotationTools"] = names
        told["prov:wasGeneratedBy"] = {
            "@type": "prov:Activity",
            "prov:used": [_entity(each) for each in writers],
        }
    if settings := family.settings(node):
        told["rai:dataPreprocessingProtocol"] = [f"{each.role} {each.uri}" for each in settings]
    if parents := family.parents(node):
        told["prov:wasDerivedFrom"] = [_entity(each) for each in parents]
    return told


def _entity(node: Described) -> dict[str, Any]:
    marks = [f"{name}:{sha}" for name, sha in node.digests.items()]
    return {"@type": "prov:Entity", "name": node.name} | ({"identifier": marks} if marks else {})
