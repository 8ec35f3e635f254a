"""The page to look at: one file that needs nothing else."""

from noiseproof.report.page.page import render_page

__all__ = ["render_page"]
