"""Windows of 3 to 8 layers that more tokens take than the chain explains."""

from dataclasses import dataclass

import numpy as np

from routestat.counting.counts import Counts
from routestat.counting.document_sample import Sample
from routestat.progress import Tick, silent
from routestat.study.memory import Memory
from routestat.study.structure_plan import StructurePlan


@dataclass(frozen=True)
class WindowFindings:
    """Frequent windows of layers against the chain of the chosen order."""


def find_windows(
    counts: Counts,
    sample: Sample,
    memory: Memory | None,
    plan: StructurePlan,
    rng: np.random.Generator,
    tick: Tick = silent,
    threads: int | None = None,
) -> WindowFindings | None:
    """Test frequent windows of layers against the chain."""
    return None
