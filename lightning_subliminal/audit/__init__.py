"""Audits: walks from an artefact to its bases, checks every byte and link, and says whether a trait may pass.

The names come on first use: help on the rules needs no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lightning_subliminal.audit.answers import Risk, Writer
    from lightning_subliminal.audit.auditing import Audit, audit
    from lightning_subliminal.audit.digests import Digests
    from lightning_subliminal.audit.findings import RULES, Finding, Rule
    from lightning_subliminal.audit.node import Link, Node
    from lightning_subliminal.audit.walking import Graph, walk

__all__ = ["RULES", "Audit", "Digests", "Finding", "Graph", "Link", "Node", "Risk", "Rule", "Writer", "audit", "walk"]

_HOMES = {
    **{"Risk": "answers", "Writer": "answers", "Audit": "auditing", "audit": "auditing", "Digests": "digests"},
    **{"RULES": "findings", "Finding": "findings", "Rule": "findings", "Link": "node", "Node": "node"},
    **{"Graph": "walking", "walk": "walking"},
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"lightning_subliminal.audit.{_HOMES[name]}"), name)
