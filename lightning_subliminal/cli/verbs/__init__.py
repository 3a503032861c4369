"""Verbs, one module each."""
