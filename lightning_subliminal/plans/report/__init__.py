"""The report: claims, measurements and figures as one page that needs no network, and as plain files."""

from lightning_subliminal.plans.report.comparison import compare, comparison_json
from lightning_subliminal.plans.report.files import read_report, record_again, record_report, write_report
from lightning_subliminal.plans.report.markdown import claims_markdown
from lightning_subliminal.plans.report.page import render

__all__ = [
    "claims_markdown",
    "compare",
    "comparison_json",
    "read_report",
    "record_again",
    "record_report",
    "render",
    "write_report",
]
