"""Read and write rows in the formats of the field, in a stream: ``read_rows(source)``, ``write_rows(rows, out)``."""

from lightning_subliminal.formats.digest import content_digest
from lightning_subliminal.formats.layouts.schema import Schema
from lightning_subliminal.formats.layouts.schemas import make_schema
from lightning_subliminal.formats.storage.stream import Report, Written, read_rows, write_rows

__all__ = ["Report", "Schema", "Written", "content_digest", "make_schema", "read_rows", "write_rows"]
