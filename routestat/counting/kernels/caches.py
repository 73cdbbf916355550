"""Replay of steps through caches of experts; compiled on first use.

What a step needs at one layer is classified as a whole before any of it changes the cache, and what exceeds the
capacity is removed at the end.
"""

from routestat.counting.kernels.cache_state import Rules, Served, State
from routestat.counting.kernels.compiling import Array, compiled, inlined, within
from routestat.counting.kernels.indexed_heaps import order_anew, put, take_least
from routestat.counting.kernels.unions import gather

NONE, STATIC, LRU, LFU, LFU_DECAY, PREDICTOR, BELADY, BELADY_FORCED = range(8)
LOGICAL, ACCESSES, HITS, PREFETCHED_HITS, MISSES, PREFETCHED, EVENTS, STALL = range(8)
# Half-lives after which decayed counts are scaled down, long before they overflow.
MOST_DOUBLINGS = 500.0


@compiled
def replay_steps(
    served: Served, rules: Rules, state: State, low: int, high: int, counted: int, sums: Array
) -> None:  # pragma: no cover - compiled
    """Replay the steps at the places `low` to `high` of the order.

    Adds to ``sums[unit, phase, layer, column]``, columns as in `routestat.serving.replay_sums.COLUMNS`, from the place
    `counted` on.
    """
    # Loops that read arrays out of tuples are slow.
    choices, row, start, offset, unit = served.choices, served.row, served.start, served.offset, served.unit
    policy, slots, transfer, lookahead = rules.policy, rules.slots, rules.transfer, rules.lookahead
    value, last, heap, place, fresh = state.value, state.last, state.heap, state.place, state.fresh
    union, seen, pending, arrival = state.union, state.seen, state.pending, state.arrival
    size, n_layers = state.size, choices.shape[1]
    order, phase, following, aside = served.order, served.phase, state.following, state.aside
    soon, likely, score, next_row = rules.ahead, rules.likely, rules.score, served.next_row
    uses, event, base_step = state.number[0], state.number[1], state.clock[2]
    now, link, weight, n, of_unit = state.clock[0], state.clock[1], 1.0, 0, -1
    for p in range(low, high):
        s = order[p]
        a, b = start[s], start[s + 1]
        if rules.emptied and served.first[s]:
            place[:] = -1
            size[:] = 0
        if policy == STATIC and unit[s] != of_unit:
            of_unit = unit[s]
            for i in range(len(place)):
                if not rules.pinned[of_unit, i]:
                    place[i] = -1
        if policy == LFU_DECAY:
            base_step = _scale_down(
                heap, place, value, last, size, offset, rules.pooled, rules.half_life, base_step, p
            )  # fmt: skip
            weight = 2.0 ** ((p - base_step) / rules.half_life)
        # Seconds are counted from the beginning of each step, so that they stay exact.
        now, link = 0.0, link - now
        for l in range(n_layers):
            event += 1
            logical, m = gather(choices, a, b, l, offset[l], offset[l + 1], seen, event, union)
            if m == 0:
                continue
            hits, ahead, stall = _classify(union, m, place, pending, arrival, p, now)
            misses = m - hits - ahead
            if misses > 0:
                wait = max(link - now, 0.0) + misses * transfer
                stall = max(stall, wait)
                link = now + wait
            if policy == STATIC:
                for j in range(m):
                    if rules.pinned[of_unit, union[j]]:
                        place[union[j]] = 0
            elif policy >= LRU:
                cache, base = (0, 0) if rules.pooled else (l, offset[l])
                full = size[cache]
                if policy in (LFU, LFU_DECAY):
                    for j in range(m):
                        fresh[union[j]] = value[union[j]] + weight
                elif policy >= BELADY:
                    _look_up(choices, following, a, b, n, l, offset[l], n_layers, fresh)
                elif policy == PREDICTOR:
                    _predict(likely, score, rules.numbers, next_row, a, b, l, offset, fresh)
                    full = _change_others(
                        heap, place, value, last, base, full, offset[l], offset[l + 1], fresh
                    )
                full = _admit(heap, place, value, last, base, full, union, m, uses, fresh)
                uses += m
                if policy == BELADY_FORCED:
                    full = _remove_others(heap, place, value, last, base, full, slots, seen, event, aside)
                while full > slots:
                    take_least(heap, place, value, last, base, full)
                    full -= 1
                size[cache] = full
            if lookahead > 0 and l + lookahead < n_layers:
                loaded, link = _prefetch(
                    soon, rules.candidates, row, a, b, l + lookahead, offset, place, pending, arrival, p,
                    transfer, now, link,
                )  # fmt: skip
                if p >= counted:
                    sums[unit[s], phase[s], l + lookahead, PREFETCHED] += loaded
            now = now + stall + rules.compute
            if p >= counted:
                own = sums[unit[s], phase[s], l]
                own[LOGICAL] += logical
                own[ACCESSES] += m
                own[HITS] += hits
                own[PREFETCHED_HITS] += ahead
                own[MISSES] += misses
                own[EVENTS] += 1
                own[STALL] += stall
        n += b - a
    state.number[0], state.number[1] = uses, event
    state.clock[0], state.clock[1], state.clock[2] = now, link, base_step


@inlined
def _classify(
    union: Array, m: int, place: Array, pending: Array, arrival: Array, p: int, now: float
) -> tuple[int, int, float]:  # pragma: no cover - compiled
    """Return hits, prefetched hits, and the seconds until the last of these has arrived."""
    hits = ahead = 0
    wait = 0.0
    for j in range(m):
        i = union[j]
        if place[i] >= 0:
            hits += 1
        elif pending[i] == p:
            ahead += 1
            wait = max(wait, arrival[i] - now)
    return hits, ahead, wait


@within
def _admit(
    heap: Array, place: Array, value: Array, last: Array, base: int, size: int, union: Array, m: int, uses: int,
    fresh: Array,
) -> int:  # pragma: no cover - compiled  # fmt: skip
    """Put the experts of an event into the cache with their new values; return the size.

    A heap takes one change after the other, so that new values wait in `fresh`.
    """
    for j in range(m):
        i = union[j]
        last[i] = uses + j + 1
        value[i] = fresh[i]
        size = put(heap, place, value, last, base, size, i)
    return size


@within
def _change_others(
    heap: Array,
    place: Array,
    value: Array,
    last: Array,
    base: int,
    size: int,
    low: int,
    high: int,
    fresh: Array,
) -> int:  # pragma: no cover - compiled
    """Give the cached experts of a layer their new values; return the size."""
    for i in range(low, high):
        if value[i] != fresh[i]:
            value[i] = fresh[i]
            if place[i] >= 0:
                size = put(heap, place, value, last, base, size, i)
    return size


@inlined
def _prefetch(
    ahead: Array, candidates: int, row: Array, low: int, high: int, target: int, offset: Array, place: Array,
    pending: Array, arrival: Array, p: int, transfer: float, now: float, link: float,
) -> tuple[int, float]:  # pragma: no cover - compiled  # fmt: skip
    """Request the candidates of a later layer; return their number, and when the link is free."""
    loaded = 0
    for c in range(min(candidates, ahead.shape[2])):
        for t in range(low, high):
            e = ahead[row[t], target, c]
            i = offset[target] + e
            if e >= 0 and pending[i] != p and place[i] < 0:
                pending[i] = p
                link = max(now, link) + transfer
                arrival[i] = link
                loaded += 1
    return loaded, link


@within
def _look_up(
    choices: Array,
    following: Array,
    low: int,
    high: int,
    n: int,
    l: int,
    base: int,
    n_layers: int,
    out: Array,
) -> None:  # pragma: no cover - compiled
    """Write the values of a step's experts: minus the number of the event that needs each next."""
    for t in range(low, high):
        for slot in range(choices.shape[2]):
            e = choices[t, l, slot]
            if e >= 0:
                at = following[n + t - low, l, slot]
                out[base + e] = -float(at * n_layers + l) if at >= 0 else -float("inf")


@within
def _predict(
    likely: Array,
    score: Array,
    numbers: Array,
    next_row: Array,
    low: int,
    high: int,
    l: int,
    offset: Array,
    out: Array,
) -> None:  # pragma: no cover - compiled
    """Write how probable each expert of a layer is at the next tokens, summed over the tokens of a step."""
    for i in range(offset[l], offset[l + 1]):
        out[i] = 0.0
    for t in range(low, high):
        r = next_row[t]
        if r < 0:
            continue
        for c in range(likely.shape[2]):
            e = likely[r, l, c]
            if e >= 0:
                out[offset[l] + e] += numbers[score[r, l, c]]


@within
def _remove_others(
    heap: Array, place: Array, value: Array, last: Array, base: int, size: int, slots: int, seen: Array, event: int,
    aside: Array,
) -> int:  # pragma: no cover - compiled  # fmt: skip
    """Remove the surplus among the experts that the event did not need, as far as possible; return the size."""
    spared = 0
    while size > 0 and size + spared > slots:
        i = take_least(heap, place, value, last, base, size)
        size -= 1
        if seen[i] == event:
            aside[spared] = i
            spared += 1
    for j in range(spared):
        size = put(heap, place, value, last, base, size, aside[j])
    return size


@within
def _scale_down(
    heap: Array, place: Array, value: Array, last: Array, size: Array, offset: Array, pooled: bool, half_life: float,
    base_step: float, p: int,
) -> float:  # pragma: no cover - compiled  # fmt: skip
    """Divide decayed counts before they become too large; return the step at which a use is worth one."""
    doublings = (p - base_step) / half_life
    if doublings < MOST_DOUBLINGS:
        return base_step
    whole = float(int(doublings))
    value *= 2.0**-whole
    # Counts that were different may have become zero.
    for c in range(len(size)):
        order_anew(heap, place, value, last, 0 if pooled else offset[c], size[c])
    return base_step + whole * half_life
