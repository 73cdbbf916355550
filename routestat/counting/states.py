"""The state view: a token is one symbol of each router, and tables are dense."""

from collections.abc import Callable
from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray

from routestat.counting.context import Context
from routestat.counting.kernels.compiling import read_only
from routestat.counting.kernels.tables import count_one, count_two, fuse
from routestat.counting.token_runs import Runs
from routestat.traces.alphabet import smallest_unsigned
from routestat.traces.batch import Batch
from routestat.traces.metadata import Router

#: Makes an empty table of a shape.
Zeros = Callable[[tuple[int, ...]], NDArray[np.unsignedinteger]]

# Rows combined at a time: their cells and both columns stay in the L1 cache.
BLOCK = 1 << 12


@dataclass(frozen=True)
class StateTask:
    """One table ``[group, context…, target]`` of states, filled batch by batch.

    While counting, every axis has one more cell, which collects missing choices.
    """

    context: Context
    sources: tuple[Router, ...]
    target: Router
    cells: NDArray[np.unsignedinteger]
    cell_dtype: np.dtype

    @classmethod
    def make(
        cls, context: Context, sources: tuple[Router, ...], target: Router, groups: int, zeros: Zeros
    ) -> "StateTask":
        """Make an empty table."""
        cells = prod(router.alphabet.size + 1 for router in (*sources, target))
        return cls(context, sources, target, zeros((groups, cells)), smallest_unsigned(cells))

    def feed(self, batch: Batch, runs: Runs, scratch: dict[str, NDArray[np.unsignedinteger]]) -> None:
        """Count a batch; `scratch` keeps the buffers from table to table."""
        lag, rows = self.context.lag, len(batch)
        if rows <= lag:
            return
        axes = [
            (read_only(batch.columns[router.name][lag + token : rows + token]), router.alphabet.size)
            for router, (_, token) in zip(self.sources, self.context.sources, strict=True)
        ]
        target = read_only(batch.columns[self.target.name][lag:])
        size = self.target.alphabet.size
        where = (runs.starts, runs.stops, runs.groups, lag)
        block = _buffer(scratch, "block", BLOCK, self.cell_dtype)
        if not axes:
            count_one(target, size, *where, block, self.cells)
            return
        context, cells = axes[0]
        for values, more in axes[1:]:
            # A combined axis includes the cell of missing choices, so nothing lies beyond its last cell.
            wide = (cells + 1) * (more + 1)
            out = _buffer(scratch, f"axis {wide}", rows, smallest_unsigned(wide))[: rows - lag]
            fuse(context, values, cells, more, out)
            context, cells = read_only(out), wide - 1
        count_two(context, target, cells, size, *where, block, self.cells)

    def finished(self) -> NDArray[np.unsignedinteger]:
        """Return the table without the cells of missing choices."""
        shape = tuple(router.alphabet.size + 1 for router in (*self.sources, self.target))
        return self.cells.reshape(-1, *shape)[(slice(None), *(slice(0, size - 1) for size in shape))]


def _buffer(
    scratch: dict[str, NDArray[np.unsignedinteger]], name: str, rows: int, dtype: np.dtype
) -> NDArray[np.integer]:
    key = f"{name} {dtype}"
    if key not in scratch or len(scratch[key]) < rows:
        scratch[key] = np.empty(rows, dtype)
    return scratch[key]
