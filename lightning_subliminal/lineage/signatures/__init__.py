"""Signatures: keys, envelopes, and proofs that rows are part of a signed data set."""
