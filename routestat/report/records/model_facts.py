"""`model_facts` of results.json."""

from routestat.report.records.plain import Record
from routestat.structure.model_facts import ModelFacts


def model_facts_records(found: ModelFacts) -> Record:
    """Return the keys of results.json that hold these findings."""
    return {"model_facts": []}
