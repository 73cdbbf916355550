"""Replay of caches as it is defined: sets and lists of one event after the other, slow and obvious."""

import math
from collections import defaultdict
from itertools import combinations

import numpy as np

COLUMNS = ("logical", "accesses", "hits", "prefetched_hits", "misses", "prefetched", "events", "stall")


def demands_of(steps):
    """Return for every step and layer the list of its tokens' experts, each a list without missing ones."""
    found = []
    for s in range(len(steps)):
        rows = range(steps.start[s], steps.start[s + 1])
        layers = range(len(steps.routers))
        found.append([[[int(e) for e in steps.choices[t, l] if e >= 0] for t in rows] for l in layers])
    return found


def orders_of(steps, start):
    """Return lists of (step, whether it is counted), one list for each pass."""
    if start != "warm":
        return [[(s, True) for s in range(len(steps))]]
    odd = [s for s in range(len(steps)) if steps.unit[s] % 2 == 1]
    even = [s for s in range(len(steps)) if steps.unit[s] % 2 == 0]
    return [
        [(s, False) for s in odd] + [(s, True) for s in even],
        [(s, False) for s in even] + [(s, True) for s in odd],
    ]


class Worth:
    """What each expert is worth to a policy after an event; the last use decides between equals."""

    def __init__(self, steps, setting, eviction, sequence, demands):
        self.steps, self.setting, self.eviction = steps, setting, eviction
        self.sequence, self.demands = sequence, demands
        self.uses = defaultdict(list)  # places of the steps that used an expert
        self.last = {}  # number of the last use
        self.predicted = defaultdict(float)
        self.used = 0

    def use(self, place, layer, union):
        for e in sorted(union):
            self.used += 1
            self.last[layer, e] = self.used
            self.uses[layer, e].append(place)
        if self.setting.policy == "predictor":
            self.predict(place, layer)

    def predict(self, place, layer):
        s = self.sequence[place][0]
        for e in range(self.steps.routers[layer].n_experts):
            self.predicted[layer, e] = 0.0
        for t in range(self.steps.start[s], self.steps.start[s + 1]):
            row = self.steps.next_row[t]
            if row >= 0:
                likely, score = self.eviction.experts[row, layer], self.eviction.score[row, layer]
                for e, p in zip(likely, score, strict=True):
                    if e >= 0:
                        self.predicted[layer, int(e)] += float(p)

    def next_use(self, expert, place, at_layer):
        """Return how many layers of steps lie ahead of the next event that needs an expert; infinity if none does."""
        layer, e = expert
        for later in range(place, len(self.sequence)):
            step = self.sequence[later][0]
            if (later > place or layer > at_layer) and any(e in token for token in self.demands[step][layer]):
                return (later - place) * len(self.steps.routers) + layer
        return math.inf

    def key(self, expert, place, layer, union):
        last = self.last[expert]
        match self.setting.policy:
            case "lru":
                return (last,)
            case "lfu":
                return (len(self.uses[expert]), last)
            case "lfu-decay":
                return (
                    sum(0.5 ** ((place - use) / self.setting.half_life) for use in self.uses[expert]),
                    last,
                )
            case "predictor":
                return (self.predicted[expert], last)
            case "belady":
                return (-self.next_use(expert, place, layer), last)
            case "belady-forced":
                own = expert[0] == layer and expert[1] in union
                return (own, -self.next_use(expert, place, layer), last)


def oracle(steps, setting, *, pinned=None, eviction=None, prefetch=None, transfer=0.0, compute=0.0):
    """Return sums ``[unit, phase, layer, column]``."""
    sums = np.zeros((steps.n_units, 2, len(steps.routers), len(COLUMNS)))
    demands = demands_of(steps)
    for sequence in orders_of(steps, setting.start):
        worth = Worth(steps, setting, eviction, sequence, demands)
        replay_pass(steps, setting, pinned, prefetch, transfer, compute, sequence, demands, worth, sums)
    return sums


def replay_pass(steps, setting, pinned, prefetch, transfer, compute, sequence, demands, worth, sums):
    n_layers = len(steps.routers)
    pool = setting.scope == "pool"
    slots = int(setting.capacity * n_layers) if pool else int(setting.capacity)
    cache = set()  # of (layer, expert), all layers
    now = link_free = 0.0
    for place, (s, counted) in enumerate(sequence):
        if setting.start == "document" and steps.first[s]:
            cache = set()
        if setting.policy == "static":

            def is_pinned(layer, e, unit=steps.unit[s]):
                return pinned[unit, sum(router.n_experts for router in steps.routers[:layer]) + e]

            cache = {expert for expert in cache if is_pinned(*expert)}
        tokens = range(steps.start[s], steps.start[s + 1])
        on_the_way = defaultdict(dict)  # layer -> expert -> arrival
        for layer in range(n_layers):
            wanted = [e for token in demands[s][layer] for e in token]
            union = set(wanted)
            if not union:
                continue
            resident = {e for e in union if (layer, e) in cache}
            prefetched = {e for e in union - resident if e in on_the_way[layer]}
            missing = union - resident - prefetched
            begin = now
            for i in range(len(missing)):
                arrives = max(now, link_free) + (i + 1) * transfer
                begin = max(begin, arrives)
            if missing:
                link_free = max(now, link_free) + len(missing) * transfer
            for e in prefetched:
                begin = max(begin, on_the_way[layer][e])
            worth.use(place, layer, union)
            if setting.policy == "static":
                cache |= {(layer, e) for e in union if is_pinned(layer, e)}
            if setting.policy not in ("none", "static"):
                cache |= {(layer, e) for e in union}
                mine = cache if pool else {expert for expert in cache if expert[0] == layer}
                ranked = sorted(mine, key=lambda expert: worth.key(expert, place, layer, union))
                cache -= set(ranked[: max(0, len(mine) - slots)])
            target = layer + setting.lookahead
            loads = 0
            if setting.lookahead and target < n_layers:
                for c in range(setting.candidates):
                    for t in tokens:
                        if c >= prefetch.experts.shape[2]:
                            continue
                        e = int(prefetch.experts[steps.row[t], target, c])
                        if e < 0 or e in on_the_way[target]:
                            continue
                        if (target, e) not in cache:
                            link_free = max(link_free, now) + transfer
                            on_the_way[target][e] = link_free
                            loads += 1
            if counted:
                own = sums[steps.unit[s], steps.phase[s]]
                own[layer] += [
                    len(wanted), len(union), len(resident), len(prefetched), len(missing), 0, 1, begin - now,
                ]  # fmt: skip
                if loads:
                    own[target, COLUMNS.index("prefetched")] += loads
            now = begin + compute


def most_hits(events, capacity):
    """Return the most hits that any choice of what to keep after each event can have; every choice is tried."""
    best = {frozenset(): 0}
    for union in events:
        after = defaultdict(int)
        for kept, hits in best.items():
            hits += len(kept & union)
            pool = sorted(kept | union)
            for size in range(min(capacity, len(pool)) + 1):
                for chosen in combinations(pool, size):
                    after[frozenset(chosen)] = max(after[frozenset(chosen)], hits)
        best = after
    return max(best.values())
