"""Routes of the expert view: one expert per layer, the most probable ones of a chain and the most frequent ones."""

from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from routestat.counting.document_sample import Sample, at_most
from routestat.counting.expert_routes import ExpertRows, rows_of_experts
from routestat.counting.paths import count_given
from routestat.inference.base.estimate import Estimate
from routestat.inference.base.tables import Floats
from routestat.inference.markov.chain import Chain
from routestat.progress import Tick, silent
from routestat.structure.frequent_routes import FrequentRoutes, frequent_routes
from routestat.structure.inclusion_chain import MOST_WORK, InclusionChain, fit_inclusion_chain
from routestat.structure.paths import Paths, k_best_paths
from routestat.structure.route_search import TooWideError, best_routes
from routestat.study.route_choice import ROUTE_CONTEXTS, RouteChoice
from routestat.study.route_evidence import RouteEvidence, evidence_of_rows
from routestat.traces.store import Trace

#: Tokens that routes are searched among: at least and at most.
FEWEST_ROWS, MOST_ROWS = 10_000, 50_000
STAGE = "finding routes through experts"


@dataclass(frozen=True)
class ExpertRouteFinding:
    """Routes through single experts; a token takes one if it chooses its expert in every layer.

    Attributes
    ----------
    choice : RouteChoice
        Of the order of the chain; its bits are those of one choice of an expert.
    dominant : Paths
        The most probable routes; probabilities are shares of tokens, which do not sum to one over the routes.
    dominant_evidence : tuple of RouteEvidence
    frequent : FrequentRoutes
    states : int array ``[route, layer]``
        Of each frequent route, the experts among those shared that the chain finds most probable together.
    probability : float array ``[route]``
        Of these, under the chain.
    tokens, documents : int array ``[route]``
        Tokens and documents of the trace that take these.
    evidence : tuple of RouteEvidence
    covered : float
        Share of the searched tokens that are on one of the frequent routes.
    note : str
        The part of the trace that was searched; empty if all of it.
    """

    choice: RouteChoice
    dominant: Paths
    dominant_evidence: tuple[RouteEvidence, ...]
    frequent: FrequentRoutes
    states: NDArray[np.int64]
    probability: Floats
    tokens: NDArray[np.int64]
    documents: NDArray[np.int64]
    evidence: tuple[RouteEvidence, ...]
    covered: float
    note: str = ""

    def lift(self, route: int) -> Estimate:
        """Return the share of the tokens over that expected under the chain, of a frequent route."""
        return self.evidence[route].lift(float(self.probability[route]))


@dataclass(frozen=True, slots=True, eq=False)
class _Within:
    """A chain on the routes that stay within some experts of each layer."""

    chain: InclusionChain
    allowed: tuple[NDArray[np.bool_], ...]

    @property
    def order(self) -> int:
        return self.chain.order

    @property
    def sizes(self) -> list[int]:
        return self.chain.sizes

    def roots(self) -> Floats:
        return self.chain.roots()

    def rows(self, layer: int, roots: NDArray[np.int64], last: NDArray[np.int64]) -> Floats:
        return np.asarray(self.chain.rows(layer, roots, last) * self.allowed[layer])

    def most(self, layer: int) -> Floats | None:
        return None


def find_expert_routes(
    trace: Trace, sample: Sample, chain: Chain, n_routes: int, n_tokens: int, tick: Tick = silent
) -> ExpertRouteFinding:
    """Find the most probable and the most frequent routes through single experts.

    Parameters
    ----------
    trace : Trace
        Read once more.
    sample : Sample
        Whole documents.
    chain : Chain
        Of order 1, whose own paths are listed where no token has a choice at every layer.
    n_routes : int
        Of each kind.
    n_tokens : int
        Tokens of the trace with a choice at every layer.
    tick : callable(what, done, total)
    """
    slots = max(router.top_k for router in sample.routers)
    fit = MOST_WORK // (slots**3 * max(1, len(sample.routers) - 2))
    part = at_most(sample, min(MOST_ROWS, max(FEWEST_ROWS, fit)))
    rows = rows_of_experts(part)
    if not len(rows):
        nothing = np.empty(0, np.int64)
        paths = k_best_paths(chain.initial, chain.transitions, n_routes)
        return ExpertRouteFinding(
            RouteChoice(
                "layer-1", note="no token has a choice at every layer: these are paths of the fitted chain"
            ),
            paths,
            tuple(_evidence(trace, rows, route) for route in paths.states),
            FrequentRoutes((), (), True),
            np.empty((0, len(sample.routers)), np.int64),
            np.empty(0),
            nothing,
            nothing,
            (),
            float("nan"),
        )
    choice, model, dominant = _dominant(rows, n_routes, tick)
    frequent = frequent_routes(rows, n_routes, progress=partial(tick, STAGE))
    states = [_representative(model, shared) for shared in frequent.shared]
    routes = np.array(states, np.int64).reshape(len(states), len(rows.routers))
    tokens, documents = count_given(trace, chain.layers, routes, "expert")
    covered = sum(map(len, frequent.rows)) / len(rows)
    return ExpertRouteFinding(
        choice,
        dominant,
        tuple(_evidence(trace, rows, route) for route in dominant.states),
        frequent,
        routes,
        np.exp2(model.log2_probability(routes)),
        tokens,
        documents,
        tuple(_evidence(trace, rows, route) for route in routes),
        covered,
        part.note,
    )


def _dominant(rows: ExpertRows, n_routes: int, tick: Tick) -> tuple[RouteChoice, InclusionChain, Paths]:
    """Return the chain of the order chosen on held-out documents, and its most probable routes."""
    highest, note = 3, ""
    while True:
        fitted = fit_inclusion_chain(rows, highest=highest, progress=partial(tick, STAGE))
        chain = fitted.chain
        try:
            found = best_routes(chain, n_routes)
        except TooWideError as error:
            if chain.order < 2:
                raise
            highest, note = chain.order - 1, f"not of order {chain.order}: {error}"
            continue
        bits = chain.log2_probability(found.states)
        losses = dict(zip(ROUTE_CONTEXTS, fitted.choice.log_loss, strict=False))
        over = ROUTE_CONTEXTS[chain.order - 1] if chain.order else ""
        gain = fitted.gain if fitted.gain is not None and np.isfinite(fitted.gain.low) else None
        choice = RouteChoice(
            ROUTE_CONTEXTS[chain.order], over if gain else "", gain, losses, note or fitted.refused
        )
        return choice, chain, Paths(found.states, bits, np.exp2(bits), n_routes)


def _representative(chain: InclusionChain, shared: tuple[tuple[int, ...], ...]) -> NDArray[np.int64]:
    """Return the most probable route within the shared experts: its lift is the smallest of all of them."""
    allowed = tuple(np.isin(np.arange(size), own) for size, own in zip(chain.sizes, shared, strict=True))
    return best_routes(_Within(chain, allowed), 1).states[0]


def _evidence(trace: Trace, rows: ExpertRows, route: NDArray[np.integer]) -> RouteEvidence:
    taken = rows.takes(route.tolist())
    return evidence_of_rows(
        trace, rows.document[taken], rows.token[taken], rows.group[taken], rows.tokens_of_group
    )
