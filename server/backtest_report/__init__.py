"""The backtest's report: one HTML file that needs nothing else, made from a `BacktestResult`.

`page.html.j2`, `page.css` and `charts.js` are ours; `uPlot.*` is the chart library as published (MIT, its
licence beside it), inlined into the page. Every figure is in a table too, so that the page reads without
JavaScript.
"""

from server.backtest_report.page import render_report

__all__ = ["render_report"]
