"""Experts over the depth: how often and where they are used, and single documents token by token."""

from dataclasses import dataclass

from routestat.counting.counts import Counts
from routestat.study.structure_plan import StructurePlan
from routestat.traces.store import Trace


@dataclass(frozen=True)
class ModuleFindings:
    """Use of experts over the depth."""


def measure_modules(trace: Trace, counts: Counts, plan: StructurePlan) -> ModuleFindings | None:
    """Measure how experts are used over the depth."""
    return None
