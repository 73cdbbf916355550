"""The distribution of a layer's experts given the token id, backed off to the layer's load.

P(expert j is chosen | id) = (count of j with the id + s · load of j) / (tokens with the id + s). The strength s is for
each fold the one at which a model without the fold and the next one predicts that next fold best. An id that the other
folds do not have is predicted by the load.

Subsets have the conditional Bernoulli distribution with about these probabilities of inclusion (see
`routestat.forecast.exponents.near_log_weights`). As odds p / (1 − p) of independent experts they would be exaggerated,
because the experts of a token share k places.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from routestat.counting.board_rows import BoardRows
from routestat.counting.score_sums import finished, raw_sums, score_matrix
from routestat.forecast.exponents import near_log_weights
from routestat.forecast.made_scores import made_score
from routestat.forecast.ridge import least_error
from routestat.forecast.scores import Cost, PredictionScore
from routestat.forecast.specification import BoardPlan, PredictorSpec
from routestat.forecast.tempered import Loads
from routestat.inference.base.tables import Floats
from routestat.progress import Tick, in_threads, silent
from routestat.traces.metadata import Router

#: What the progress of the engine is called.
SCORING = "scoring token ids"
#: Strengths of the load, in tokens, among which one is chosen.
STRENGTHS = tuple(2.0**power for power in range(-6, 11))
# Probabilities this close to 0 or 1 are those that no data exclude.
_LEAST = 1e-9


@dataclass(frozen=True, slots=True)
class TokenIds:
    """The distinct token ids of some rows.

    Attributes
    ----------
    ids : int array ``[id]``
        Ascending.
    number : int array ``[row]``
        Each row's place among them, −1 where its id is unknown.
    """

    ids: NDArray[np.int32]
    number: NDArray[np.int64]

    @classmethod
    def of_rows(cls, rows: BoardRows) -> "TokenIds":
        """Return the ids of the rows of a board, numbered."""
        known = rows.token >= 0
        ids, place = np.unique(rows.token[known], return_inverse=True)
        number = np.full(len(rows), -1, np.int64)
        number[known] = place
        return cls(ids, number)


class TokenTables:
    """How often each expert of a target was chosen with each token id, by fold.

    Parameters
    ----------
    rows : BoardRows
    target : Router
    tokens : TokenIds
    alpha : str or float
        Dirichlet prior of the load.
    """

    def __init__(self, rows: BoardRows, target: Router, tokens: TokenIds, alpha: str | float) -> None:
        self.number, self.n_experts = tokens.number, target.n_experts
        self.loads = Loads(rows.loads(target).astype(np.int64), alpha, target.top_k)
        counted = rows.known(target) & (tokens.number >= 0)
        n_ids, experts = len(tokens.ids), rows.experts(target)
        self.counts, self.tokens = [], np.zeros((rows.n_folds, n_ids), np.int64)
        for fold in range(rows.n_folds):
            own = np.flatnonzero(counted & (rows.fold == fold))
            ids, chosen = tokens.number[own], experts[own].astype(np.int64)
            where = np.repeat(ids, target.top_k), chosen.ravel()
            table = sparse.coo_array((np.ones(chosen.size, np.int64), where), (n_ids, self.n_experts))
            self.counts.append(table.tocsr())
            self.tokens[fold] = np.bincount(ids, minlength=n_ids)
        self._total = sum(self.counts[1:], self.counts[0])

    @property
    def n_counts(self) -> int:
        """How many counts are above zero."""
        return int(self._total.count_nonzero())

    def without(self, out: Sequence[int], ids: NDArray[np.int64]) -> tuple[Floats, Floats, Floats]:
        """Return counts ``[id, expert]`` and tokens ``[id, 1]`` of some ids, and the load ``[expert]``.

        All are without the folds `out`. A number of −1, for an unknown id, has zeros.
        """
        counts, tokens = np.zeros((len(ids), self.n_experts)), np.zeros((len(ids), 1))
        known = ids >= 0
        chosen = ids[known]
        counts[known] = self._total[chosen].toarray()
        tokens[known, 0] = self.tokens[:, chosen].sum(axis=0)
        for fold in out:
            counts[known] -= self.counts[fold][chosen].toarray()
            tokens[known, 0] -= self.tokens[fold, chosen]
        return counts, tokens, self.loads.without(out)[0]


def inclusion_given_id(counts: Floats, tokens: Floats, load: Floats, strength: float) -> Floats:
    """P(expert is chosen | id), from counts ``[id, expert]``, tokens ``[id, 1]`` and a load ``[expert]``."""
    return np.asarray(np.clip((counts + strength * load) / (tokens + strength), _LEAST, 1.0 - _LEAST))


def score_token_ids(
    rows: BoardRows, specs: Sequence[PredictorSpec], view: str, plan: BoardPlan, tick: Tick = silent
) -> list[PredictionScore]:
    """Score the token id at every target: the engine of `TokenForm`.

    Arguments are those of every engine (`routestat.forecast.board.Engine`).

    Returns
    -------
    list of PredictionScore
        Empty without token ids, or where nothing can be held out.
    """
    if rows.n_folds < 2 or not rows.has_token_ids:
        return []
    tokens = TokenIds.of_rows(rows)
    jobs = [partial(_score, rows, target, tokens, specs, plan) for target in rows.routers]
    return [score for scores in in_threads(jobs, plan.threads, tick, SCORING) for score in scores]


def choose_strength(
    tables: TokenTables,
    number: NDArray[np.int64],
    actual: NDArray[np.integer],
    out: Sequence[int],
    start: float = 1.0,
) -> float:
    """Choose the strength of least log loss on some rows, for tables without the folds `out`.

    The loss is that of one of the chosen experts at a time, so that its cost does not grow with the experts.

    Parameters
    ----------
    tables : TokenTables
    number : int array ``[row]``
        The numbers of the rows' ids, −1 unknown.
    actual : int array ``[row, k]``
        Their chosen experts.
    out : sequence of int
        Among them the fold of the rows.
    start : float
        The one of `STRENGTHS` where the search begins; as a function of the strength the loss falls and then rises.
    """
    ids, place = np.unique(number, return_inverse=True)
    counts, tokens, load = tables.without(out, ids)
    chosen = actual.astype(np.intp)
    own, seen, share = counts[place[:, None], chosen], tokens[place], load[chosen]

    def loss(at: int) -> float:
        return -float(np.log(inclusion_given_id(own, seen, share, STRENGTHS[at])).sum())

    return STRENGTHS[least_error(loss, len(STRENGTHS), STRENGTHS.index(start))]


def _score(
    rows: BoardRows, target: Router, tokens: TokenIds, specs: Sequence[PredictorSpec], plan: BoardPlan
) -> list[PredictionScore]:
    begin = time.perf_counter()
    tables = TokenTables(rows, target, tokens, plan.alpha)
    actual, known = rows.experts(target), rows.known(target)
    folds = [np.flatnonzero((rows.fold == fold) & known) for fold in range(rows.n_folds)]
    strengths = dict[int, float]()
    for fold in rows.scored_folds or range(rows.n_folds):
        following = (fold + 1) % rows.n_folds
        own = folds[following]
        # Never from where another fold's search ended: that one has seen this fold.
        strengths[fold] = choose_strength(tables, tokens.number[own], actual[own], (fold, following))
    numbers = tables.n_counts + len(tokens.ids) + target.n_experts
    cost = Cost(numbers, float(target.n_experts), time.perf_counter() - begin)
    raw = raw_sums(len(rows.cells), target.top_k, plan.calibrate)
    for fold, strength in strengths.items():
        own = folds[fold]
        ids, place = np.unique(tokens.number[own], return_inverse=True)
        weights = near_log_weights(inclusion_given_id(*tables.without((fold,), ids), strength), target.top_k)
        score_matrix(weights[place], actual[own], rows.cell[own], "log-weight", raw)
        plan.keep(specs, 0, target, own, weights, "log-weight", place=place)
    sums = finished(raw, target.top_k, target.n_experts)
    return [made_score(rows, spec.name, target, 0, sums, cost) for spec in specs]
