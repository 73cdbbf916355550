"""`modules` of results.json."""

from routestat.report.records.plain import Record
from routestat.study.modules import ModuleFindings


def modules_records(found: ModuleFindings) -> Record:
    """Return the keys of results.json that hold these findings."""
    return {"modules": []}
