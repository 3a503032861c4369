"""Integrations of this package into other tools."""
