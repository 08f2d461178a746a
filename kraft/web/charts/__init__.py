"""Charts of the whole cluster: numbers of a time range, marks of events, and drawings that need no script."""

from kraft.web.charts.figures import chart_parts, charts_of
from kraft.web.charts.series import WINDOWS, Series, averages, series

__all__ = ["WINDOWS", "Series", "averages", "chart_parts", "charts_of", "series"]
