"""Foundations: rows, errors, digests, seeds, terminal output. It imports no other folder of the package."""
