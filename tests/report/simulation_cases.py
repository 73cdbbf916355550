"""Findings of simulations made by hand: no cache was replayed, but every number fits the others."""

from dataclasses import replace

import numpy as np

from routestat.inference.base.estimate import ratio, without_interval
from routestat.serving.settings import CacheSetting, Hardware
from routestat.structure.model_facts import model_facts
from routestat.study.simulation_findings import (
    CapacityPlan,
    CurvePoint,
    HotSet,
    PlannedCapacity,
    RecoverableGap,
    SimulatedCache,
    Simulation,
    WorkingSet,
)
from routestat.traces.metadata import Router, TraceMeta

#: Mixtral's experts over a link of 25 GB/s.
MACHINE = Hardware(expert_bytes=352e6, bandwidth=25e9, compute=2e-4)
MIXTRAL = {
    "model_type": "mixtral", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "num_local_experts": 8, "num_experts_per_tok": 2,
    "vocab_size": 32000, "torch_dtype": "bfloat16",
}  # fmt: skip
#: How much of the way from none to all hits a policy is at half of the experts.
GOOD = {"static": 0.52, "lru": 0.58, "lfu": 0.55, "lfu-decay": 0.59, "predictor": 0.6, "belady": 0.75,
        "belady-forced": 0.72}  # fmt: skip
CAUTION = "the pool is smaller than what one token needs over all layers: LRU gets nothing"


def simulation(
    *, n_units=12, hardware=MACHINE, capacities=(2, 3, 4, 6, 8), scopes=("layer",), layers=6, **other
):
    """Return findings on 8 experts of which a token takes 2; `other` replaces fields."""
    made = _Maker(n_units, hardware, layers)
    caches = [made.cache(CacheSetting("none"))]
    for scope in scopes:
        for capacity in capacities:
            caches += [made.cache(CacheSetting(name, scope, capacity, predictor=_by(name))) for name in GOOD]
            for candidates in (2, 4):
                ahead = {"lookahead": 1, "candidates": candidates}
                caches += [
                    made.cache(CacheSetting("lru", scope, capacity, predictor=name, **ahead))
                    for name in ("ridge-all", "perfect")
                ]
    routers = tuple(Router(layer, 8, 2) for layer in range(layers))
    found = Simulation(
        meta=TraceMeta(routers, name="made", model="a model", dataset="texts"), routers=routers, folder="traces/made",
        n_tokens=made.n_tokens, n_documents=40, n_units=n_units, notes=("a note on the trace",), batch=1, chunk=1,
        hardware=hardware, facts=None, caches=tuple(caches), curve=tuple(made.curve(scopes, layers)),
        gaps=tuple(made.gap(scope, size) for scope in scopes for size in capacities if size < 8),
        hot_sets=tuple(made.hot_set(layer, size) for layer in range(layers) for size in capacities),
        working_sets=tuple(made.working_set(layer, 2**n) for layer in (None, *range(layers)) for n in range(8)),
        plan=made.plan(0.05), recalls={("ridge-all", 1): 0.66, ("perfect", 1): 1.0}, options={"capacity": "2,4"},
    )  # fmt: skip
    return replace(found, **other)


def _by(policy):
    return "previous-token" if policy == "predictor" else ""


class _Maker:
    """Sums per unit that vary a little, and the estimates of their ratios."""

    def __init__(self, n_units, hardware, layers):
        self.rng = np.random.default_rng(3)
        self.tokens = self.rng.integers(300, 500, n_units)
        self.n_tokens, self.layers = int(self.tokens.sum()), layers
        self.accesses = 2 * layers * self.tokens
        self.hardware = hardware

    def estimate(self, share, base=None):
        base = self.accesses if base is None else base
        return ratio(base * share * (1 + 0.03 * self.rng.standard_normal(len(base))), base)

    def hit_rate(self, policy, capacity):
        return 0.0 if policy == "none" else (capacity / 8) ** (np.log(GOOD[policy]) / np.log(0.5))

    def cache(self, setting, phase="all"):
        rate = self.hit_rate(setting.policy, setting.capacity)
        n, tokens, size, seconds = int(self.accesses.sum()), self.n_tokens, *self._machine()
        hits = round(n * rate)
        nothing = without_interval(np.nan, 0, "nothing is prefetched")
        precision = recall = nothing
        prefetched = ahead = 0
        if setting.lookahead:
            right = 1.0 if setting.predictor == "perfect" else 0.9 / setting.candidates
            recalled = 1.0 if setting.predictor == "perfect" else 0.3 + 0.05 * setting.candidates
            ahead = round((n - hits) * recalled)
            prefetched = round(ahead / right)
            precision, recall = self.estimate(right), self.estimate(recalled)
        misses = n - hits - ahead
        loads = misses + prefetched
        stall = without_interval(np.nan, 0, "the machine is not known")
        if np.isfinite(seconds):
            stall = self.estimate(misses * seconds / tokens, self.tokens)
        return SimulatedCache(
            setting=setting, phase=phase, tokens=tokens, events=self.layers * tokens, logical_accesses=n, accesses=n,
            hits=hits, prefetched_hits=ahead, misses=misses, prefetched_loads=prefetched,
            hit_rate=self.estimate(rate), served_rate=self.estimate((hits + ahead) / n),
            miss_share=self.estimate(loads / n), precision=precision, recall=recall,
            union_to_capacity=self.estimate(2 / max(setting.capacity, 1)),
            loads_per_token=self.estimate(loads / tokens, self.tokens), stall_per_token=stall,
            bytes=loads * size, bytes_demanded=misses * size, bytes_wasted=(prefetched - ahead) * size,
            stall_seconds=misses * seconds, cautions=(CAUTION,) if setting.scope == "pool" and rate < 0.1 else (),
        )  # fmt: skip

    def _machine(self):
        size, seconds = self.hardware.expert_bytes, self.hardware.transfer_seconds
        return np.nan if size is None else size, np.nan if seconds is None else seconds

    def curve(self, scopes, layers):
        for scope in scopes:
            times = layers if scope == "pool" else 1
            for capacity in range(1, 8 * times + 1):
                yield CurvePoint(scope, None, capacity, self.estimate(self.hit_rate("lru", capacity / times)))
        for layer in range(layers):
            for capacity in range(1, 9):
                rate = self.hit_rate("lru", capacity) * (1 - 0.02 * layer)
                yield CurvePoint("layer", layer, capacity, self.estimate(rate))

    def gap(self, scope, capacity):
        n = int(self.accesses.sum())
        best, optimal = (n - round(n * self.hit_rate(name, capacity)) for name in ("lfu-decay", "belady"))
        return RecoverableGap(
            scope, "cold", capacity, "lfu-decay", best, optimal, self.estimate((best - optimal) / best)
        )

    def hot_set(self, layer, capacity):
        static, lru = (self.estimate(self.hit_rate(name, capacity)) for name in ("static", "lru"))
        return HotSet(layer, capacity, static, lru, capacity / 8)

    def working_set(self, layer, tokens):
        independent = 8 * (1 - 0.75**tokens)
        return WorkingSet(layer, tokens, self.estimate(2 + 0.8 * (independent - 2)), independent)

    def plan(self, budget):
        size, seconds = self._machine()
        sizes = []
        for slots in range(2 * self.layers, 8 * self.layers + 1, self.layers):
            rate = self.hit_rate("lru", slots / self.layers)
            own = [slots // self.layers] * self.layers
            if 2 < own[0] < 8:
                own[0], own[-1] = own[0] + 1, own[-1] - 1
            stall = 2 * self.layers * (1 - rate) * seconds
            sizes.append(
                PlannedCapacity(
                    slots,
                    slots * size,
                    self.estimate(rate),
                    self.estimate(min(1.0, 1.01 * rate)),
                    tuple(own),
                    stall,
                )
            )
        fit = [one for one in sizes if one.stall_per_token <= budget]
        why = "" if fit else "the machine is not known: give --expert-bytes and --bandwidth"
        return CapacityPlan(tuple(sizes), budget, fit[0] if fit else None, why)


def with_model(**other):
    return simulation(facts=model_facts(MIXTRAL), **other)


def with_phases(**other):
    """Return findings with prefill and decode apart."""
    found = simulation(**other)
    apart = [replace(one, phase=phase) for one in found.caches for phase in ("all", "prefill", "decode")]
    return replace(found, caches=tuple(apart))


def one_document():
    """Return findings without intervals, and without what other documents are needed for."""
    found = simulation(n_units=1)
    why = "static pins are from other documents, and there is one only"
    nan = without_interval(np.nan, 0, why)
    names = (
        "hit_rate",
        "served_rate",
        "miss_share",
        "loads_per_token",
        "stall_per_token",
        "union_to_capacity",
    )
    caches = [
        replace(one, hits=0, misses=0, bytes=np.nan, bytes_demanded=np.nan, bytes_wasted=np.nan,
                stall_seconds=np.nan, reason=why, **dict.fromkeys(names, nan))
        if one.setting.policy == "static" else one
        for one in found.caches
    ]  # fmt: skip
    return replace(
        found, caches=tuple(caches), hot_sets=tuple(replace(one, static=nan) for one in found.hot_sets)
    )


HOSTILE = "<script>alert(1)</script>"


def hostile():
    """Return findings with text that would do harm as HTML or in a terminal."""
    found = simulation()
    meta = replace(found.meta, name=HOSTILE, model="[bold]model[/bold] \x1b[31mred", dataset="$\\frac{$ ../x")
    return replace(found, meta=meta, folder=f"traces/{HOSTILE}", notes=(HOSTILE,))


def empty():
    """Return findings of a trace in which nothing could be simulated."""
    found = simulation(capacities=())
    return replace(
        found, caches=(), curve=(), gaps=(), hot_sets=(), working_sets=(),
        plan=CapacityPlan((), None, None, "no cache was simulated"),
    )  # fmt: skip
