"""Kinds of tampering with a chain of artefacts, each with the findings that would be a correct reason.

A tampering is a function of an artefact in a fresh copy of a signed chain, the chain and a random generator. It makes a
change that a user could make who may write to the disk but has no trusted key.
"""

# In this order they are registered, and so a seed means the same tampering each time.
from tamper_kinds import files, statements, chains, signatures, overlooked  # isort: skip
from tamper_kinds.kind import KINDS, Chain, Tampering

__all__ = ["KINDS", "Chain", "Tampering", "chains", "files", "overlooked", "signatures", "statements"]
