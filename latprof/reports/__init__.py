"""How results are shown: one self-contained HTML page, and its figures as pictures."""

from latprof.reports.data import (
    BLOCK_COST_COLUMNS,
    KERNEL_COLUMNS,
    LABEL_COLUMNS,
    VISIT_COLUMNS,
    ReportData,
)
from latprof.reports.rendering.page import render_report, write_pictures, write_report
from latprof.reports.target_report import build_report

__all__ = [
    "BLOCK_COST_COLUMNS",
    "KERNEL_COLUMNS",
    "LABEL_COLUMNS",
    "VISIT_COLUMNS",
    "ReportData",
    "build_report",
    "render_report",
    "write_pictures",
    "write_report",
]
