"""Audits: walks from an artefact to its bases, checks every byte and link, and says whether a trait may pass."""

from lightning_subliminal.audit.answers import Risk, Writer
from lightning_subliminal.audit.audit import Audit, audit
from lightning_subliminal.audit.digests import Digests
from lightning_subliminal.audit.findings import RULES, Finding, Rule
from lightning_subliminal.audit.node import Link, Node
from lightning_subliminal.audit.walk import Graph, walk

__all__ = ["RULES", "Audit", "Digests", "Finding", "Graph", "Link", "Node", "Risk", "Rule", "Writer", "audit", "walk"]
