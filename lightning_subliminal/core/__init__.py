"""The ground that all else stands on: rows, errors, digests, seeds, the terminal. It imports nothing above it."""
