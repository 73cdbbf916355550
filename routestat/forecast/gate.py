"""The recorded gate: what a layer's own gate chooses from the hidden state of an earlier layer.

A trace that was captured with ``--lookahead`` has the column ``L03.ahead2``: the choice of the gate of layer 5, applied
to the state of layer 3. It is a set: its experts are ordered by the layer's load, and all others follow, by load too.

For probabilities the log weights of the conditional Bernoulli distribution are those of the load, plus one number c for
each expert that was recorded. c is fitted by maximum likelihood, for each fold on the next one, with the load of all
folds but these two. A token without a recorded choice is predicted by the load.
"""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq

from routestat.counting.board_rows import BoardRows, missing_of
from routestat.counting.experts import expert_rows
from routestat.counting.score_sums import SUMS, ScoreSums, finished, raw_sums, score_matrix
from routestat.errors import RoutestatError
from routestat.forecast.exponents import PULL
from routestat.forecast.made_scores import made_score
from routestat.forecast.scores import Cost, PredictionScore
from routestat.forecast.specification import BoardPlan, PredictorSpec
from routestat.forecast.tempered import Loads
from routestat.inference.base.tables import Floats
from routestat.progress import Tick, in_threads, silent
from routestat.traces.metadata import Router

#: What the progress of the engine is called.
SCORING = "scoring the recorded gate"
#: Tokens of a fold that c is fitted to, evenly spaced: its error is then far below what changes a probability.
FITTED = 2048
# With the Gaussian prior of precision PULL the greatest likelihood lies within these limits.
_LEAST, _MOST = -40.0, 40.0


@dataclass(frozen=True, slots=True)
class Lookahead:
    """One recorded column.

    Attributes
    ----------
    column : str
        Its name in the trace.
    source, target : Router
        Whose state was used, and whose choice is predicted.
    horizon : int
        Routers from source to target; the number in the column's name counts layers, also those without a router.
    """

    column: str
    source: Router
    target: Router
    horizon: int


def lookahead_columns(columns: Collection[str], routers: Sequence[Router]) -> tuple[Lookahead, ...]:
    """Return the recorded choices of gates among the columns of a trace.

    Their names are the companions that the rows of a board need (see `routestat.counting.document_sample.take_sample`).

    Parameters
    ----------
    columns : collection of str
        ``trace.columns``, or those of a sample.
    routers : sequence of Router
        Those that are predicted, in order of depth. A column whose source or target is not among them is left out, and
        one whose target's layer has several of them.

    Returns
    -------
    tuple of Lookahead
        By source, then by horizon.

    Raises
    ------
    RoutestatError
        If source and target have different alphabets: the states of a column are those of its source.
    """
    layers = [router.layer for router in routers]
    found = []
    for place, source in enumerate(routers):
        for at in range(place + 1, len(routers)):
            target, n = routers[at], routers[at].layer - source.layer
            name = f"{source.name}.ahead{n}"
            if n < 1 or name not in columns or layers.count(target.layer) > 1:
                continue
            if (source.n_experts, source.top_k) != (target.n_experts, target.top_k):
                raise RoutestatError(
                    f"{name}: expected choices of {target.top_k} of {target.n_experts} experts, as {target.name} makes "
                    f"them, found states of {source.top_k} of {source.n_experts}; leave the column out of the trace"
                )
            found.append(Lookahead(name, source, target, at - place))
    return tuple(found)


def score_gate(
    rows: BoardRows, specs: Sequence[PredictorSpec], view: str, plan: BoardPlan, tick: Tick = silent
) -> list[PredictionScore]:
    """Score the recorded gate at every horizon of the plan that was recorded: the engine of `GateForm`.

    Parameters
    ----------
    rows : BoardRows
        Of a sample with the companions of `lookahead_columns`.
    specs : sequence of PredictorSpec
    view : {"subset", "expert"}
        Both are the same here: the most probable set holds the most probable experts.
    plan : BoardPlan
    tick : callable(what, done, total)

    Returns
    -------
    list of PredictionScore
        Empty without such columns, or where nothing can be held out; a column without any choice is left out.

    Raises
    ------
    RoutestatError
        If a column has states that its target does not have.
    """
    if rows.n_folds < 2:
        return []
    recorded = lookahead_columns(rows.sample.columns, rows.routers)
    chosen = [one for one in recorded if one.horizon in plan.horizons]
    jobs = [partial(_score, rows, one, specs, plan) for one in chosen]
    return [score for scores in in_threads(jobs, plan.threads, tick, SCORING) for score in scores]


def early_choices(rows: BoardRows, one: Lookahead) -> NDArray[np.unsignedinteger]:
    """Return the recorded experts ``[row, k]``, ascending; a missing choice holds `missing_of` the target.

    They are not kept: a trace has many such columns, and each is read once.

    Raises
    ------
    RoutestatError
        If a state is none of the target's.
    """
    values, target = rows.sample.columns[one.column], one.target
    missing = target.alphabet.missing if values.ndim == 1 else missing_of(target)
    size = target.alphabet.size if values.ndim == 1 else target.n_experts
    worst = int(values[values != missing].max(initial=0))
    if worst >= size:
        raise RoutestatError(
            f"{one.column}: expected values below {size:,}, as {target.top_k} of {target.n_experts} experts have, "
            f"found {worst:,}; leave the column out of the trace"
        )
    return expert_rows(values, target)


def fit_bonus(base: Floats, named: NDArray[np.bool_], actual: NDArray[np.integer]) -> float:
    """Fit what a recorded expert's log weight has in addition, c, by maximum likelihood.

    Given the weights w of the load, the number m of recorded experts among the chosen ones is sufficient for c, and
    P(m) is proportional to exp(c·m) · e_m(w of the recorded) · e_(k − m)(w of the others), where e are elementary
    symmetric polynomials. The log likelihood is concave; a Gaussian prior of precision `PULL` keeps c finite.

    Parameters
    ----------
    base : float array ``[expert]``
        Log weights of the load.
    named : bool array ``[row, expert]``
        The recorded experts.
    actual : int array ``[row, k]``

    Returns
    -------
    float
        0 without rows.
    """
    top_k = actual.shape[1]
    found = np.take_along_axis(named, actual.astype(np.intp), axis=1).sum(axis=1)
    recorded, others = (_symmetric(np.exp(base), chosen, top_k) for chosen in (named, ~named))
    with np.errstate(divide="ignore"):
        heights = np.log(recorded * others[::-1])
    numbers = np.arange(top_k + 1.0)

    def slope(bonus: float) -> float:
        height = heights + bonus * numbers[:, None]
        weight = np.exp(height - height.max(axis=0))
        return float((found - numbers @ weight / weight.sum(axis=0)).sum() - PULL * bonus)

    return float(brentq(slope, _LEAST, _MOST, xtol=1e-6)) if len(actual) else 0.0


def _symmetric(weights: Floats, chosen: NDArray[np.bool_], top_k: int) -> Floats:
    """Elementary symmetric polynomials ``[0 … k, row]`` of those weights ``[expert]`` that a row has chosen."""
    found = np.zeros((top_k + 1, len(chosen)))
    found[0] = 1.0
    for weight, here in zip(weights, np.ascontiguousarray(chosen.T), strict=True):
        found[1:] += weight * here * found[:-1]
    return found


def _members(
    experts: NDArray[np.unsignedinteger], known: NDArray[np.bool_], n_experts: int
) -> NDArray[np.bool_]:
    """Mark the experts of each row ``[row, expert]``; none where they are not known."""
    marked = np.zeros((len(experts), n_experts), np.bool_)
    rows = np.flatnonzero(known)
    marked[rows[:, None], experts[rows]] = True
    return marked


@dataclass(frozen=True, slots=True)
class _FoldFit:
    """The gate's predictions of one target from one column, fold by fold."""

    rows: BoardRows
    target: Router
    horizon: int
    named: NDArray[np.bool_]
    loads: Loads
    #: Rows where both the recorded and the actual choice are known, and rows where the actual one is.
    both: NDArray[np.bool_]
    known: NDArray[np.bool_]

    def bonus(self, fold: int) -> float:
        """Fit c for a fold, on the next fold and with the load of all others."""
        following = (fold + 1) % self.rows.n_folds
        chosen = np.flatnonzero((self.rows.fold == following) & self.both)
        chosen = chosen[:: max(1, -(-len(chosen) // FITTED))]
        base = self.loads.without((fold, following))[1]
        return fit_bonus(base, self.named[chosen], self.rows.experts(self.target)[chosen])

    def score(
        self,
        fold: int,
        bonus: float,
        ranked: Floats,
        weighed: Floats,
        specs: Sequence[PredictorSpec],
        plan: BoardPlan,
    ) -> None:
        """Add the scores of a fold: of the order to `ranked`, of the probabilities to `weighed`."""
        chosen = np.flatnonzero((self.rows.fold == fold) & self.known)
        share, base = self.loads.without((fold,))
        named, cell = self.named[chosen], self.rows.cell[chosen]
        actual = self.rows.experts(self.target)[chosen]
        order, weights = share + 2.0 * named, base + bonus * named
        score_matrix(order, actual, cell, "rank", ranked)
        score_matrix(weights, actual, cell, "log-weight", weighed)
        plan.keep(specs, self.horizon, self.target, chosen, weights, "log-weight", order=order)


def _score(
    rows: BoardRows, one: Lookahead, specs: Sequence[PredictorSpec], plan: BoardPlan
) -> list[PredictionScore]:
    target, early = one.target, early_choices(rows, one)
    recorded, known = early[:, 0] != missing_of(target), rows.known(target)
    if not (recorded & known).any():
        return []
    loads = Loads(rows.loads(target).astype(np.int64), plan.alpha, target.top_k)
    named = _members(early, recorded, target.n_experts)
    fit = _FoldFit(rows, target, one.horizon, named, loads, recorded & known, known)
    begin = time.perf_counter()
    bonuses = {fold: fit.bonus(fold) for fold in rows.tested_folds}
    cost = Cost(target.n_experts + 1, float("nan"), time.perf_counter() - begin)
    ranked = raw_sums(len(rows.cells), target.top_k, False)
    weighed = raw_sums(len(rows.cells), target.top_k, plan.calibrate)
    for fold, bonus in bonuses.items():
        fit.score(fold, bonus, ranked, weighed, specs, plan)
    sums = _together(*(finished(raw, target.top_k, target.n_experts) for raw in (ranked, weighed)))
    note = _note(target, float(recorded[known].mean()))
    return [made_score(rows, spec.name, target, one.horizon, sums, cost, note=note) for spec in specs]


def _together(ranked: ScoreSums, weighed: ScoreSums) -> ScoreSums:
    """Return the sums of the order, with bits, squared errors and calibration of the probabilities."""
    sums = ranked.sums.copy()
    for name in ("bits", "brier"):
        sums[:, SUMS.index(name)] = weighed.sums[:, SUMS.index(name)]
    return ScoreSums(sums, weighed.calibration)


def _note(target: Router, recorded: float) -> str:
    note = (
        f"needs the hidden state of the source layer, and of multiply-adds its width × {target.n_experts}, "
        "which the trace does not hold"
    )
    return (
        note
        if recorded == 1.0
        else f"{note}; {1 - recorded:.1%} of tokens have no recorded choice: the load answers"
    )
