"""Configs: from YAML to objects, within the bounds of what a config may name."""
