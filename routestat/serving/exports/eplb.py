"""DeepSeek's EPLB: its arrays, in and out, as one ``.npz``.

``weight [layer, expert]`` is what ``rebalance_experts`` takes; ``phy2log [layer, replica]``, ``log2phy [layer, expert,
copy]`` padded with −1, and ``logcnt [layer, expert]`` are what it returns, here of the placement. ``layer`` holds the
model's number of each row. ``numpy.load`` reads the file without pickle.
"""

import io
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from routestat.serving.exports.exported import Exported
from routestat.serving.exports.layer_rows import require_one_width, require_placement

ENGINE = "EPLB"


def eplb(exported: Exported) -> Mapping[str, bytes]:
    """Return the arrays of the layers of the trace.

    Raises
    ------
    RoutestatError
        If there is no placement, several routers are in a layer, or they differ in their number of experts.
    """
    placement = require_placement(exported, ENGINE)
    n_experts = require_one_width(exported, ENGINE)
    slots = np.stack(placement.experts).astype(np.int64)
    copies = np.stack([np.bincount(row, minlength=n_experts) for row in slots]).astype(np.int64)
    buffer = io.BytesIO()
    np.savez(
        buffer,
        layer=np.array([router.layer for router in exported.routers], np.int64),
        weight=np.stack(exported.loads).astype(np.int64),
        phy2log=slots,
        log2phy=slots_of_experts(slots, copies),
        logcnt=copies,
    )
    return {"eplb.npz": buffer.getvalue()}


def slots_of_experts(slots: NDArray[np.int64], copies: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the slots of each expert, ascending, −1 where there are no more ``[layer, expert, copy]``.

    Parameters
    ----------
    slots : int array ``[layer, slot]``
        The expert of each.
    copies : int array ``[layer, expert]``
        How many slots each expert has.
    """
    n_layers, n_slots = slots.shape
    order = np.argsort(slots, axis=1, kind="stable")
    first = np.cumsum(copies, axis=1) - copies
    layer = np.arange(n_layers)[:, None]
    expert = np.take_along_axis(slots, order, 1)
    copy = np.arange(n_slots) - np.take_along_axis(first, expert, 1)
    found = np.full((*copies.shape, int(copies.max())), -1, np.int64)
    found[layer, expert, copy] = order
    return found
