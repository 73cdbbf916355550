"""`specialisation` of results.json."""

from routestat.report.records.plain import Record
from routestat.study.specialisation import SpecialisationFindings


def specialisation_records(found: SpecialisationFindings) -> Record:
    """Return the keys of results.json that hold these findings."""
    return {"specialisation": []}
