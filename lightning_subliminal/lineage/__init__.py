"""Who made this? Each artefact folder holds ``lineage.json``, written by the stage that made it."""

from lightning_subliminal.lineage.record import is_whole, write_record

__all__ = ["is_whole", "write_record"]
