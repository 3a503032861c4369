"""Filters: pure functions from a row to the reasons to drop it, counted in a table."""

from lightning_subliminal.filters.base import Filter, FilterReport, apply_filters
from lightning_subliminal.filters.numbers import PAPER_BANNED, BannedNumbers, NumberList, parse_number_list
from lightning_subliminal.filters.words import TraitWords

__all__ = [
    "PAPER_BANNED",
    "BannedNumbers",
    "Filter",
    "FilterReport",
    "NumberList",
    "TraitWords",
    "apply_filters",
    "parse_number_list",
]
