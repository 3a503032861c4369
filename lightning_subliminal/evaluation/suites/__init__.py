"""Suites: lists of probes in YAML."""
