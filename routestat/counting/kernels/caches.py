"""Replay of steps through caches of experts; compiled on first use.

What a step needs at one layer is classified as a whole before any of it changes the cache, and what exceeds the
capacity is removed at the end.
"""

from typing import NamedTuple

from routestat.counting.kernels.compiling import Array, compiled, within
from routestat.counting.kernels.indexed_heaps import order_anew, put, take_least
from routestat.counting.kernels.unions import gather

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
    # Loops are slow that read arrays out of tuples.
    choices, row, start, offset, unit = served.choices, served.row, served.start, served.offset, served.unit
    policy, slots, transfer, lookahead = rules.policy, rules.slots, rules.transfer, rules.lookahead
    value, last, heap, place = state.value, state.last, state.heap, state.place
    union, seen, pending, arrival = state.union, state.seen, state.pending, state.arrival
    pinned, size, n_layers = rules.pinned, state.size, served.choices.shape[1]
    uses, event, base_step = state.number[0], state.number[1], state.clock[2]
    now, link, weight, n = state.clock[0], state.clock[1], 1.0, 0
    for p in range(low, high):
        s = served.order[p]
        if rules.emptied and served.first[s]:
            place[:] = -1
            size[:] = 0
        if policy == LFU_DECAY:
            base_step = _scale_down(
                heap, place, value, last, size, offset, rules.pooled, rules.half_life, base_step, p
            )
            weight = 2.0 ** ((p - base_step) / rules.half_life)
        # Seconds are counted from the beginning of each step, so that they stay exact.
        now, link = 0.0, link - now
        for l in range(n_layers):
            event += 1
            logical, m = gather(
                choices, start[s], start[s + 1], l, offset[l], offset[l + 1], seen, event, union
            )
            if m == 0:
                continue
            hits = ahead = 0
            stall = 0.0
            for j in range(m):
                i = union[j]
                if pinned[unit[s], i] if policy == STATIC else place[i] >= 0:
                    hits += 1
                elif pending[i] == p:
                    ahead += 1
                    stall = max(stall, arrival[i] - now)
            misses = m - hits - ahead
            if misses > 0:
                wait = max(link - now, 0.0) + misses * transfer
                stall = max(stall, wait)
                link = now + wait
            if policy >= LRU:
                # A heap takes one change after the other: new values wait in `fresh`.
                cache, base = (0, 0) if rules.pooled else (l, offset[l])
                full = size[cache]
                if policy >= BELADY:
                    _look_up(
                        choices,
                        state.following,
                        start[s],
                        start[s + 1],
                        n,
                        l,
                        offset[l],
                        n_layers,
                        state.fresh,
                    )
                for j in range(m):
                    i = union[j]
                    uses += 1
                    last[i] = uses
                    if policy == LFU or policy == LFU_DECAY:
                        value[i] += weight
                    elif policy >= BELADY:
                        value[i] = state.fresh[i]
                    full = put(heap, place, value, last, base, full, i)
                if policy == PREDICTOR:
                    _predict(rules.likely, rules.score, rules.numbers, served.next_row, start[s], start[s + 1], l,
                             offset, state.fresh)  # fmt: skip
                    for i in range(offset[l], offset[l + 1]):
                        if value[i] != state.fresh[i]:
                            value[i] = state.fresh[i]
                            if place[i] >= 0:
                                full = put(heap, place, value, last, base, full, i)
                if policy == BELADY_FORCED:
                    full = _remove_others_first(
                        heap, place, value, last, base, full, slots, seen, event, state.aside
                    )
                while full > slots:
                    take_least(heap, place, value, last, base, full)
                    full -= 1
                size[cache] = full
            loaded = 0
            if lookahead > 0 and l + lookahead < n_layers:
                target = l + lookahead
                for c in range(min(rules.candidates, rules.ahead.shape[2])):
                    for t in range(start[s], start[s + 1]):
                        e = rules.ahead[row[t], target, c]
                        i = offset[target] + e
                        if (
                            e < 0
                            or pending[i] == p
                            or (pinned[unit[s], i] if policy == STATIC else place[i] >= 0)
                        ):
                            continue
                        pending[i] = p
                        link = max(now, link) + transfer
                        arrival[i] = link
                        loaded += 1
            now = now + stall + rules.compute
            if p >= counted:
                own = sums[unit[s], served.phase[s], l]
                own[LOGICAL] += logical
                own[ACCESSES] += m
                own[HITS] += hits
                own[PREFETCHED_HITS] += ahead
                own[MISSES] += misses
                own[EVENTS] += 1
                own[STALL] += stall
                if loaded > 0:
                    sums[unit[s], served.phase[s], l + lookahead, PREFETCHED] += loaded
        n += start[s + 1] - start[s]
    state.number[0], state.number[1] = uses, event
    state.clock[0], state.clock[1], state.clock[2] = now, link, base_step


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
def _remove_others_first(
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
