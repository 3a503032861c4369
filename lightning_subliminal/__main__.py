"""``python -m lightning_subliminal`` is ``lightning-subliminal``."""

from lightning_subliminal.cli import main

main()
