"""Export of a lineage to standard formats: bills of materials, data cards, signatures.

Each holds what the statements state and nothing else: no licence, author or date is made up.
"""

from collections.abc import Callable, Mapping, Sequence

from lightning_subliminal.core.errors import known_name
from lightning_subliminal.lineage.export.croissant import croissant
from lightning_subliminal.lineage.export.cyclonedx import cyclonedx_bom
from lightning_subliminal.lineage.export.model import Described
from lightning_subliminal.lineage.export.model_signing import make_p256, sign_model
from lightning_subliminal.lineage.export.spdx import spdx_document

__all__ = [
    "FORMATS",
    "Described",
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
        InputError: if the format is not known or can't express the artefact, or its package is not installed.
    """
    known_name(format, FORMATS, f"unknown format `{format}`")
    return FORMATS[format](nodes)
