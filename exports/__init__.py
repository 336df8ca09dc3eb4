"""Findings as files for others: a report to read, and STIX, MISP, OCSF, CSV and Parquet for machines."""

from coterie.exports.redaction import Redaction, masked, redacted
from coterie.exports.report import Report, check_report, write_report

__all__ = ["Redaction", "Report", "check_report", "masked", "redacted", "write_report"]
