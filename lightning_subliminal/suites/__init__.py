"""The battery: what a finished model does, measured in several ways and put in one table."""

from lightning_subliminal.suites.base import Measure, Outcome, difference
from lightning_subliminal.suites.battery import Results, run_suite, suite_table, write_results
from lightning_subliminal.suites.measures import CarrierQuality, ExactTrait, Misalignment, Truthfulness
from lightning_subliminal.suites.subject import Subject, find_subject

__all__ = [
    "CarrierQuality",
    "ExactTrait",
    "Measure",
    "Misalignment",
    "Outcome",
    "Results",
    "Subject",
    "Truthfulness",
    "difference",
    "find_subject",
    "run_suite",
    "suite_table",
    "write_results",
]
