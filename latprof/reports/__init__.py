"""How results are shown: one self-contained HTML page, and its figures as pictures.

Names are loaded when they are first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from latprof.common.lazy import lazy_names

if TYPE_CHECKING:
    from latprof.reports.data import (
        BLOCK_COST_COLUMNS,
        KERNEL_COLUMNS,
        LABEL_COLUMNS,
        VISIT_COLUMNS,
        ReportData,
    )
    from latprof.reports.gathering import report_data
    from latprof.reports.rendering.content import Report
    from latprof.reports.rendering.page import render_report, write_pictures, write_report
    from latprof.reports.search_data import SearchReportData
    from latprof.reports.search_report import build_search_report
    from latprof.reports.side_by_side_report import build_side_by_side_report
    from latprof.reports.target_report import build_report
    from latprof.reports.trace import chrome_trace, write_trace

__all__ = [
    "BLOCK_COST_COLUMNS",
    "KERNEL_COLUMNS",
    "LABEL_COLUMNS",
    "VISIT_COLUMNS",
    "Report",
    "ReportData",
    "SearchReportData",
    "build_report",
    "build_search_report",
    "build_side_by_side_report",
    "chrome_trace",
    "render_report",
    "report_data",
    "write_pictures",
    "write_report",
    "write_trace",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy_names(
        __name__,
        {
            "data": [
                "BLOCK_COST_COLUMNS",
                "KERNEL_COLUMNS",
                "LABEL_COLUMNS",
                "VISIT_COLUMNS",
                "ReportData",
            ],
            "gathering": ["report_data"],
            "rendering.content": ["Report"],
            "rendering.page": ["render_report", "write_pictures", "write_report"],
            "search_data": ["SearchReportData"],
            "search_report": ["build_search_report"],
            "side_by_side_report": ["build_side_by_side_report"],
            "target_report": ["build_report"],
            "trace": ["chrome_trace", "write_trace"],
        },
    )
