"""Routes through the layers: the most probable ones of a chain, and the most frequent ones, with what takes them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from routestat.counting.board_rows import BoardRows, board_rows
from routestat.counting.counts import Counts
from routestat.counting.document_sample import Sample, at_most
from routestat.counting.paths import PathCounts, count_given
from routestat.forecast.contexts import context_rows
from routestat.inference.base.tables import Floats
from routestat.inference.markov.chain import Chain
from routestat.inference.smoothing.fitted_context import FittedContext, fit_context
from routestat.progress import Tick, in_threads, silent
from routestat.structure.paths import Paths, k_best_paths, path_log2_probability
from routestat.structure.route_search import TooWideError, best_routes
from routestat.structure.state_routes import StateRoutes
from routestat.study.contexts import CONTEXTS, MOST_ROWS
from routestat.study.expert_routes import ExpertRouteFinding, find_expert_routes
from routestat.study.memory import Memory
from routestat.study.route_choice import GIVEN_TOKEN, ROUTE_CONTEXTS, RouteChoice, choose_routes, context_of
from routestat.study.route_evidence import RouteEvidence, evidence_of
from routestat.study.structure_plan import StructurePlan
from routestat.traces.store import Trace

STAGE = "finding routes"


@dataclass(frozen=True)
class PathFinding:
    """The most probable paths of a chain, and the most frequent observed paths.

    Attributes
    ----------
    chain : Chain
        The chain of the report.
    choice : RouteChoice
        Of which chain these are the most probable paths.
    dominant : Paths
    dominant_token_ids : int array ``[path]``
        The token id that each dominant path is of; −1 where paths do not depend on it.
    dominant_tokens, dominant_documents : int array ``[path]``
        Tokens, of that id if there is one, and documents that took each dominant path.
    observed : PathCounts
    expected : float array ``[path]``
        Expected count of each observed path under the same chain; NaN in the expert view, where the chain has single
        experts as states and tokens choose subsets.
    dominant_evidence, observed_evidence : tuple of RouteEvidence
        What takes each path.
    experts : ExpertRouteFinding, optional
        Routes through single experts, of the expert view.
    texts : mapping of int to str
        The texts of the token ids that are named; empty without a tokenizer.
    """

    chain: Chain
    choice: RouteChoice
    dominant: Paths
    dominant_token_ids: NDArray[np.int64]
    dominant_tokens: NDArray[np.int64]
    dominant_documents: NDArray[np.int64]
    observed: PathCounts
    expected: NDArray[np.float64]
    dominant_evidence: tuple[RouteEvidence, ...] = ()
    observed_evidence: tuple[RouteEvidence, ...] = ()
    experts: ExpertRouteFinding | None = None
    texts: Mapping[int, str] = field(default_factory=dict)

    @property
    def dominant_expected(self) -> NDArray[np.float64]:
        """Expected count of each dominant path under the chain ``[path]``."""
        return self.observed.n_tokens * self.dominant.probability

    @property
    def observed_share(self) -> NDArray[np.float64]:
        """Share of the tokens that took each observed path ``[path]``."""
        return self.observed.tokens / self.observed.n_tokens


def find_paths(
    trace: Trace,
    counts: Counts,
    sample: Sample,
    chain: Chain,
    memory: Memory | None,
    observed: PathCounts,
    plan: StructurePlan,
    tick: Tick = silent,
    threads: int | None = None,
    rows: BoardRows | None = None,
) -> PathFinding:
    """Find the most probable paths of the chain chosen by the memory, and count them in the trace.

    Parameters
    ----------
    trace : Trace
        Read once more.
    counts : Counts
    sample : Sample
        Whole documents.
    chain : Chain
        Its order is that of the paths where there is no memory; its own paths are listed where no layer can be fitted.
    memory : Memory, optional
    observed : PathCounts
    plan : StructurePlan
    tick : callable(what, done, total)
    threads : int, optional
    rows : BoardRows, optional
        Rows of the sample that contexts are fitted to; by default about `MOST_ROWS` of them.
    """
    tick(STAGE, 0, len(counts.routers))
    experts = None
    token_ids = np.full(0, -1)
    if chain.states == "subset":
        own = rows or board_rows(at_most(sample, MOST_ROWS), counts.routers)
        choice, dominant, token_ids, expected_share = _state_routes(
            own, chain, memory, plan.n_paths, observed, tick, threads
        )
    else:
        experts = find_expert_routes(trace, sample, chain, plan.n_paths, observed.n_tokens, tick)
        choice, dominant = experts.choice, experts.dominant
        expected_share = np.full(len(observed.tokens), np.nan)
    token_ids = token_ids if len(token_ids) else np.full(len(dominant.states), -1)
    given = token_ids if (token_ids >= 0).any() else None
    tokens, documents = count_given(trace, chain.layers, dominant.states, chain.states, given)
    tick(STAGE, len(counts.routers), len(counts.routers))
    evidence = partial(evidence_of, trace, sample)
    of_dominant = (
        experts.dominant_evidence
        if experts
        else tuple(
            evidence(route, token_id=int(one)) for route, one in zip(dominant.states, token_ids, strict=True)
        )
    )
    of_observed = tuple(evidence(route) for route in observed.states)
    return PathFinding(
        chain,
        choice,
        dominant,
        token_ids,
        tokens,
        documents,
        observed,
        observed.n_tokens * expected_share,
        of_dominant,
        of_observed,
        experts,
        _texts(plan, (*of_dominant, *of_observed, *(experts.evidence if experts else ()))),
    )


def _texts(plan: StructurePlan, evidence: Sequence[RouteEvidence]) -> dict[int, str]:
    """Return the texts of the token ids that are named."""
    if (known := plan.token_texts) is None:
        return {}
    named = {token for one in evidence for token, _ in one.token_ids}
    return {token: known.texts[token] for token in sorted(named) if token in known.texts}


def _state_routes(
    rows: BoardRows,
    chain: Chain,
    memory: Memory | None,
    n_paths: int,
    observed: PathCounts,
    tick: Tick,
    threads: int | None,
) -> tuple[RouteChoice, Paths, NDArray[np.int64], Floats]:
    """Return the choice of the chain, its paths, their token ids, and the probabilities of the observed paths."""
    choice = choose_routes(memory, rows.token, rows.group, max(chain.orders, default=1))
    while True:
        try:
            model = _fitted(rows, choice, tick, threads)
            if model is None:
                break
            found = best_routes(model, n_paths)
        except TooWideError as error:
            if choice.order < 2 and not choice.given_token:
                raise
            choice = _simpler(choice, str(error))
            continue
        bits = model.log2_probability(found.roots, found.states)
        token_ids = model.token_ids[found.roots] if choice.given_token else np.full(len(bits), -1)
        share = model.probability(observed.states) if len(observed.states) else np.empty(0)
        return choice, Paths(found.states, bits, np.exp2(bits), n_paths), token_ids, share
    note = "a layer without tokens has no contexts: these are paths of the chain of order 1"
    paths = k_best_paths(chain.initial, chain.transitions, n_paths)
    share = np.full(len(observed.states), np.nan)
    if len(observed.states):
        share = 2.0 ** path_log2_probability(chain.initial, chain.transitions, observed.states)
    return RouteChoice("layer-1", note=note), paths, np.full(len(paths.states), -1), share


def _simpler(choice: RouteChoice, why: str) -> RouteChoice:
    """Return the chain to take where that which was chosen is too wide."""
    known = [name for name in ROUTE_CONTEXTS if name in choice.bits] or list(ROUTE_CONTEXTS[:2])
    context = known[-1] if choice.given_token else ROUTE_CONTEXTS[choice.order - 1]
    words = CONTEXTS[choice.context].words
    return replace(choice, context=context, over="", gain=None, note=f"not those given the {words}: {why}")


def _fitted(rows: BoardRows, choice: RouteChoice, tick: Tick, threads: int | None) -> StateRoutes | None:
    """Fit the distribution of every layer after its context to all rows; None where a layer has no tokens."""
    order = np.lexsort((rows.cell, rows.held_out))

    def fit(place: int) -> FittedContext | None:
        names = CONTEXTS[context_of(place, choice.context)].columns
        _, tokens = context_rows(rows, order, place, names)
        return fit_context(tokens, names) if len(tokens) else None

    jobs: list[Callable[[], FittedContext | None]] = [
        partial(fit, place) for place in range(len(rows.routers))
    ]
    steps = in_threads(jobs, threads, tick, STAGE)
    known = [step for step in steps if step is not None]
    if len(known) < len(steps):
        return None
    token_ids, shares = np.empty(0, np.int64), np.empty(0)
    if choice.context == GIVEN_TOKEN:
        token_ids, tokens = np.unique(rows.token[rows.token >= 0], return_counts=True)
        token_ids, shares = token_ids.astype(np.int64), tokens / len(rows)
    return StateRoutes(choice.order, known, token_ids, shares)
