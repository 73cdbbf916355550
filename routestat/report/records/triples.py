"""`triples` of results.json."""

from collections.abc import Sequence

from routestat.report.records.plain import Record
from routestat.study.triples import TripleFinding


def triples_records(found: Sequence[TripleFinding]) -> Record:
    """Return the keys of results.json that hold these findings."""
    return {"triples": []}
