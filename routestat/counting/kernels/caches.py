"""Replay of steps through caches of experts; compiled on first use.

What a step needs at one layer is classified as a whole before any of it changes the cache, and what exceeds the
capacity is removed at the end.
"""

from typing import NamedTuple

from routestat.counting.kernels.compiling import Array, compiled, within
from routestat.counting.kernels.indexed_heaps import order_anew, put, take_least

NONE, STATIC, LRU, LFU, LFU_DECAY, PREDICTOR, BELADY, BELADY_FORCED = range(8)
LOGICAL, ACCESSES, HITS, PREFETCHED_HITS, MISSES, PREFETCHED, EVENTS, STALL = range(8)
# Half-lives after which decayed counts are scaled down, long before they overflow.
MOST_DOUBLINGS = 500.0


class Served(NamedTuple):
    """Choices in the order of their steps, as in `routestat.serving.steps.Steps`, and the order of one pass.

    Attributes
    ----------
    choices : int16 array ``[token, layer, slot]``
    row, next_row : int array ``[token]``
    start : int array ``[step + 1]``
    phase, unit, first : array ``[step]``
    offset : int array ``[layer + 1]``
    order : int array ``[place]``
        Steps.
    """

    choices: Array
    row: Array
    next_row: Array
    start: Array
    phase: Array
    unit: Array
    first: Array
    offset: Array
    order: Array


class Rules(NamedTuple):
    """What is simulated.

    Attributes
    ----------
    policy : int
    slots : int
        Of each cache.
    pooled, emptied : bool
        One cache for all layers; emptied before every batch of documents.
    half_life : float
        In steps.
    lookahead, candidates : int
    transfer, compute : float
        Seconds.
    pinned : bool array ``[unit, expert of all layers]``
        Empty unless the policy is static.
    ahead : int16 array ``[row, layer, place]``
        Experts to prefetch.
    likely : int16 array ``[row, layer, place]``
        Experts of the policy's predictor.
    score : uint16 array ``[row, layer, place]``
        Bits of their half-precision scores.
    numbers : float32 array ``[65536]``
        The number of each pattern of bits: compiled loops know no half precision.
    """

    policy: int
    slots: int
    pooled: bool
    emptied: bool
    half_life: float
    lookahead: int
    candidates: int
    transfer: float
    compute: float
    pinned: Array
    ahead: Array
    likely: Array
    score: Array
    numbers: Array


class State(NamedTuple):
    """What is kept from step to step; experts are numbered over all layers.

    Attributes
    ----------
    value : float array ``[expert]``
    last : int array ``[expert]``
        Number of its last use.
    heap, place : int array ``[expert]``
        The caches, as heaps of their experts; places in them, −1 outside.
    size : int array ``[cache]``
    seen : int array ``[expert]``
        The last event that needed it.
    pending : int array ``[expert]``
        The last step for which it was prefetched.
    arrival : float array ``[expert]``
        When that arrives, in seconds of this step.
    following : int32 array ``[token, layer, slot]``
        Of the current steps; see `look_back`. Empty unless the policy knows the future.
    upcoming : float array ``[expert]``
    union, aside : int array ``[expert]``
        Memory for the experts of an event.
    fresh : float array ``[expert]``
        Memory for new values.
    number : int array ``[2]``
        Of uses and of events so far.
    clock : float array ``[3]``
        The time, when the link is free, and the step at which a use is worth one.
    """

    value: Array
    last: Array
    heap: Array
    place: Array
    size: Array
    seen: Array
    pending: Array
    arrival: Array
    following: Array
    upcoming: Array
    union: Array
    aside: Array
    fresh: Array
    number: Array
    clock: Array


@compiled
def replay_steps(
    served: Served, rules: Rules, state: State, low: int, high: int, counted: int, sums: Array
) -> None:  # pragma: no cover - compiled
    """Replay the steps at the places `low` to `high` of the order.

    Adds to ``sums[unit, phase, layer, column]``, columns as in `routestat.serving.replay_sums.COLUMNS`, from the place
    `counted` on.
    """
    n = 0
    for p in range(low, high):
        s = served.order[p]
        if rules.emptied and served.first[s]:
            _empty(state)
        if rules.policy == LFU_DECAY:
            _scale_down(served, rules, state, p)
        # Seconds are counted from the beginning of each step, so that they stay exact.
        state.clock[1] -= state.clock[0]
        state.clock[0] = 0.0
        for l in range(served.choices.shape[1]):
            kept = sums[served.unit[s], served.phase[s]]
            logical, m = _gather(served, rules, state, s, l, n)
            if m == 0:
                continue
            hits, ahead, stall = _classify(served, rules, state, s, p, m)
            if rules.policy >= LRU:
                _renew(served, rules, state, s, l, p, m)
                _remove_surplus(rules, state, l, served.offset)
            loaded = 0
            if rules.lookahead > 0 and l + rules.lookahead < served.choices.shape[1]:
                loaded = _prefetch(served, rules, state, s, l + rules.lookahead, p)
            state.clock[0] = state.clock[0] + stall + rules.compute
            if p >= counted:
                kept[l, LOGICAL] += logical
                kept[l, ACCESSES] += m
                kept[l, HITS] += hits
                kept[l, PREFETCHED_HITS] += ahead
                kept[l, MISSES] += m - hits - ahead
                kept[l, EVENTS] += 1
                kept[l, STALL] += stall
                if loaded:
                    kept[l + rules.lookahead, PREFETCHED] += loaded
        n += served.start[s + 1] - served.start[s]


@within
def _gather(
    served: Served, rules: Rules, state: State, s: int, l: int, n: int
) -> tuple[int, int]:  # pragma: no cover - compiled
    """Write the experts that a step needs at a layer, ascending; return the number of choices, and of experts."""
    state.number[1] += 1
    event, base = state.number[1], served.offset[l]
    logical = m = 0
    ascending = True
    for t in range(served.start[s], served.start[s + 1]):
        for slot in range(served.choices.shape[2]):
            e = served.choices[t, l, slot]
            if e < 0:
                continue
            logical += 1
            i = base + e
            if state.seen[i] != event:
                state.seen[i] = event
                if m > 0 and state.union[m - 1] > i:
                    ascending = False
                state.union[m] = i
                m += 1
                if rules.policy >= BELADY:
                    state.upcoming[i] = state.following[n + t - served.start[s], l, slot]
    if not ascending:
        if m * m <= 4 * (served.offset[l + 1] - base):
            for j in range(1, m):
                i, k = state.union[j], j
                while k > 0 and state.union[k - 1] > i:
                    state.union[k] = state.union[k - 1]
                    k -= 1
                state.union[k] = i
        else:
            m = 0
            for i in range(base, served.offset[l + 1]):
                if state.seen[i] == event:
                    state.union[m] = i
                    m += 1
    return logical, m


@within
def _cached(
    served: Served, rules: Rules, state: State, s: int, i: int
) -> bool:  # pragma: no cover - compiled
    if rules.policy == STATIC:
        return rules.pinned[served.unit[s], i]
    return state.place[i] >= 0


@within
def _classify(
    served: Served, rules: Rules, state: State, s: int, p: int, m: int
) -> tuple[int, int, float]:  # pragma: no cover - compiled
    """Request what is missing; return hits, prefetched hits, and the seconds that the event waits."""
    now = state.clock[0]
    hits = ahead = 0
    stall = 0.0
    for j in range(m):
        i = state.union[j]
        if _cached(served, rules, state, s, i):
            hits += 1
        elif state.pending[i] == p:
            ahead += 1
            stall = max(stall, state.arrival[i] - now)
    misses = m - hits - ahead
    if misses > 0:
        wait = max(state.clock[1] - now, 0.0) + misses * rules.transfer
        stall = max(stall, wait)
        state.clock[1] = now + wait
    return hits, ahead, stall


@within
def _renew(
    served: Served, rules: Rules, state: State, s: int, l: int, p: int, m: int
) -> None:  # pragma: no cover - compiled
    """Put the experts of an event into the cache, with their new values and last uses."""
    cache, base = (0, 0) if rules.pooled else (l, served.offset[l])
    size, weight = state.size[cache], 1.0
    if rules.policy == LFU_DECAY:
        weight = 2.0 ** ((p - state.clock[2]) / rules.half_life)
    for j in range(m):
        i = state.union[j]
        state.number[0] += 1
        state.last[i] = state.number[0]
        if rules.policy == LFU or rules.policy == LFU_DECAY:
            state.value[i] += weight
        elif rules.policy >= BELADY:
            at = state.upcoming[i]
            state.value[i] = -(at * len(served.offset) + l) if at >= 0 else -float("inf")
        size = put(state.heap, state.place, state.value, state.last, base, size, i)
    if rules.policy == PREDICTOR:
        _predict(served, rules, state, s, l)
        for i in range(served.offset[l], served.offset[l + 1]):
            if state.value[i] != state.fresh[i]:
                state.value[i] = state.fresh[i]
                if state.place[i] >= 0:
                    size = put(state.heap, state.place, state.value, state.last, base, size, i)
    state.size[cache] = size


@within
def _predict(
    served: Served, rules: Rules, state: State, s: int, l: int
) -> None:  # pragma: no cover - compiled
    """Write how probable each expert of a layer is at the next tokens, summed over the tokens of a step."""
    base = served.offset[l]
    for i in range(base, served.offset[l + 1]):
        state.fresh[i] = 0.0
    for t in range(served.start[s], served.start[s + 1]):
        r = served.next_row[t]
        if r < 0:
            continue
        for c in range(rules.likely.shape[2]):
            e = rules.likely[r, l, c]
            if e >= 0:
                state.fresh[base + e] += rules.numbers[rules.score[r, l, c]]


@within
def _remove_surplus(rules: Rules, state: State, l: int, offset: Array) -> None:  # pragma: no cover - compiled
    cache, base = (0, 0) if rules.pooled else (l, offset[l])
    size, spared = state.size[cache], 0
    if rules.policy == BELADY_FORCED:
        while size + spared > rules.slots and size > 0:
            i = take_least(state.heap, state.place, state.value, state.last, base, size)
            size -= 1
            if state.seen[i] == state.number[1]:
                state.aside[spared] = i
                spared += 1
        # Of an event that is larger than the cache, those that were taken first are worth least.
        for j in range(max(0, size + spared - rules.slots), spared):
            size = put(state.heap, state.place, state.value, state.last, base, size, state.aside[j])
    else:
        while size > rules.slots:
            take_least(state.heap, state.place, state.value, state.last, base, size)
            size -= 1
    state.size[cache] = size


@within
def _prefetch(
    served: Served, rules: Rules, state: State, s: int, target: int, p: int
) -> int:  # pragma: no cover - compiled
    """Request experts of a later layer, the first candidate of every token first; return how many."""
    loaded, base = 0, served.offset[target]
    for c in range(min(rules.candidates, rules.ahead.shape[2])):
        for t in range(served.start[s], served.start[s + 1]):
            e = rules.ahead[served.row[t], target, c]
            if e < 0:
                continue
            i = base + e
            if state.pending[i] == p or _cached(served, rules, state, s, i):
                continue
            state.pending[i] = p
            state.clock[1] = max(state.clock[0], state.clock[1]) + rules.transfer
            state.arrival[i] = state.clock[1]
            loaded += 1
    return loaded


@within
def _empty(state: State) -> None:  # pragma: no cover - compiled
    for i in range(len(state.place)):
        state.place[i] = -1
    for c in range(len(state.size)):
        state.size[c] = 0


@within
def _scale_down(served: Served, rules: Rules, state: State, p: int) -> None:  # pragma: no cover - compiled
    """Count decayed uses from now on where their numbers would become too large."""
    doublings = (p - state.clock[2]) / rules.half_life
    if doublings < MOST_DOUBLINGS:
        return
    whole = float(int(doublings))
    factor = 2.0**-whole
    state.clock[2] += whole * rules.half_life
    for i in range(len(state.value)):
        state.value[i] *= factor
    for c in range(len(state.size)):
        base = 0 if rules.pooled else served.offset[c]
        order_anew(state.heap, state.place, state.value, state.last, base, state.size[c])
