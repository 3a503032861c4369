"""Suites: probes listed in a YAML."""
