"""Who made this, and from what? Each artefact folder holds ``lineage.json``, written by the stage that made it."""

from lightning_subliminal.lineage.material import Material, file_material, setting_material
from lightning_subliminal.lineage.record import (
    artefact_material,
    is_whole,
    read_record,
    source_material,
    tested_material,
    write_record,
    write_statement,
)
from lightning_subliminal.lineage.signatures.merkle import (
    RowsTree,
    inclusion_path,
    leaf_digest,
    merkle_root,
    root_from_path,
    rows_root,
)
from lightning_subliminal.lineage.statement import Statement, provenance, read_statement, result_statement
from lightning_subliminal.lineage.test_results import write_test_result

__all__ = [
    "Material",
    "RowsTree",
    "Statement",
    "artefact_material",
    "file_material",
    "inclusion_path",
    "is_whole",
    "leaf_digest",
    "merkle_root",
    "provenance",
    "read_record",
    "read_statement",
    "result_statement",
    "root_from_path",
    "rows_root",
    "setting_material",
    "source_material",
    "tested_material",
    "write_record",
    "write_statement",
    "write_test_result",
]
