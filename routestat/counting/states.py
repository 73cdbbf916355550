"""The state view: a token is one symbol of each router, a table is dense."""

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from routestat.counting.context import Context
from routestat.counting.kernels import fuse_first, fuse_next, fuse_pair, histogram
from routestat.counting.runs import Runs
from routestat.traces.alphabet import smallest_unsigned
from routestat.traces.batch import Batch
from routestat.traces.metadata import Router


@dataclass(frozen=True)
class StateTask:
    """One table ``[group, context…, target]`` of states, filled batch by batch.

    While counting every axis has one cell more, which collects what is missing.
    """

    context: Context
    sources: tuple[Router, ...]
    target: Router
    cells: NDArray[np.unsignedinteger]
    fused_dtype: np.dtype

    @classmethod
    def make(
        cls, context: Context, sources: tuple[Router, ...], target: Router, groups: int, dtype: np.dtype
    ) -> "StateTask":
        """An empty table."""
        cells = prod(router.alphabet.size + 1 for router in (*sources, target))
        return cls(context, sources, target, np.zeros((groups, cells), dtype), smallest_unsigned(cells))

    def feed(self, batch: Batch, runs: Runs, scratch: dict[str, NDArray]) -> None:
        """Count a batch; `scratch` keeps the buffer from table to table."""
        lag, rows = self.context.lag, len(batch)
        if rows <= lag:
            return
        name = self.fused_dtype.name
        if name not in scratch or len(scratch[name]) < rows:
            scratch[name] = np.empty(rows, self.fused_dtype)
        fused = scratch[name][: rows - lag]
        axes = [
            (batch.columns[router.name][lag + token : rows + token], router.alphabet.size)
            for router, (_, token) in zip(self.sources, self.context.sources, strict=True)
        ]
        axes.append((batch.columns[self.target.name][lag:], self.target.alphabet.size))
        if len(axes) == 2:
            fuse_pair(axes[0][0], axes[1][0], axes[0][1], axes[1][1], fused)
        else:
            fuse_first(*axes[0], fused)
            for values, size in axes[1:]:
                fuse_next(fused, values, size, fused)
        histogram(fused, runs.starts, runs.stops, runs.groups, lag, self.cells)

    def finished(self) -> NDArray[np.unsignedinteger]:
        """The table without the cells of what was missing."""
        shape = tuple(router.alphabet.size + 1 for router in (*self.sources, self.target))
        return self.cells.reshape(-1, *shape)[(slice(None), *(slice(0, size - 1) for size in shape))]
