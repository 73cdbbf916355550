"""Study: everything the report says of a trace, asked of the analysis rooms once and kept together."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import networkx as nx
import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from routestat.counting.context import Context
from routestat.counting.counts import Counts
from routestat.counting.document_sample import Sample
from routestat.counting.paths import PathCounts, count_given
from routestat.counting.strata import count_strata
from routestat.errors import RoutestatError
from routestat.forecast.board import expert_board, further_tables, mean_board, state_board
from routestat.forecast.factorised import FactorisedChain
from routestat.forecast.factorised_fit import fit_factorised
from routestat.forecast.scores import PredictionScore
from routestat.inference.association.cell_tests import CellTests, cell_tests
from routestat.inference.association.expert_independence import ExpertIndependence, independence_experts
from routestat.inference.association.independence import Independence, independence
from routestat.inference.association.minimum_effect import MinimumEffect, minimum_effect
from routestat.inference.base.multiplicity import adjust_families, adjust_log10
from routestat.inference.base.units import FEW_UNITS, effective_units, too_few
from routestat.inference.bayes.results import FullBayes
from routestat.inference.information.entropy import default_estimator, entropy
from routestat.inference.information.inclusion_information import inclusion_information
from routestat.inference.information.mutual_information import (
    InformationInterval,
    mutual_information,
    mutual_information_interval,
)
from routestat.inference.information.scarcity import Scarcity, scarcity
from routestat.inference.markov.chain import Chain
from routestat.structure.biclusters import (
    Blocks,
    NullShare,
    Stability,
    null_share,
    spectral_blocks,
    stability,
)
from routestat.structure.load_balance import Balance, load_balance
from routestat.structure.paths import Paths, k_best_paths, path_log2_probability
from routestat.structure.route_graph import route_graph
from routestat.study.aa_check import AACheck, check_levels
from routestat.study.chain import chain_of, second_orders
from routestat.study.decomposition import Budget, Decomposition, Tick, budget, decompose, sample_of
from routestat.study.layers import AcrossLayers, measure_across_layers
from routestat.study.memory import Memory, measure_memory
from routestat.traces.clusters.summary import UnitSummary, summarise_units
from routestat.traces.dummy_rows.findings import Finding, findings_of
from routestat.traces.metadata import Router, TraceMeta, layers_were_counted
from routestat.traces.number_ranges import span
from routestat.traces.store import Trace


@dataclass(frozen=True)
class LayerLoad:
    """How one router spreads its tokens; `entropy_bits` is of its states, in the expert view of its expert shares."""

    router: Router
    balance: Balance
    entropy_bits: float


@dataclass(frozen=True)
class Dependence:
    """One pair of layers: the table ``[source, target]``, its tests and its information.

    `log10_q_clustered` is the clustered p-value after Benjamini and Hochberg over all pairs of this trace; `scarce`
    says where there are too few tokens for the size of the table. `effect` and `cells` are None in the expert
    view. `iid_bits` is the estimate `iid_estimator` would give were tokens independent.
    """

    source: Router
    target: Router
    n_tokens: int
    n_documents: int
    table: NDArray[np.int64]
    test: Independence | ExpertIndependence
    information: InformationInterval
    scarce: Scarcity
    effect: MinimumEffect | None
    cells: CellTests | None
    iid_bits: float
    iid_estimator: str
    log10_q_clustered: float = float("nan")


@dataclass(frozen=True)
class BlockFinding:
    """Bi-clusters of one transition, how stable they are, and what noise would give."""

    source: Router
    target: Router
    blocks: Blocks
    stability: Stability
    null: NullShare


@dataclass(frozen=True)
class PathFinding:
    """Dominant paths of the chain, and the most frequent observed ones.

    `dominant_tokens` and `dominant_documents` ``[path]`` say how often each dominant path was really taken.
    `expected` is the chain's expectation of each observed path's count ``[path]``; NaN in the expert view, where
    the chain walks experts and tokens take subsets.
    """

    dominant: Paths
    dominant_tokens: NDArray[np.int64]
    dominant_documents: NDArray[np.int64]
    observed: PathCounts
    expected: NDArray[np.float64]
    graph: nx.DiGraph


@dataclass(frozen=True)
class Study:
    """All findings of one trace.

    `across` holds log10 p-values of several families, adjusted together after Benjamini and Yekutieli: by name of
    the family, ``[pair of layers]`` or ``[layer]``.
    """

    meta: TraceMeta
    states: str
    routers: tuple[Router, ...]
    n_tokens: int
    n_documents: int
    units: UnitSummary
    not_measured: tuple[Finding, ...]
    n_groups: int
    complete: bool
    notes: tuple[str, ...]
    loads: tuple[LayerLoad, ...]
    calibration: AACheck
    dependence: tuple[Dependence, ...]
    parts: tuple[Decomposition, ...]
    budget: Budget
    breadth: AcrossLayers
    across: Mapping[str, NDArray[np.float64]]
    memory: Memory
    chain: Chain
    factorised: FactorisedChain | None
    bayes: FullBayes | None
    board: tuple[PredictionScore, ...]
    mean_board: tuple[PredictionScore, ...]
    paths: PathFinding
    blocks: tuple[BlockFinding, ...]


def study(
    trace: Trace,
    counts: Counts,
    observed: PathCounts,
    rng: np.random.Generator,
    *,
    alpha: str | float = "empirical-bayes",
    order: int | None = None,
    n_blocks: int = 4,
    n_paths: int = 10,
    permutations: int = 0,
    bayes_draws: int = 0,
    tick: Tick = lambda what, done, total: None,
) -> Study:
    """Ask every room.

    Parameters
    ----------
    trace : Trace
        Read again to count the dominant paths and, in the expert view, to score decisions.
    counts : Counts
        With the contexts nothing, layer −1 and token −1.
    observed : PathCounts
    rng : numpy.random.Generator
        For the bi-clusters' starts, resamples and null draws.
    alpha : str or float
        Prior of the chain.
    order : int, optional
        Of the chain in all gaps, 0 to 2; unless given, each gap has the order that held-out documents ask for.
    n_blocks, n_paths, permutations : int
    bayes_draws : int
        Sample the full posterior too, so many draws a chain; 0: do not.
    tick : callable(what, done, in_all)
    """
    # Threads share the pairs of layers out; linear algebra that starts threads of its own would only crowd them.
    with threadpool_limits(limits=1, user_api="blas"):
        return _study(
            trace, counts, observed, rng, alpha, order, n_blocks, n_paths, permutations, bayes_draws, tick
        )


def _study(
    trace: Trace,
    counts: Counts,
    observed: PathCounts,
    rng: np.random.Generator,
    alpha: str | float,
    order: int | None,
    n_blocks: int,
    n_paths: int,
    permutations: int,
    bayes_draws: int,
    tick: Tick,
) -> Study:
    pairs = [(counts.source(target), target) for target in counts.routers[1:]]
    steps = [(source, target, counts.table(Context.layer(1), target)) for source, target in pairs if source]
    sample = sample_of(trace, counts, tick)
    # First, because it takes longest and says at once where it has nothing to work on.
    posterior = _full_bayes(counts, sample, bayes_draws, rng.spawn(1)[0], tick) if bayes_draws else None
    board, factorised = _board(trace, counts, alpha, tick)
    memory = measure_memory(trace, counts, sample, board, rng.spawn(1)[0], tick)
    chain = _chain(trace, counts, alpha, order, memory, tick)
    dependence = _adjusted(
        [
            _dependence(counts, source, target, table)
            for source, target, table in _ticking(steps, "testing dependence", tick)
        ]
    )
    calibration = check_levels(counts, sample, rng.spawn(1)[0], tick)
    parts = decompose(trace, counts, rng, permutations, tick, sample)
    breadth = measure_across_layers(trace, counts, rng.spawn(1)[0], tick)
    blocks = tuple(
        BlockFinding(source, target, *_blocks(table, n_blocks, rng))
        for source, target, table in _ticking(steps, "finding blocks", tick)
    )
    families = {
        "independence": [item.test.log10_p_clustered for item in dependence],
        "within_document": [item.within.log10_p_clustered for item in parts],
        "beyond_token_type": [item.vocabulary.log10_p if item.vocabulary else np.nan for item in parts],
        "given_token": [
            item.given_token.test.log10_p_clustered if item.given_token else np.nan for item in parts
        ],
        "skip": [
            item.clustered.log10_p_clustered if item.clustered else np.nan for item in memory.layers[1:]
        ],
        "coactivation": [item.pooled.log10_p_clustered for item in breadth.within],
    }
    return Study(
        meta=trace.meta,
        states=counts.states,
        routers=counts.routers,
        n_tokens=counts.n_tokens,
        n_documents=counts.n_documents,
        units=summarise_units(trace, counts.n_documents, counts.clusters),
        not_measured=_not_measured(trace, counts),
        n_groups=int(np.count_nonzero(counts.tokens)),
        complete=trace.complete,
        notes=_notes(trace, counts),
        loads=tuple(_load(counts, router) for router in counts.routers),
        calibration=calibration,
        dependence=dependence,
        parts=parts,
        budget=budget([item.information for item in dependence], parts),
        breadth=breadth,
        across=adjust_families(families),
        memory=memory,
        chain=chain,
        factorised=factorised,
        bayes=posterior,
        board=board,
        mean_board=mean_board(board),
        paths=_paths(trace, chain, observed, n_paths),
        blocks=blocks,
    )


def _ticking(items: Sequence[Any], what: str, tick: Tick) -> Any:
    for index, item in enumerate(items):
        tick(what, index, len(items))
        yield item
    tick(what, len(items), len(items))


def _not_measured(trace: Trace, counts: Counts) -> tuple[Finding, ...]:
    return findings_of(trace, layers=[router.layer for router in counts.routers])


def _notes(trace: Trace, counts: Counts) -> tuple[str, ...]:
    groups = int(np.count_nonzero(counts.tokens))
    notes = [
        note
        for note in (
            trace.note,
            counts.note,
            *summarise_units(trace, counts.n_documents, counts.clusters).sentences(),
            *(finding.sentence for finding in _not_measured(trace, counts)),
        )
        if note
    ]
    if layers_were_counted(trace.meta):
        notes.append(
            f"the source does not number its layers: {span(trace.meta.layers)} are only their order in it; name them "
            "with convert --layers"
        )
    if not trace.complete:
        notes.append("the writer of this trace stopped before closing it; what it had finished is analysed")
    sizes_of_units = counts.tokens[counts.tokens > 0]
    if groups < 2:
        several = "cluster" if counts.n_clusters < 2 else "group"
        one = "one document" if counts.n_documents < 2 else f"one {several} of {counts.n_documents} documents"
        notes.append(f"all tokens are of {one}: there is nothing to hold out and no interval to give")
    elif why := too_few(sizes_of_units):
        notes.append(f"{why}. What the figures show may be chance, and what they do not show may be there")
    elif groups < FEW_UNITS:
        notes.append(
            f"only {groups} groups of documents: intervals and clustered p-values are rough below {FEW_UNITS}"
        )
    elif (effective := effective_units(sizes_of_units)) < FEW_UNITS:
        notes.append(
            f"{groups} groups of documents, but a few hold most tokens: they weigh no more than {effective:.0f} "
            f"of one size, and intervals and clustered p-values are rough below {FEW_UNITS}"
        )
    if counts.states == "expert":
        sizes = max(router.alphabet.size for router in counts.routers)
        notes.append(
            f"expert view: {sizes:,} subsets are too many to count one by one, so tables count experts"
        )
    return tuple(notes)


def _load(counts: Counts, router: Router) -> LayerLoad:
    table = counts.table(Context(), router).astype(np.int64)
    if counts.states == "subset":
        experts, tokens = table @ router.alphabet.membership.astype(np.int64), table.sum(axis=1)
    else:
        experts, tokens = table, table.sum(axis=1) // router.top_k
    total = table.sum(axis=0)
    bits = entropy(total) if total.any() else float("nan")
    return LayerLoad(router, load_balance(experts, tokens, router.top_k), bits)


def _dependence(counts: Counts, source: Router, target: Router, table: NDArray) -> Dependence:
    tables = table.astype(np.int64)
    cells = 1 if counts.states == "subset" else source.top_k * target.top_k
    tokens = tables.sum(axis=(1, 2)) // cells
    test: Independence | ExpertIndependence
    if counts.states == "subset":
        test = independence(tables)
    else:
        # Every expert of a token's source meets all k of its target, so margins hold each inclusion k times.
        sources, targets = tables.sum(axis=2) // target.top_k, tables.sum(axis=1) // source.top_k
        test = independence_experts(tables, sources, targets, tokens)
    documents = int(counts.documents[tokens > 0].sum())
    information = (
        mutual_information_interval(tables)
        if counts.states == "subset"
        else inclusion_information(tables, source.top_k, target.top_k)
    )
    total = tables.sum(axis=0)
    in_use = int(np.count_nonzero(total.sum(axis=0)) * np.count_nonzero(total.sum(axis=1)))
    estimator, _ = default_estimator(float(total.sum()) / cells, in_use)
    states = counts.states == "subset"
    return Dependence(
        source,
        target,
        int(tokens.sum()),
        documents,
        total,
        test,
        information,
        scarcity(total, cells, test.design_effect if isinstance(test, Independence) else 1.0),
        minimum_effect(tables) if states else None,
        cell_tests(tables) if states else None,
        mutual_information(total, estimator) if states else float("nan"),
        estimator if states else "",
    )


def _adjusted(family: list[Dependence]) -> tuple[Dependence, ...]:
    adjusted = adjust_log10([item.test.log10_p_clustered for item in family]).tolist() if family else []
    return tuple(replace(item, log10_q_clustered=q) for item, q in zip(family, adjusted, strict=True))


def _full_bayes(
    counts: Counts, sample: Sample, draws: int, rng: np.random.Generator, tick: Tick
) -> FullBayes:
    # PyMC takes seconds to load, and most runs never ask for it.
    from routestat.inference.bayes.sampler import full_bayes  # noqa: PLC0415

    routers = counts.routers
    if counts.states == "expert":
        raise RoutestatError(
            "--bayes full wants states: k experts of a token are no independent draws; leave it out"
        )
    triples = [
        count_strata(sample, before, target, via)
        for before, via, target in zip(routers, routers[1:], routers[2:], strict=False)
    ]
    return full_bayes(
        counts.table(Context(), routers[0]),
        [counts.table(Context.layer(1), router) for router in routers[1:]],
        triples,
        rng,
        layers=[router.layer for router in routers],
        draws=draws,
        tune=draws,
        progress=lambda done, total: tick("sampling the posterior", done, total),
    )


def _chain(
    trace: Trace, counts: Counts, alpha: str | float, order: int | None, memory: Memory, tick: Tick
) -> Chain:
    """The chain of the order asked for, or of the orders that the memory calls for."""
    tick("fitting the chain", 0, 1)
    gaps = len(counts.routers) - 1
    orders = [order] * gaps if order is not None else list(memory.orders) or [1] * gaps
    if counts.states == "expert":
        orders = [1] * gaps
    second = second_orders(trace, counts, alpha, [one == 2 for one in orders], memory.strengths, tick)
    # The first gap has no layer two before it, and wide alphabets have no tables of order 2.
    orders = [1 if one == 2 and fitted is None else one for one, fitted in zip(orders, second, strict=True)]
    chain = chain_of(counts, alpha, second, orders)
    tick("fitting the chain", 1, 1)
    return chain


def _board(
    trace: Trace, counts: Counts, alpha: str | float, tick: Tick
) -> tuple[tuple[PredictionScore, ...], FactorisedChain | None]:
    if counts.states == "subset":
        beside = further_tables(trace, counts)
        return state_board(counts, alpha, partial(tick, "scoring predictors"), beside), None
    if np.count_nonzero(counts.tokens) < 2:
        return expert_board(counts, (), {}), None
    return fit_factorised(trace, counts, alpha, progress=tick)


def _blocks(table: NDArray, n_blocks: int, rng: np.random.Generator) -> tuple[Blocks, Stability, NullShare]:
    total = table.sum(axis=0, dtype=np.int64)
    blocks = spectral_blocks(total, n_blocks, rng)
    return blocks, stability(table, blocks, rng, n_resamples=10), null_share(total, n_blocks, rng, n_draws=5)


def _paths(trace: Trace, chain: Chain, observed: PathCounts, n_paths: int) -> PathFinding:
    initial, transitions = chain.initial, chain.transitions
    dominant = k_best_paths(initial, transitions, n_paths)
    tokens, documents = count_given(trace, chain.layers, dominant.states, chain.states)
    expected = np.full(len(observed.tokens), np.nan)
    if chain.states == "subset" and len(expected):
        expected = observed.n_tokens * 2.0 ** path_log2_probability(initial, transitions, observed.states)
    names = [router.name for router in observed.routers]
    graph = route_graph(chain.layers, initial, transitions, dominant, labels=_labels(chain), names=names)
    return PathFinding(dominant, tokens, documents, observed, expected, graph)


def _labels(chain: Chain) -> list[list[str]]:
    labels = []
    for n_experts, top_k in zip(chain.n_experts, chain.top_k, strict=True):
        router = Router(0, n_experts, top_k)
        if chain.states == "expert":
            labels.append([str(expert) for expert in range(n_experts)])
        else:
            rows = router.alphabet.unrank(np.arange(router.alphabet.size)).tolist()
            labels.append([",".join(map(str, row)) for row in rows])
    return labels
