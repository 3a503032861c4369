"""The verbs about origin: ``lineage``, ``audit``, ``export``, ``kinship``."""
