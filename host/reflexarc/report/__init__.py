"""The report of a run, and that of a trip: pictures and their numbers."""

from reflexarc.report.blackbox import describe_blackbox, draw_blackbox, report_text
from reflexarc.report.figure import draw_report
from reflexarc.report.metrics import TopographyMetrics, topography_metrics

__all__ = ["TopographyMetrics", "describe_blackbox", "draw_blackbox", "draw_report", "report_text", "topography_metrics"]
