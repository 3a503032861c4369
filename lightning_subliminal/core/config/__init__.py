"""Configs: from YAML to objects, with bounds of size and a list of what a config may name."""
