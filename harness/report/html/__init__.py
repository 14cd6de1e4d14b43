"""`index.html`: the run as one page that needs no network and no script to be read."""

from harness.report.html.page import render

__all__ = ["render"]
