"""Packing of items of different load into bins of equally many places."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routestat.errors import RoutestatError

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Items:
    """Copies of experts that are to be packed.

    Attributes
    ----------
    expert : int array ``[item]``
    load : float array ``[item]``
        Of the copy.
    """

    expert: Integers
    load: Floats


def pack(items: Items, n_bins: int, most: int = 1) -> Integers:
    """Pack items into bins of equally many places so that the largest load is small; returns the bin of each item.

    Longest processing time first, then exchanges of two items that lower the largest load, until none does.

    Parameters
    ----------
    items : Items
        As many as a multiple of the bins.
    n_bins : int
    most : int
        Copies of one expert in a bin.

    Raises
    ------
    RoutestatError
        If the bins do not divide the items, or an expert has more copies than fit.

    References
    ----------
    Graham (1969), Bounds on multiprocessing timing anomalies, SIAM J. Appl. Math. 17.
    """
    copies = np.bincount(items.expert)
    if len(items.expert) % n_bins or copies.max(initial=0) > n_bins * most:
        raise RoutestatError(
            f"expected a multiple of {n_bins} items and at most {n_bins * most} copies of each, got "
            f"{len(items.expert)} and {copies.max(initial=0)}"
        )
    # Experts that are in one layer only would leave gaps in a table by expert.
    _, expert = np.unique(items.expert, return_inverse=True)
    bins = _largest_first(expert, items.load, n_bins, most)
    _exchange(expert, items.load, bins, n_bins, most)
    return bins


def _largest_first(expert: Integers, load: Floats, n_bins: int, most: int) -> Integers:
    places = len(expert) // n_bins
    bins = np.full(len(expert), -1, np.int64)
    held = np.zeros((n_bins, int(expert.max(initial=0)) + 1), np.int64)
    loads, free = np.zeros(n_bins), np.full(n_bins, places)
    for item in np.argsort(-load, kind="stable").tolist():
        own = expert[item]
        allowed = (free > 0) & (held[:, own] < most)
        if allowed.any():
            chosen = int(np.argmin(np.where(allowed, loads, np.inf)))
        else:
            chosen = _make_way(expert, load, bins, held, loads, int(np.argmax(free)), own, most)
            free[np.argmax(free)] -= 1
            free[chosen] += 1
        bins[item] = chosen
        held[chosen, own] += 1
        loads[chosen] += load[item]
        free[chosen] -= 1
    return bins


def _make_way(
    expert: Integers,
    load: Floats,
    bins: Integers,
    held: Integers,
    loads: Floats,
    free: int,
    own: int,
    most: int,
) -> int:
    """Move an item from a full bin without the expert to the free bin, which has it; return the full one.

    There always is one: the full bin has more items, and so more of some expert than the free bin.
    """
    movable = (bins >= 0) & (held[bins, own] < most) & (held[free, expert] < most) & (bins != free)
    # Both bins are to be light afterwards.
    larger = np.where(movable, np.maximum(loads[free] + load, loads[bins] - load), np.inf)
    moved = int(np.argmin(larger))
    full = int(bins[moved])
    bins[moved] = free
    for bin_, sign in ((full, -1), (free, 1)):
        held[bin_, expert[moved]] += sign
        loads[bin_] += sign * load[moved]
    return full


def _exchange(expert: Integers, load: Floats, bins: Integers, n_bins: int, most: int) -> None:
    """Exchange an item of the bin with the largest load for one of another bin, while that lowers the larger load."""
    held = np.zeros((n_bins, int(expert.max(initial=0)) + 1), np.int64)
    np.add.at(held, (bins, expert), 1)
    loads = np.bincount(bins, load, n_bins)
    # Each exchange lowers the largest load or the number of bins that have it; rounding could repeat one for ever.
    least = 1e-12 * max(float(load.sum()), 1e-300)
    for _ in range(50 * n_bins + len(load)):
        top = int(np.argmax(loads))
        mine, theirs = np.flatnonzero(bins == top), np.flatnonzero(bins != top)
        if not len(theirs):
            return
        lighter = load[mine][:, None] - load[theirs]
        other = bins[theirs]
        after = np.maximum(loads[top] - lighter, loads[other] + lighter)
        allowed = (held[other[None, :], expert[mine][:, None]] < most) & (held[top, expert[theirs]] < most)
        allowed |= expert[mine][:, None] == expert[theirs]
        after = np.where(allowed, after, np.inf)
        best = np.unravel_index(np.argmin(after), after.shape)
        if not after[best] < loads[top] - least:
            return
        out, into = mine[best[0]], theirs[best[1]]
        moved_to = int(bins[into])
        bins[out], bins[into] = moved_to, top
        for bin_, gone, come in ((top, out, into), (moved_to, into, out)):
            held[bin_, expert[gone]] -= 1
            held[bin_, expert[come]] += 1
        loads = np.bincount(bins, load, n_bins)
