"""Reports: tables, figures and claims, all pure functions of records."""

from noiseproof.report.claims import CLAIMS, Claim, Judged, Verdict
from noiseproof.report.comparison import Column, Comparison, compare, nearest
from noiseproof.report.figures import figures
from noiseproof.report.results import (
    Cell,
    MissingResultError,
    Results,
    from_records,
    published,
    published_beside,
)
from noiseproof.report.tables import Entry, Table, table
from noiseproof.report.writing import Report, load_results, write_report

__all__ = [
    "CLAIMS",
    "Cell",
    "Claim",
    "Column",
    "Comparison",
    "Entry",
    "Judged",
    "MissingResultError",
    "Report",
    "Results",
    "Table",
    "Verdict",
    "compare",
    "figures",
    "from_records",
    "load_results",
    "nearest",
    "published",
    "published_beside",
    "table",
    "write_report",
]
