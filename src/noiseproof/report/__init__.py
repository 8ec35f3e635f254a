"""Reports: tables, figures and claims, all pure functions of records."""

from noiseproof.report.claims import CLAIMS, Claim, Verdict
from noiseproof.report.figures import figures
from noiseproof.report.results import Cell, MissingResultError, Results, from_records, published
from noiseproof.report.tables import Table, table
from noiseproof.report.writing import Report, write_report

__all__ = [
    "CLAIMS",
    "Cell",
    "Claim",
    "MissingResultError",
    "Report",
    "Results",
    "Table",
    "Verdict",
    "figures",
    "from_records",
    "published",
    "table",
    "write_report",
]
