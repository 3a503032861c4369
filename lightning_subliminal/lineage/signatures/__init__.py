"""Signatures: keys, envelopes, and proofs that rows belong to a signed data set."""
