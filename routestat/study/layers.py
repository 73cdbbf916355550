"""What is asked of all layers at once: every pair of them, experts taken together, and whether documents suffice."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routestat.counting.context import Context
from routestat.counting.counts import Counts
from routestat.counting.expert_pairs import count_pairs
from routestat.counting.further_tables import count_further_tables
from routestat.inference.base.tables import Floats
from routestat.inference.sample_size.document_subsets import SampleSize, sample_size
from routestat.inference.sample_size.unseen_experts import Unseen, unseen
from routestat.structure.coactivation import NULLS, Coactivation, coactivation, pairs_of_states
from routestat.structure.layer_map import LayerMap, layer_map
from routestat.structure.profiles import profile_matrix, sorted_loads
from routestat.study.decomposition import Tick
from routestat.traces.metadata import Router
from routestat.traces.store import Trace

# Pairs of layers: of a model of 100 layers all of them.
MOST_PAIRS = 5000


@dataclass(frozen=True)
class LayerCoactivation:
    """Co-activation inside one router, against both nulls."""

    router: Router
    pooled: Coactivation
    documents: Coactivation


@dataclass(frozen=True)
class LayerSampleSize:
    """Whether more documents are called for, for one router and the pair of layers that ends in it."""

    router: Router
    enough: SampleSize
    unseen: Unseen


@dataclass(frozen=True)
class AcrossLayers:
    """Findings on all layers.

    Attributes
    ----------
    map : LayerMap or None
        All pairs of layers; `map_reason` says why not.
    load_profiles : mapping of method to float array ``[layer, layer]``
        Sorted loads compared: what no naming of experts changes.
    within : tuple of LayerCoactivation
    sufficiency : tuple of LayerSampleSize
        Of the first, the middle and the last pair of layers.
    """

    map: LayerMap | None
    map_reason: str
    load_profiles: dict[str, Floats]
    within: tuple[LayerCoactivation, ...]
    sufficiency: tuple[LayerSampleSize, ...]


def measure_across_layers(
    trace: Trace,
    counts: Counts,
    rng: np.random.Generator,
    tick: Tick = lambda what, done, total: None,
) -> AcrossLayers:
    """Ask of all layers.

    Parameters
    ----------
    trace : Trace
        Read again for the pairs of layers that are not neighbours and, in the expert view, for the experts that a
        token takes together.
    counts : Counts
        With the contexts nothing and layer −1.
    rng : numpy.random.Generator
        Draws subsets of documents.
    """
    with ThreadPoolExecutor(1) as pool:
        # Arrays are large enough for two threads to work side by side.
        mapped = pool.submit(_map, trace, counts, tick)
        within = _within(trace, counts, tick)
        found, reason = mapped.result()
    loads = [_experts(counts, router).sum(axis=0) for router in counts.routers]
    profiles = {}
    if len(loads) > 1 and all(load.any() for load in loads):
        # Of routers with different numbers of experts the shorter profiles are filled up with zeros.
        sorted_ = sorted_loads(loads, max(len(load) for load in loads))
        methods = ("pearson", "spearman", "kendall", "jensen-shannon")
        profiles = {method: profile_matrix(sorted_, method, diagonal=False) for method in methods}
    return AcrossLayers(found, reason, profiles, within, _sufficiency(counts, rng, tick))


def _chosen(trace: Trace, counts: Counts) -> list[int] | None:
    return None if len(counts.routers) == len(trace.meta.routers) else [r.layer for r in counts.routers]


def _map(trace: Trace, counts: Counts, tick: Tick) -> tuple[LayerMap | None, str]:
    layers = [router.layer for router in counts.routers]
    n_pairs = len(layers) * (len(layers) - 1) // 2
    if len(layers) < 2:
        return None, "one layer only: there is no pair of layers"
    if len(set(layers)) < len(layers):
        return None, "a layer with two routers has no single place on the map"
    if n_pairs > MOST_PAIRS:
        return None, f"{n_pairs:,} pairs of layers are more than the {MOST_PAIRS:,} that a map shows"
    pairs = [
        (source, target)
        for place, target in enumerate(counts.routers)
        for source in counts.routers[:place][::-1]
    ]
    top_k = {r.layer: r.top_k for r in counts.routers} if counts.states == "expert" else None
    return layer_map(_pair_counts(trace, counts, pairs, tick), layers, top_k), ""


def _pair_counts(
    trace: Trace, counts: Counts, pairs: Sequence[tuple[Router, Router]], tick: Tick
) -> Iterator[tuple[tuple[int, int], NDArray]]:
    """The table of each pair, nearest layers first of every target."""
    place = {router.name: at for at, router in enumerate(counts.routers)}
    tables = count_further_tables(
        trace,
        counts,
        [(Context.layer(place[target.name] - place[source.name]), target) for source, target in pairs],
        progress=lambda done, total: tick("counting all pairs of layers", done, total),
    )
    for done, ((source, target), table) in enumerate(zip(pairs, tables, strict=True)):
        tick("mapping pairs of layers", done, len(pairs))
        yield (source.layer, target.layer), table
    tick("mapping pairs of layers", len(pairs), len(pairs))


def _within(trace: Trace, counts: Counts, tick: Tick) -> tuple[LayerCoactivation, ...]:
    found = []
    for done, (router, pairs, inclusions, tokens) in enumerate(_pair_tables(trace, counts, tick)):
        tick("testing co-activation", done, len(counts.routers))
        of = counts.n_documents
        both = (coactivation(pairs, inclusions, tokens, router.top_k, null, documents=of) for null in NULLS)
        found.append(LayerCoactivation(router, *both))
    tick("testing co-activation", len(found), len(counts.routers))
    return tuple(found)


def _pair_tables(
    trace: Trace, counts: Counts, tick: Tick
) -> Iterator[tuple[Router, NDArray, NDArray, NDArray]]:
    if counts.states == "subset":
        for router in counts.routers:
            table = counts.table(Context(), router)
            yield router, *pairs_of_states(table, router.alphabet), table.sum(axis=1)
        return
    for found in count_pairs(
        trace,
        _chosen(trace, counts),
        counts.groups,
        progress=lambda done, total: tick("counting experts taken together", done, total),
    ):
        yield found.router, found.pairs, found.inclusions, found.tokens


def _experts(counts: Counts, router: Router) -> NDArray[np.int64]:
    """Inclusions ``[group, expert]``."""
    table = counts.table(Context(), router).astype(np.int64)
    return table @ router.alphabet.membership.astype(np.int64) if counts.states == "subset" else table


def _sufficiency(counts: Counts, rng: np.random.Generator, tick: Tick) -> tuple[LayerSampleSize, ...]:
    targets = counts.routers[1:] or counts.routers
    chosen: Sequence[Router] = list(
        dict.fromkeys((targets[0], targets[(len(targets) - 1) // 2], targets[-1]))
    )
    found = []
    for done, router in enumerate(chosen):
        tick("asking fewer documents", done, len(chosen))
        loads = _experts(counts, router)
        tokens = loads.sum(axis=1) // router.top_k
        table = counts.table(Context.layer(1), router) if len(counts.routers) > 1 else None
        said = sample_size(loads, tokens, rng, tables=table, documents=counts.documents)
        found.append(LayerSampleSize(router, said, unseen(loads)))
    tick("asking fewer documents", len(found), len(chosen))
    return tuple(found)
