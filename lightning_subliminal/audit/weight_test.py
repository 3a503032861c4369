"""The kinship of two bases, measured on their weights, for an audit whose lineage does not show it."""

from typing import Any

from lightning_subliminal.audit.node import Node
from lightning_subliminal.core.errors import InputError

__all__ = ["measured_kinship"]

_MOST_BYTES = 2**31  # of weights: a pair of 7B models is measured by `kinship`, on purpose


def measured_kinship(first: Node, second: Node) -> dict[str, Any] | None:
    """Measure whether two models come from one initialisation; None where their weights are not at hand."""
    if first.path is None or second.path is None:
        return None
    from lightning_subliminal.bases.folders import weight_bytes
    from lightning_subliminal.evaluation import find_model
    from lightning_subliminal.kinship import kinship

    if max(weight_bytes(first.path), weight_bytes(second.path)) > _MOST_BYTES:
        return None
    try:
        return kinship(find_model(str(first.path)), find_model(str(second.path)), by="weights").as_json()
    except InputError:  # no such projections, or no model
        return None
