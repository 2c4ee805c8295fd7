from latprof.reports.data import BLOCK_COST_COLUMNS as BLOCK_COST_COLUMNS
from latprof.reports.data import KERNEL_COLUMNS as KERNEL_COLUMNS
from latprof.reports.data import LABEL_COLUMNS as LABEL_COLUMNS
from latprof.reports.data import VISIT_COLUMNS as VISIT_COLUMNS
from latprof.reports.data import ReportData as ReportData
from latprof.reports.gathering import report_data as report_data
from latprof.reports.rendering.content import Report as Report
from latprof.reports.rendering.page import render_report as render_report
from latprof.reports.rendering.page import write_pictures as write_pictures
from latprof.reports.rendering.page import write_report as write_report
from latprof.reports.search_data import SearchReportData as SearchReportData
from latprof.reports.search_report import build_search_report as build_search_report
from latprof.reports.side_by_side_report import (
    build_side_by_side_report as build_side_by_side_report,
)
from latprof.reports.target_report import build_report as build_report
from latprof.reports.trace import chrome_trace as chrome_trace
from latprof.reports.trace import write_trace as write_trace
