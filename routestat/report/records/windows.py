"""`windows` of results.json."""

from routestat.report.records.plain import Record
from routestat.study.windows import WindowFindings


def windows_records(found: WindowFindings) -> Record:
    """Return the keys of results.json that hold these findings."""
    return {"windows": []}
