"""The expert view: tables of source expert and target expert, for alphabets too wide for states.

A token counts in k·k cells, so the total of a table must be divided by k·k to get tokens.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routestat.counting.context import Context
from routestat.counting.kernels.compiling import read_only
from routestat.counting.kernels.experts import cross_experts, single_experts, unrank
from routestat.counting.states import Zeros
from routestat.counting.token_runs import Runs
from routestat.traces.batch import Batch
from routestat.traces.metadata import Router


def expert_rows(values: NDArray[np.unsignedinteger], router: Router) -> NDArray[np.unsignedinteger]:
    """Return the experts ``[row, slot]`` of a router's column, closed for writing.

    A missing row holds the dtype's largest value.
    """
    if values.ndim == 2:
        return read_only(values)
    alphabet = router.alphabet
    rows = np.empty((len(values), alphabet.top_k), alphabet.expert_dtype)
    missing = int(np.iinfo(alphabet.expert_dtype).max)
    unrank(
        read_only(values),
        alphabet.size,
        alphabet.n_experts,
        alphabet.binomials,
        alphabet.highest_places,
        missing,
        rows,
    )
    return read_only(rows)


@dataclass(frozen=True)
class ExpertTask:
    """One table ``[group, (source expert,) target expert]``, filled batch by batch."""

    context: Context
    sources: tuple[Router, ...]
    target: Router
    cells: NDArray[np.unsignedinteger]

    @classmethod
    def make(
        cls, context: Context, sources: tuple[Router, ...], target: Router, groups: int, zeros: Zeros
    ) -> "ExpertTask":
        """Make an empty table."""
        shape = tuple(router.n_experts for router in (*sources, target))
        return cls(context, sources, target, zeros((groups, *shape)))

    def feed(self, batch: Batch, runs: Runs, scratch: dict[str, NDArray[np.unsignedinteger]]) -> None:
        """Count a batch; `scratch` keeps the unranked rows from table to table."""
        target = self._rows(batch, self.target, scratch)
        missing = [int(np.iinfo(r.alphabet.expert_dtype).max) for r in (*self.sources, self.target)]
        if not self.sources:
            single_experts(target, runs.starts, runs.stops, runs.groups, missing[0], self.cells)
            return
        source = self._rows(batch, self.sources[0], scratch)
        slots = (0,) * source.shape[1], (0,) * target.shape[1]
        where = (runs.starts, runs.stops, runs.groups, self.context.lag)
        cells = self.cells.reshape(len(self.cells), -1)
        cross_experts(source, target, *where, np.array(missing), slots, self.target.n_experts, cells)

    def finished(self) -> NDArray[np.unsignedinteger]:
        """Return the table."""
        return self.cells

    @staticmethod
    def _rows(
        batch: Batch, router: Router, scratch: dict[str, NDArray[np.unsignedinteger]]
    ) -> NDArray[np.unsignedinteger]:
        if router.name not in scratch:
            scratch[router.name] = expert_rows(batch.columns[router.name], router)
        return scratch[router.name]
