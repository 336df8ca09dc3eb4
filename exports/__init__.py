"""Findings as files for others: a report to read, and STIX, MISP, OCSF, CSV and Parquet for machines."""

from coterie.exports.content import Marking
from coterie.exports.formats import Format, format_of, read_export, write_export
from coterie.exports.redaction import Redaction, masked, redacted
from coterie.exports.report import Report, check_report, write_report

__all__ = [
    "Format",
    "Marking",
    "Redaction",
    "Report",
    "check_report",
    "format_of",
    "masked",
    "read_export",
    "redacted",
    "write_export",
    "write_report",
]
