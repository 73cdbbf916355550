"""The joint distribution of three consecutive layers."""

from dataclasses import dataclass

from routestat.counting.document_sample import Sample
from routestat.progress import Tick, silent


@dataclass(frozen=True)
class TripleFinding:
    """Three consecutive layers."""


def find_triples(
    sample: Sample, states: str, tick: Tick = silent, threads: int | None = None
) -> tuple[TripleFinding, ...]:
    """Count and test three consecutive layers together."""
    return ()
