"""Screens where engineers are: of a file, in a fit, in the lineage, as SARIF and as a page."""

from lightning_subliminal.plans.screening.callback import ScreenData
from lightning_subliminal.plans.screening.screener import Screener, screen_file

__all__ = ["ScreenData", "Screener", "screen_file"]
