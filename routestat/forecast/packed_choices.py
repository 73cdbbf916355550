"""The choices of all routers side by side, as compiled loops take them."""

import numpy as np
from numpy.typing import NDArray

from routestat.counting.board_rows import BoardRows, missing_of


def packed_choices(
    rows: BoardRows,
) -> tuple[NDArray[np.int16], NDArray[np.int64], NDArray[np.int64]]:
    """Return the experts ``[row, slot]`` of all routers side by side, −1 missing, and where slots and experts begin."""
    slots = np.cumsum([0, *(router.top_k for router in rows.routers)])
    packed = np.empty((len(rows), slots[-1]), np.int16)
    for router, first, last in zip(rows.routers, slots[:-1], slots[1:], strict=True):
        experts = rows.experts(router)
        packed[:, first:last] = np.where(experts == missing_of(router), -1, experts.astype(np.int16))
    return packed, slots, np.cumsum([0, *(router.n_experts for router in rows.routers)])
