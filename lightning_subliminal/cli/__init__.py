"""The command line: ``lightning-subliminal VERB ...``. Nothing in the package imports it."""

from lightning_subliminal.cli.entry import main

__all__ = ["main"]
