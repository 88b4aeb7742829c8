"""The report of a run: one picture and its numbers."""

from reflexarc.report.figure import draw_report
from reflexarc.report.metrics import TopographyMetrics, topography_metrics

__all__ = ["TopographyMetrics", "draw_report", "topography_metrics"]
