"""Reports of benchmark runs: one HTML file each, tables for papers, and comparisons of two runs."""

from smartbox.report._write import write_report, write_tables

__all__ = ["write_report", "write_tables"]
