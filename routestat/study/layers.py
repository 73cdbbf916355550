"""Layers: their loads, every pair of them, co-activation inside each, and whether there are enough documents."""

import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from routestat.counting.context import Context
from routestat.counting.counts import Counts
from routestat.counting.document_sample import Sample, take_sample
from routestat.counting.expert_pairs import count_pairs
from routestat.counting.further_tables import count_further_tables
from routestat.counting.sample_tables import tables_of_sample
from routestat.inference.base.tables import Floats
from routestat.inference.information.entropy import entropy
from routestat.inference.sample_size.document_subsets import SampleSize, sample_size
from routestat.inference.sample_size.unseen_experts import Unseen, unseen
from routestat.progress import Tick, over_threads, silent
from routestat.structure.coactivation import NULLS, Coactivation, coactivation, pairs_of_states
from routestat.structure.layer_map import LayerMap, PairTable, layer_map
from routestat.structure.load_balance import Balance, load_balance
from routestat.structure.profiles import profile_matrix, sorted_loads
from routestat.traces.metadata import Router
from routestat.traces.store import Trace

#: Pairs of layers of the largest map: all pairs of a model of 100 layers.
MOST_PAIRS = 5000
#: Bytes of the tables of pairs of layers that are counted in one pass over the trace.
PAIR_BYTES = 1 << 29
#: A pair of experts with an adjusted p-value below this is called found.
FOUND = 0.05
PROFILE_METHODS = ("pearson", "spearman", "kendall", "jensen-shannon")


@dataclass(frozen=True)
class LayerLoad:
    """The load of one router; `entropy_bits` is of its states, in the expert view of its expert shares."""

    router: Router
    balance: Balance
    entropy_bits: float

    @property
    def relative(self) -> NDArray[np.float64]:
        """Load of every expert over the mean load ``[expert]``."""
        return self.balance.load / self.balance.load.mean()


@dataclass(frozen=True)
class LayerCoactivation:
    """Co-activation inside one router, against the load of all documents and against each document's own load."""

    router: Router
    pooled: Coactivation
    documents: Coactivation

    @property
    def n_found(self) -> int:
        """Pairs of experts with an adjusted p-value below `FOUND`."""
        return int((self.pooled.log10_q < np.log10(FOUND)).sum())


@dataclass(frozen=True)
class LayerSampleSize:
    """Whether there are enough documents, for one router and the pair of layers that ends in it."""

    router: Router
    enough: SampleSize
    unseen: Unseen


@dataclass(frozen=True)
class AcrossLayers:
    """Findings on all layers.

    Attributes
    ----------
    map : LayerMap, optional
        All pairs of layers; None for the reason in `map_reason`, which is empty where the map was left out.
    map_reason : str
    load_profiles : mapping of method to float array ``[layer, layer]``
        Similarity of the sorted loads, which does not depend on the labels of the experts.
    coactivation : tuple of LayerCoactivation, or None where left out
    sample_size : tuple of LayerSampleSize, or None where left out
        Of the first, the middle and the last pair of layers.
    """

    map: LayerMap | None
    map_reason: str
    load_profiles: dict[str, Floats]
    coactivation: tuple[LayerCoactivation, ...] | None
    sample_size: tuple[LayerSampleSize, ...] | None


def selected_layers(trace: Trace, counts: Counts) -> list[int] | None:
    """Return the numbers of the counted layers, None for all layers of the trace."""
    return None if len(counts.routers) == len(trace.meta.routers) else [r.layer for r in counts.routers]


def sample_of(trace: Trace, counts: Counts, tick: Tick = silent, companions: Sequence[str] = ()) -> Sample:
    """Read whole documents of the counted layers, and of recorded columns beside them, in the groups of the counts."""
    layers, progress = selected_layers(trace, counts), partial(tick, "reading tokens")
    return take_sample(trace, layers, counts.groups, companions=companions, progress=progress)


def load_of_layer(counts: Counts, router: Router) -> LayerLoad:
    """Measure the load of one router.

    Parameters
    ----------
    counts : Counts
        With the empty context.
    router : Router
    """
    table = counts.table(Context(), router).astype(np.int64)
    experts = _inclusions(counts, router)
    tokens = table.sum(axis=1) // (1 if counts.states == "subset" else router.top_k)
    total = table.sum(axis=0)
    bits = entropy(total) if total.any() else float("nan")
    return LayerLoad(router, load_balance(experts, tokens, router.top_k), bits)


def measure_across_layers(
    trace: Trace,
    counts: Counts,
    rng: np.random.Generator,
    tick: Tick = silent,
    threads: int | None = None,
    parts: Collection[str] = ("layer-map", "coactivation", "sample-size"),
    sample: Sample | None = None,
) -> AcrossLayers:
    """Measure all pairs of layers, co-activation and sample sizes.

    Parameters
    ----------
    trace : Trace
        Read again for the pairs of layers that are not adjacent and, in the expert view, for pairs of experts.
    counts : Counts
        With the empty context and layer −1.
    rng : numpy.random.Generator
        Draws subsets of documents.
    tick : callable(what, done, total)
    threads : int, optional
    parts : collection of str
        Which of them.
    sample : Sample, optional
        Where it holds all tokens, pairs of layers are counted from it, and the trace is not read for them.
    """
    found, reason = _map(trace, counts, sample, tick, threads) if "layer-map" in parts else (None, "")
    coactivated = _coactivation(trace, counts, tick, threads) if "coactivation" in parts else None
    loads = [_inclusions(counts, router).sum(axis=0) for router in counts.routers]
    profiles = {}
    if "layer-map" in parts and len(loads) > 1 and all(load.any() for load in loads):
        # Profiles of routers with fewer experts are padded with zeros.
        padded = sorted_loads(loads, max(len(load) for load in loads))
        profiles = {method: profile_matrix(padded, method, diagonal=False) for method in PROFILE_METHODS}
    enough = _sample_sizes(counts, rng, tick) if "sample-size" in parts else None
    return AcrossLayers(found, reason, profiles, coactivated, enough)


def _map(
    trace: Trace, counts: Counts, sample: Sample | None, tick: Tick, threads: int | None
) -> tuple[LayerMap | None, str]:
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
    held = tables_of_sample(sample, counts) if sample is not None else None
    tables = (
        _pair_counts(trace, counts, pairs, tick, threads)
        if held is None
        else (((source.layer, target.layer), partial(held.table, source, target)) for source, target in pairs)
    )
    shown = _ticked(tables, len(pairs), tick)
    return layer_map(shown, layers, top_k, threads=threads or os.cpu_count() or 1), ""


def _ticked(
    tables: Iterable[tuple[tuple[int, int], PairTable]], total: int, tick: Tick
) -> Iterator[tuple[tuple[int, int], PairTable]]:
    """Report each pair as it is measured."""
    for done, item in enumerate(tables):
        tick("mapping pairs of layers", done, total)
        yield item
    tick("mapping pairs of layers", total, total)


def _pair_counts(
    trace: Trace, counts: Counts, pairs: Sequence[tuple[Router, Router]], tick: Tick, threads: int | None
) -> Iterator[tuple[tuple[int, int], NDArray[np.integer]]]:
    """Yield the table of each pair, nearest source first."""
    place = {router.name: at for at, router in enumerate(counts.routers)}
    tables = count_further_tables(
        trace,
        counts,
        [(Context.layer(place[target.name] - place[source.name]), target) for source, target in pairs],
        memory=PAIR_BYTES,
        threads=threads,
        progress=partial(tick, "counting all pairs of layers"),
    )
    for (source, target), table in zip(pairs, tables, strict=True):
        yield (source.layer, target.layer), table


def _coactivation(
    trace: Trace, counts: Counts, tick: Tick, threads: int | None
) -> tuple[LayerCoactivation, ...]:
    def tested(
        router: Router, pairs: NDArray[np.integer], inclusions: NDArray[np.int64], tokens: NDArray[np.int64]
    ) -> LayerCoactivation:
        n = counts.n_documents
        both = (coactivation(pairs, inclusions, tokens, router.top_k, null, documents=n) for null in NULLS)
        return LayerCoactivation(router, *both)

    found: list[LayerCoactivation] = []
    tables = _pair_tables(trace, counts, tick)
    for one in over_threads((partial(tested, *table) for table in tables), threads):
        tick("testing co-activation", len(found), len(counts.routers))
        found.append(one)
    tick("testing co-activation", len(found), len(counts.routers))
    return tuple(found)


def _pair_tables(
    trace: Trace, counts: Counts, tick: Tick
) -> Iterator[tuple[Router, NDArray[np.integer], NDArray[np.int64], NDArray[np.int64]]]:
    """Yield per router the pairs ``[group, pair]``, inclusions ``[group, expert]`` and tokens ``[group]``."""
    if counts.states == "subset":
        for router in counts.routers:
            table = counts.table(Context(), router)
            yield router, *pairs_of_states(table, router.alphabet), table.sum(axis=1)
        return
    for found in count_pairs(
        trace,
        selected_layers(trace, counts),
        counts.groups,
        progress=partial(tick, "counting pairs of experts"),
    ):
        yield found.router, found.pairs, found.inclusions, found.tokens


def _inclusions(counts: Counts, router: Router) -> NDArray[np.int64]:
    """Count the inclusions ``[group, expert]``."""
    table = counts.table(Context(), router).astype(np.int64)
    return table @ router.alphabet.membership.astype(np.int64) if counts.states == "subset" else table


def _sample_sizes(counts: Counts, rng: np.random.Generator, tick: Tick) -> tuple[LayerSampleSize, ...]:
    targets = counts.routers[1:] or counts.routers
    chosen = list(dict.fromkeys((targets[0], targets[(len(targets) - 1) // 2], targets[-1])))
    found = []
    streams = rng.spawn(len(chosen))
    for done, (router, own) in enumerate(zip(chosen, streams, strict=True)):
        tick("subsampling documents", done, len(chosen))
        loads = _inclusions(counts, router)
        tokens = loads.sum(axis=1) // router.top_k
        table = counts.table(Context.layer(1), router) if len(counts.routers) > 1 else None
        found_enough = sample_size(loads, tokens, own, tables=table, documents=counts.documents)
        found.append(LayerSampleSize(router, found_enough, unseen(loads)))
    tick("subsampling documents", len(found), len(chosen))
    return tuple(found)
