"""In and out: rows read from and written to the formats of the field, in a stream.

``read_rows(source)`` gives rows, ``write_rows(rows, out, schema)`` keeps them.
"""

from lightning_subliminal.formats.digest import content_digest
from lightning_subliminal.formats.layouts.schema import Schema
from lightning_subliminal.formats.layouts.schemas import make_schema
from lightning_subliminal.formats.storage.stream import Report, Written, read_rows, write_rows

__all__ = ["Report", "Schema", "Written", "content_digest", "make_schema", "read_rows", "write_rows"]
