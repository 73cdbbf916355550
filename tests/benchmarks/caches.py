"""Replayed caches against a replay in plain Python with `OrderedDict`, on one thread."""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from routestat.counting.document_sample import take_sample
from routestat.serving.lru_curve import lru_curve
from routestat.serving.replay import replay
from routestat.serving.settings import SCOPES, CacheSetting
from routestat.serving.steps import Steps, make_steps
from routestat.traces import synthetic
from tests.benchmarks.counting import MEAN_LENGTH, lengths_of
from tests.benchmarks.machine import in_turns, ratio, text_table
from tests.benchmarks.reports import Report

ROUNDS = 3
#: Experts, chosen ones, layers, and slots of a layer.
MODELS = ((8, 2, 32, 4), (128, 8, 48, 32))
POLICIES = ("lru", "lfu", "belady")


def steps_of(accesses: int, n_experts: int, top_k: int, layers: int) -> Steps:
    """Steps of one token each, with about so many accesses."""
    rng = np.random.default_rng(20240607)
    made = synthetic.expert_chain(
        coupling=0.5,
        n_experts=n_experts,
        top_k=top_k,
        layers=layers,
        documents=lengths_of(accesses // (top_k * layers), MEAN_LENGTH, rng),
        rng=rng,
    )
    sample = take_sample(synthetic.to_trace(made))
    return make_steps(sample, sample.routers)


def plain_replay(events: Sequence[Sequence[Sequence[int]]], slots: int, pooled: bool) -> int:
    """Replay experts ``[step][layer]``, numbered over all layers, with LRU; return the hits."""
    caches = [OrderedDict[int, None]() for _ in events[0]]
    if pooled:
        caches = caches[:1] * len(caches)
    hits = 0
    for step in events:
        for cache, union in zip(caches, step, strict=True):
            hits += sum(expert in cache for expert in union)
            for expert in union:
                cache[expert] = None
                cache.move_to_end(expert)
            while len(cache) > slots:
                cache.popitem(last=False)
    return hits


def bench_model(report: Report, accesses: int, n_experts: int, top_k: int, layers: int, slots: int) -> None:
    """All policies and the curve of one size of model."""
    steps = steps_of(accesses, n_experts, top_k, layers)
    accesses = steps.choices.size
    events = (steps.choices + steps.offsets[:-1, None]).tolist()
    rows = []
    for scope in SCOPES:
        pooled = scope == "pool"
        in_all = slots * layers if pooled else slots
        runs: dict[str, Callable[[], object]] = {
            "plain Python": partial(plain_replay, events, in_all, pooled)
        }
        for policy in POLICIES:
            runs[policy] = partial(replay, steps, CacheSetting(policy, scope, slots))
        runs["LRU at every capacity"] = partial(lru_curve, steps, scope)
        expected = plain_replay(events, in_all, pooled)
        found = replay(steps, CacheSetting("lru", scope, slots)).column("hits").sum()
        if not expected == found == lru_curve(steps, scope).hits(in_all).sum():
            raise RuntimeError("the replays differ")
        medians = in_turns(runs, ROUNDS)
        for name, median in medians.items():
            rows.append(
                [
                    f"{scope}: {name}",
                    f"{accesses / median / 1e6:.1f}",
                    f"{1e9 * median / accesses:.1f}",
                    ratio(medians["plain Python"] / median),
                ]
            )
    report.add(
        f"{top_k} of {n_experts} experts, {layers} layers, {slots} slots per layer: {accesses:,} accesses",
        "Steps of one token. Plain Python replays LRU, event by event, with an OrderedDict of lists that are in "
        "memory; its hits were equal to those of the compiled replay and of the curve before anything was timed. "
        "The curve has the hits at every capacity.",
        text_table(["1 thread", "M accesses/s", "ns an access", "× plain Python"], rows),
    )


def run(report: Report, folder: Path, quick: bool) -> None:
    """All tables of this section."""
    for model in MODELS:
        bench_model(report, 100_000 if quick else 4_000_000, *model)
