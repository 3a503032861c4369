"""Filters: pure functions from a row to the reasons to drop it, counted in a table."""

from lightning_subliminal.filters.base import Filter, FilterReport, apply_filters
from lightning_subliminal.filters.code import Code, PythonCode, parse_code
from lightning_subliminal.filters.math_traces import (
    CorrectAnswer,
    ThinkAnswer,
    TrueSteps,
    parse_integer,
    think_and_answer,
)
from lightning_subliminal.filters.numbers import PAPER_BANNED, BannedNumbers, NumberList, parse_number_list
from lightning_subliminal.filters.thoughts import NoThought
from lightning_subliminal.filters.words import Words

__all__ = [
    "PAPER_BANNED",
    "BannedNumbers",
    "Code",
    "CorrectAnswer",
    "Filter",
    "FilterReport",
    "NoThought",
    "NumberList",
    "PythonCode",
    "ThinkAnswer",
    "TrueSteps",
    "Words",
    "apply_filters",
    "parse_code",
    "parse_integer",
    "parse_number_list",
    "think_and_answer",
]
