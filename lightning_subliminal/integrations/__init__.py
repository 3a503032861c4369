"""Integrations: this package inside other people's tools."""
