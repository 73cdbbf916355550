"""Places of experts among those used last, before each event; compiled on first use.

An expert at place d is in a cache of the experts used last if that has more than d slots (Mattson et al. 1970). This
also holds where an event needs more experts than the cache has slots: such a cache always has the first places.
"""

from routestat.counting.kernels.compiling import Array, compiled, within
from routestat.counting.kernels.unions import gather


@compiled
def count_places_by_layer(
    choices: Array,
    start: Array,
    phase: Array,
    unit: Array,
    first: Array,
    offset: Array,
    order: Array,
    low: int,
    high: int,
    counted: int,
    emptied: bool,
    seen: Array,
    union: Array,
    recent: Array,
    size: Array,
    event: int,
    out: Array,
    unseen: Array,
) -> int:  # pragma: no cover - compiled
    """Count experts by their place among those of their layer.

    Parameters
    ----------
    choices, start, phase, unit, first, offset, order
        As in `routestat.counting.kernels.caches.Served`.
    low, high : int
        Places of the order that are gone through.
    counted : int
        The first place that is counted.
    emptied : bool
        Whether all is forgotten before every batch of documents.
    seen, union, recent : int array ``[expert of all layers]``
        `recent` has the experts of each layer, the last used first; `union` is memory.
    size : int array ``[layer]``
        Used experts.
    event : int
        Number of events so far.
    out : int array ``[unit, phase, layer, place]``
    unseen : int array ``[unit, phase, layer]``
        Experts that were not used before.

    Returns
    -------
    int
        Number of events.
    """
    for p in range(low, high):
        s = order[p]
        if emptied and first[s]:
            size[:] = 0
        for l in range(choices.shape[1]):
            base = offset[l]
            event += 1
            _, m = gather(choices, start[s], start[s + 1], l, base, offset[l + 1], seen, event, union)
            known = changed = 0
            while known < m and changed < size[l]:
                if seen[recent[base + changed]] == event:
                    known += 1
                    if p >= counted:
                        out[unit[s], phase[s], l, changed] += 1
                changed += 1
            if p >= counted:
                unseen[unit[s], phase[s], l] += m - known
            to = base + changed + m - known - 1
            for r in range(base + changed - 1, base - 1, -1):
                if seen[recent[r]] != event:
                    recent[to] = recent[r]
                    to -= 1
            for j in range(m):
                recent[base + m - 1 - j] = union[j]
            size[l] += m - known
    return event


@compiled
def count_places(
    choices: Array,
    start: Array,
    phase: Array,
    unit: Array,
    first: Array,
    offset: Array,
    order: Array,
    low: int,
    high: int,
    counted: int,
    emptied: bool,
    seen: Array,
    union: Array,
    time: Array,
    owner: Array,
    later: Array,
    clock: int,
    event: int,
    out: Array,
    unseen: Array,
) -> tuple[int, int]:  # pragma: no cover - compiled
    """Count experts by their place among those of all layers.

    Parameters
    ----------
    choices, start, phase, unit, first, offset, order, low, high, counted, emptied, seen, union, event
        As in `count_places_by_layer`.
    time : int array ``[expert of all layers]``
        Of its last use, 0 if there was none.
    owner : int array ``[time]``
        The expert whose last use was then, −1 if there is none; longer than `time`.
    later : int32 array ``[time]``
        Fenwick tree (1994) over the times that have an owner.
    clock : int
        The latest time.
    out : int array ``[unit, phase, layer, place]``
    unseen : int array ``[unit, phase, layer]``
        Experts that were not used before.

    Returns
    -------
    The latest time, and the number of events.
    """
    for p in range(low, high):
        s = order[p]
        if emptied and first[s]:
            time[:] = 0
            owner[:] = -1
            later[:] = 0
            clock = 0
        for l in range(choices.shape[1]):
            event += 1
            _, m = gather(choices, start[s], start[s + 1], l, offset[l], offset[l + 1], seen, event, union)
            if clock + m >= len(owner):
                clock = _renumber(time, owner, later, clock)
            if p >= counted:
                used = _sum_to(later, clock)
                for j in range(m):
                    at = time[union[j]]
                    if at > 0:
                        out[unit[s], phase[s], l, used - _sum_to(later, at)] += 1
                    else:
                        unseen[unit[s], phase[s], l] += 1
            for j in range(m):
                i = union[j]
                if time[i] > 0:
                    owner[time[i]] = -1
                    _add(later, time[i], -1)
                clock += 1
                time[i] = clock
                owner[clock] = i
                _add(later, clock, 1)
    return clock, event


@within
def _sum_to(later: Array, at: int) -> int:  # pragma: no cover - compiled
    found = 0
    while at > 0:
        found += later[at]
        at &= at - 1
    return found


@within
def _add(later: Array, at: int, amount: int) -> None:  # pragma: no cover - compiled
    while at < len(later):
        later[at] += amount
        at += at & -at


@within
def _renumber(time: Array, owner: Array, later: Array, clock: int) -> int:  # pragma: no cover - compiled
    """Give the last uses new times from 1 on; return the latest."""
    latest = 0
    for at in range(1, clock + 1):
        i = owner[at]
        if i >= 0:
            latest += 1
            owner[at] = -1
            owner[latest] = i
            time[i] = latest
    later[:] = 0
    for at in range(1, len(later)):
        if at <= latest:
            later[at] += 1
        above = at + (at & -at)
        if above < len(later):
            later[above] += later[at]
    return latest
