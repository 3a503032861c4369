"""Verbs that trace origins: `lineage`, `audit`, `export`, `kinship`."""
