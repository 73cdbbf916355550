"""All findings of one trace."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from routestat.counting.board_rows import BoardRows, board_rows
from routestat.counting.counts import Counts
from routestat.counting.document_sample import at_most
from routestat.counting.paths import PathCounts
from routestat.forecast.contexts import ContextFit
from routestat.forecast.designs import not_fitted as too_wide
from routestat.forecast.factorised import FactorisedChain
from routestat.forecast.gate import lookahead_columns
from routestat.forecast.history_predictor import HistoryPredictors
from routestat.forecast.scores import PredictionScore
from routestat.forecast.specification import BoardPlan
from routestat.inference.base.multiplicity import adjust_families
from routestat.inference.bayes.results import FullBayes
from routestat.inference.markov.chain import Chain
from routestat.progress import Tick, silent
from routestat.structure.route_graph import RouteGraph
from routestat.study.blocks import BlockFinding, find_blocks
from routestat.study.board_findings import COMPARED_WITH_GATE, BoardFindings, board_findings
from routestat.study.chain import chain_of_trace, posterior_of_chain, score_predictors
from routestat.study.contexts import MOST_ROWS, fit_for_study
from routestat.study.data_set import DataSetFindings, TrainingSet, data_set_findings
from routestat.study.information_budget import InformationBudget, information_budget
from routestat.study.layer_pairs import LayerPair, layer_pairs
from routestat.study.layers import AcrossLayers, LayerLoad, load_of_layer, measure_across_layers, sample_of
from routestat.study.level_checks import LevelChecks, check_levels
from routestat.study.memory import Memory, measure_memory
from routestat.study.model_facts import ModelFindings, measure_model
from routestat.study.modules import ModuleFindings, measure_modules
from routestat.study.parts import PARTS, with_needed
from routestat.study.route_graph import graph_of_routes
from routestat.study.routes import PathFinding, find_paths
from routestat.study.specialisation import SpecialisationFindings, measure_specialisation
from routestat.study.structure_plan import StructurePlan
from routestat.study.trace_notes import not_measured, notes_of
from routestat.study.transfer import require_training_set
from routestat.study.triples import TripleFinding, find_triples
from routestat.study.windows import WindowFindings, find_windows
from routestat.traces.clusters.summary import UnitSummary, summarise_units
from routestat.traces.dummy_rows.findings import Finding
from routestat.traces.metadata import Router, TraceMeta
from routestat.traces.store import Trace
from routestat.traces.token_texts import require_fitting


@dataclass(frozen=True)
class TraceOrigin:
    """Where the trace of a study lies, and how it was opened and counted.

    Attributes
    ----------
    folder, identity : str
        The folder or URL, and the hash of the store's manifest; empty for a trace in memory.
    cluster : str, optional
        As it was given to `Trace.open`.
    template, dummy_rows : str
    groups : int
        Groups of documents that tables are kept for.
    """

    folder: str
    identity: str
    cluster: str | None
    template: str
    dummy_rows: str
    groups: int


@dataclass(frozen=True)
class Study:
    """All findings of one trace; a part that was left out is None.

    `parts` names what was computed, in the order of `PARTS`. `adjusted_log10_p` holds log10 p-values of the families of
    tests that were computed, adjusted together after Benjamini and Yekutieli: by name of the family,
    ``[pair of layers]`` or ``[layer]``.
    """

    parts: tuple[str, ...]
    meta: TraceMeta
    origin: TraceOrigin
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
    level_checks: LevelChecks | None
    pairs: tuple[LayerPair, ...] | None
    budget: InformationBudget | None
    across_layers: AcrossLayers
    adjusted_log10_p: Mapping[str, NDArray[np.float64]]
    memory: Memory | None
    chain: Chain | None
    factorised: FactorisedChain | None
    history: HistoryPredictors | None
    bayes: FullBayes | None
    board: BoardFindings | None
    data_set: DataSetFindings | None
    not_fitted: Mapping[str, str]
    paths: PathFinding | None
    graph: RouteGraph | None
    windows: WindowFindings | None
    triples: tuple[TripleFinding, ...] | None
    blocks: tuple[BlockFinding, ...] | None
    modules: ModuleFindings | None
    specialisation: SpecialisationFindings | None
    model_facts: ModelFindings | None

    @property
    def mean_board(self) -> tuple[PredictionScore, ...] | None:
        """The scores of the predictors one layer ahead, pooled over the layers that all of them have."""
        return None if self.board is None else self.board.mean


# Threads share the pairs of layers; linear algebra that started threads of its own would compete with them.
@threadpool_limits.wrap(limits=1, user_api="blas")
def study(
    trace: Trace,
    counts: Counts,
    observed: PathCounts | None,
    rng: np.random.Generator,
    *,
    parts: Collection[str] = PARTS,
    alpha: str | float = "empirical-bayes",
    order: int | None = None,
    permutations: int = 0,
    bayes_draws: int = 0,
    plan: BoardPlan | None = None,
    structure: StructurePlan | None = None,
    data_set: bool = False,
    training: TrainingSet | None = None,
    domains: bool = False,
    threads: int | None = None,
    tick: Tick = silent,
) -> Study:
    """Compute all findings of one trace.

    Parameters
    ----------
    trace : Trace
        Read again for tables beyond those of `counts`.
    counts : Counts
        With the empty context, layer −1 and token −1.
    observed : PathCounts, optional
        Of the part paths.
    rng : numpy.random.Generator
        Every part has its own stream, which does not depend on the other parts.
    parts : collection of str
        Names in `PARTS`; what they need is computed too.
    alpha : str or float
        Prior of the chain.
    order : int, optional
        Of the chain in all gaps, 0 to 2; by default each gap has the order chosen on held-out documents.
    permutations : int
        Permutations of whole documents, a slow check of the tests of independence.
    bayes_draws : int
        Draws per chain of the full posterior; 0 for none.
    plan : BoardPlan, optional
        How predictors are fitted; by default as in `default_plan`.
    structure : StructurePlan, optional
        Which structure is looked for, and how.
    data_set : bool
        Whether to measure what the data set does to predictors; `training` and `domains` are ignored without it.
    training : TrainingSet, optional
        Also fit predictors to another trace.
    domains : bool
        Also predict every domain from every other.
    threads : int, optional
        All cores by default.
    tick : callable(what, done, total)
    """
    known = with_needed(parts, states=counts.states, order=order)
    recorded = lookahead_columns(trace.columns, counts.routers) if "prediction" in known else ()
    sample = cache(partial(sample_of, trace, counts, tick, [one.column for one in recorded]))
    # First, because it takes longest and fails at once where it does not apply. It alone draws from the generator
    # itself, so that everything else is the same with it and without.
    bayes = posterior_of_chain(counts, sample(), bayes_draws, rng, tick) if bayes_draws else None
    memory_rng, levels_rng = rng.spawn(2)
    shape = structure or StructurePlan()
    if shape.token_texts is not None:
        # A tokenizer of another model fails at once.
        require_fitting(shape.token_texts, sample().token)
    board = factorised = history = memory = chain = level_checks = pairs = None
    blocks = paths = graph = windows = modules = specialisation = None
    not_fitted: Mapping[str, str] = {}
    fits: tuple[ContextFit, ...] = ()
    how = plan or default_plan(trace, counts.routers, alpha, threads)
    rows: BoardRows | None = None
    if known & {"prediction", "memory"}:
        rows = board_rows(at_most(sample(), MOST_ROWS), counts.routers)
        if data_set and training is not None:
            require_training_set(rows.sample, training.sample)
        if counts.states == "subset":
            fits = fit_for_study(rows, how, memory="memory" in known, board="prediction" in known, tick=tick)
        if "prediction" in known:
            not_fitted = too_wide(rows) if counts.states == "expert" else {}
            scores, factorised, history = score_predictors(rows, counts.states, how, tick, fits)
            board = board_findings(scores, rows)
    of_data = None
    if rows is not None and board is not None and data_set:
        of_data = data_set_findings(
            trace.meta, rows.sample, board, counts.routers, counts.states, how, training, domains, tick
        )
    if "memory" in known:
        scored = board.scores if board else ()
        memory = measure_memory(trace, counts, sample(), scored, memory_rng, tick, threads, rows, fits, alpha)
    if "chain" in known:
        chain = chain_of_trace(trace, counts, alpha, order, memory, tick, threads)
    if "level-checks" in known:
        level_checks = check_levels(counts, sample(), levels_rng, tick, threads)
    if "dependence" in known:
        pairs = layer_pairs(
            trace, counts, sample(), rng, permutations=permutations, threads=threads, tick=tick
        )
    else:
        # The streams of the parts below are those of a whole study.
        rng.spawn(len(counts.routers) - 1)
    across_rng, blocks_rng = rng.spawn(2)
    across_layers = measure_across_layers(
        trace, counts, across_rng, tick, threads, known, sample() if "layer-map" in known else None
    )
    graph_rng, windows_rng, specialisation_rng = rng.spawn(3)
    if "blocks" in known:
        blocks = find_blocks(counts, shape, blocks_rng, tick, threads)
    if "paths" in known and chain is not None and observed is not None:
        paths = find_paths(trace, counts, sample(), chain, memory, observed, shape, tick, threads, rows)
        graph = graph_of_routes(counts, pairs, paths, graph_rng, tick)
    if "windows" in known:
        windows = find_windows(counts, sample(), memory, shape, windows_rng, tick, threads)
    triples = None
    if shape.triples:
        triples = find_triples(sample(), counts.states, rng.spawn(1)[0], tick, threads)
    if "modules" in known:
        modules = measure_modules(trace, counts, shape, sample, chain, factorised, rows, tick)
    if "specialisation" in known:
        specialisation = measure_specialisation(
            sample(), counts.states, shape.token_texts, specialisation_rng, tick, threads
        )
    return Study(
        parts=tuple(name for name in PARTS if name in known),
        meta=trace.meta,
        origin=_origin(trace, counts),
        states=counts.states,
        routers=counts.routers,
        n_tokens=counts.n_tokens,
        n_documents=counts.n_documents,
        units=summarise_units(trace, counts.n_documents, counts.clusters),
        not_measured=not_measured(trace, counts),
        n_groups=int(np.count_nonzero(counts.tokens)),
        complete=trace.complete,
        notes=notes_of(trace, counts, known, not_fitted),
        loads=tuple(load_of_layer(counts, router) for router in counts.routers),
        level_checks=level_checks,
        pairs=pairs,
        budget=_budget(pairs),
        across_layers=across_layers,
        adjusted_log10_p=adjust_families(_families(pairs, memory, across_layers)),
        memory=memory,
        chain=chain,
        factorised=factorised if chain is not None else None,
        history=history,
        bayes=bayes,
        board=board,
        data_set=of_data,
        not_fitted=not_fitted,
        paths=paths,
        graph=graph,
        windows=windows,
        triples=triples,
        blocks=blocks,
        modules=modules,
        specialisation=specialisation,
        model_facts=None if shape.model_facts is None else measure_model(counts, shape.model_facts),
    )


def default_plan(
    trace: Trace, routers: Sequence[Router], alpha: str | float, threads: int | None
) -> BoardPlan:
    """Return how predictors are fitted in the study of a trace: one layer ahead.

    Where the choices of gates from earlier layers were recorded, these are scored at every horizon that was recorded,
    and so is the predictor that they are compared with. Fits are not timed: the same trace gives the same report.
    """
    recorded = {one.horizon for one in lookahead_columns(trace.columns, routers)}
    horizons = tuple(sorted({1} | recorded))
    return BoardPlan(
        alpha, horizons, COMPARED_WITH_GATE, brief=True, calibrate=False, timed=False, threads=threads
    )


def _origin(trace: Trace, counts: Counts) -> TraceOrigin:
    folder = "" if trace.folder is None else str(trace.folder.resolve())
    return TraceOrigin(folder, trace.identity, trace.cluster, trace.template, trace.dummy_rows, counts.groups)


def _budget(pairs: tuple[LayerPair, ...] | None) -> InformationBudget | None:
    if pairs is None:
        return None
    skips = [pair.skip.information for pair in pairs if pair.skip is not None]
    return information_budget([pair.information for pair in pairs], skips)


def _families(
    pairs: tuple[LayerPair, ...] | None, memory: Memory | None, across_layers: AcrossLayers
) -> dict[str, list[float]]:
    """Collect log10 p-values by family of tests; NaN where there is no test, no family where a part is left out."""
    families: dict[str, list[float]] = {}
    if pairs is not None:
        families |= {
            "independence": [pair.test.log10_p_clustered for pair in pairs],
            "within_document": [pair.within.log10_p_clustered for pair in pairs],
            "beyond_token_type": [pair.token_types.log10_p if pair.token_types else np.nan for pair in pairs],
            "given_token": [
                pair.given_token.test.log10_p_clustered if pair.given_token else np.nan for pair in pairs
            ],
        }
    if memory is not None:
        families["skip"] = [
            item.clustered.log10_p_clustered if item.clustered else np.nan for item in memory.layers[1:]
        ]
    if across_layers.coactivation is not None:
        families["coactivation"] = [item.pooled.log10_p_clustered for item in across_layers.coactivation]
    return families
