"""Reports of benchmark runs: one HTML file each, tables for papers, and comparisons of two runs."""

from smartbox.report._write import REPORT, write_report, write_tables

__all__ = ["REPORT", "write_report", "write_tables"]
