"""What a replay counts, per unit of documents, phase and layer."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: The columns of the sums of a replay.
COLUMNS = (
    "logical",  # Choices of experts by tokens.
    "accesses",  # Experts that events need: the union over the tokens of each.
    "hits",  # Of these, in the cache at the beginning of the event.
    "prefetched_hits",  # Of these, not in the cache but prefetched.
    "misses",  # Of these, neither: loaded while the event waits.
    "prefetched",  # Experts that were loaded ahead of an event.
    "events",  # Pairs of step and layer with a choice.
    "stall",  # Seconds that events waited; 0 where the machine is not known.
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class ReplaySums:
    """Sums of one replay.

    Attributes
    ----------
    sums : float array ``[unit, phase, layer, column]``
        Columns are `COLUMNS`, phases those of `routestat.traces.validation.PHASES`.
    """

    sums: NDArray[np.float64]

    def column(self, name: str) -> NDArray[np.float64]:
        """Return one column ``[unit, phase, layer]``."""
        return self.sums[..., COLUMNS.index(name)]

    @property
    def loads(self) -> NDArray[np.float64]:
        """Experts that were moved, on demand or ahead ``[unit, phase, layer]``."""
        return self.column("misses") + self.column("prefetched")

    @property
    def wasted(self) -> NDArray[np.float64]:
        """Experts that were moved ahead and not needed ``[unit, phase, layer]``."""
        return self.column("prefetched") - self.column("prefetched_hits")
