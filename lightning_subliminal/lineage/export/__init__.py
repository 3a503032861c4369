"""A lineage in other people's formats: bills of materials, data cards, signatures.

Each says what the statements say and nothing else: no licence, author or date is made up.
"""

from collections.abc import Callable, Mapping, Sequence

from lightning_subliminal.core.errors import known_name
from lightning_subliminal.lineage.export.croissant import croissant
from lightning_subliminal.lineage.export.cyclonedx import cyclonedx_bom
from lightning_subliminal.lineage.export.model import Described, Metric
from lightning_subliminal.lineage.export.model_signing import make_p256, sign_model
from lightning_subliminal.lineage.export.spdx import spdx_document

__all__ = [
    "FORMATS",
    "Described",
    "Metric",
    "croissant",
    "cyclonedx_bom",
    "export",
    "make_p256",
    "sign_model",
    "spdx_document",
]

FORMATS: Mapping[str, Callable[[Sequence[Described]], str]] = {
    "cyclonedx": cyclonedx_bom,
    "spdx": spdx_document,
    "croissant": croissant,
}


def export(nodes: Sequence[Described], format: str) -> str:
    """Return a lineage in one of ``FORMATS``.

    Args:
        nodes: the artefact and its ancestors: parents first, itself last.
        format: its name.

    Raises:
        InputError: if there is no such format, or the artefact can't be told in it.
        InputError: if the format's package is not installed.
    """
    known_name(format, FORMATS, f"There is no format `{format}`")
    return FORMATS[format](nodes)
