"""The verbs of the command line, one file each, and what they share: guides, error lines, the run folder."""

__all__: list[str] = []
