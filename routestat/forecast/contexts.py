"""Contexts of the state view: one fit gives the log losses of the memory and the scores of the board."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from routestat.counting.board_rows import BoardRows
from routestat.counting.score_sums import ScoreSums, finished
from routestat.forecast.made_scores import made_score
from routestat.forecast.prediction_keeper import PredictionKeeper
from routestat.forecast.scores import Cost, PredictionScore
from routestat.forecast.specification import BoardPlan, ContextForm, PredictorSpec
from routestat.forecast.whole_distributions import DistributionScores, Keep, Nested
from routestat.inference.smoothing.context_counts import TokenRows
from routestat.inference.smoothing.held_out import HeldOut, held_out
from routestat.progress import Tick, in_threads, silent
from routestat.traces.metadata import Router

#: Variables of a context by name, in the order in which back-off adds them.
Columns = Mapping[str, tuple[str, ...]]
_NO_CONTEXT = "no token has what it looks at: a shorter context predicts"


@dataclass(frozen=True, eq=False)
class ContextFit:
    """Contexts of one target, fitted and scored on left-out groups of documents.

    Attributes
    ----------
    target : Router
    columns : mapping of name to tuple of str
        The contexts that the target has.
    scores : HeldOut
        By the same names.
    known : mapping of name to float
        Share of the tokens whose whole context is known; the others are predicted from a shorter one.
    sums : mapping of name to ScoreSums
        Of the contexts that were scored as predictors.
    costs : mapping of name to Cost
    """

    target: Router
    columns: Columns
    scores: HeldOut
    known: Mapping[str, float]
    sums: Mapping[str, ScoreSums] = field(default_factory=dict)
    costs: Mapping[str, Cost] = field(default_factory=dict)


def fit_contexts(
    rows: BoardRows,
    columns: Columns,
    *,
    scored: Collection[str] = (),
    forward: Collection[str] = (),
    plan: BoardPlan | None = None,
    specs: Sequence[PredictorSpec] = (),
    tick: Tick = silent,
) -> tuple[ContextFit, ...]:
    """Fit contexts of every router.

    Parameters
    ----------
    rows : BoardRows
        Of the state view.
    columns : mapping of name to tuple of str
        ``layer-n`` and ``token-n`` are the states n layers and n tokens earlier, ``token id`` is the token itself. A
        target has the contexts of which it has all variables.
    scored : collection of str
        Which of them to score as predictors.
    forward : collection of str
        Which of them to score forward too.
    plan : BoardPlan, optional
    specs : sequence of PredictorSpec
        The predictors that the scored contexts are, where the plan keeps predictions.
    tick : callable(what, done, total)
    """
    plan = plan or BoardPlan()
    # Contexts are counted group by group, and scored cell by cell: rows are put into this order once.
    order = np.lexsort((rows.cell, rows.held_out))
    jobs = [
        partial(_fit, rows, order, place, columns, scored, forward, plan, specs)
        for place in range(len(rows.routers))
    ]
    return in_threads(jobs, plan.threads, tick, "fitting contexts")


def score_context_forms(
    rows: BoardRows, specs: Sequence[PredictorSpec], view: str, plan: BoardPlan, tick: Tick = silent
) -> list[PredictionScore]:
    """Fit and score the predictors that are contexts: their engine."""
    columns = columns_of(rows, specs, plan)
    if not columns:
        return []
    fits = fit_contexts(rows, columns, scored=columns, plan=plan, specs=specs, tick=tick)
    return scores_of(rows, specs, plan, fits)


def columns_of(
    rows: BoardRows, specs: Sequence[PredictorSpec], plan: BoardPlan
) -> dict[str, tuple[str, ...]]:
    """Return the variables of all contexts that predictors need at the horizons of a plan.

    Contexts that no target has are left out. Farther ahead, the layer before becomes the layer n before. The first
    layers have what there is of a context of several layers.
    """
    wanted = [own for spec in specs for own in _contexts(spec, plan).values()]
    wanted += [_reduced(own, place) for own in wanted for place in range(1, len(rows.routers))]
    found = {context_name(own): own for own in wanted}
    known = {"token id"} if rows.has_token_ids else set()
    known |= {f"layer-{back}" for back in range(1, len(rows.routers))}
    return {
        name: own
        for name, own in found.items()
        if all(one in known or (one != "token id" and one.startswith("token")) for one in own)
    }


def scores_of(
    rows: BoardRows, specs: Sequence[PredictorSpec], plan: BoardPlan, fits: Sequence[ContextFit]
) -> list[PredictionScore]:
    """Return the scores of predictors from fits that hold their contexts, scored.

    Parameters
    ----------
    rows : BoardRows
        Those of the fits.
    specs : sequence of PredictorSpec
        Those without a context in the state view are left out.
    plan : BoardPlan
    fits : sequence of ContextFit
    """
    found = []
    for fit in fits:
        by_columns = {own: name for name, own in fit.columns.items() if name in fit.sums}
        place = rows.routers.index(fit.target)
        for spec in specs:
            for horizon, whole in _contexts(spec, plan).items():
                own = _reduced(whole, place)
                if own in by_columns:
                    name = by_columns[own]
                    known, note = fit.known[name], "" if fit.known[name] else _NO_CONTEXT
                    score = made_score(
                        rows, spec.name, fit.target, horizon, fit.sums[name], fit.costs[name], note=note
                    )
                    found.append(replace(score, context=name, known=known))
    return found


def context_name(columns: Sequence[str]) -> str:
    """Return the name of a context: its variables, the last added first; "nothing" without any."""
    return ",".join(reversed(columns)) or "nothing"


def _contexts(spec: PredictorSpec, plan: BoardPlan) -> dict[int, tuple[str, ...]]:
    """Return the variables of a predictor by horizon, which is 0 where it uses no earlier layer of the token."""
    if not isinstance(spec.states, ContextForm):
        return {}
    own = spec.states.columns
    if not any(name.startswith("layer-") for name in own):
        return {0: own}
    return {n: own if n == 1 else (f"layer-{n}",) for n in plan.horizons_of(spec)}


def _reduced(columns: tuple[str, ...], place: int) -> tuple[str, ...]:
    """Return what a target at a place has of a context: the layers there are; all of the context if there is none."""
    own = tuple(
        name for name in columns if not name.startswith("layer-") or int(name.removeprefix("layer-")) <= place
    )
    return own if any(name.startswith("layer-") for name in own) else columns


def _fit(
    rows: BoardRows,
    order: NDArray[np.intp],
    place: int,
    columns: Columns,
    scored: Collection[str],
    forward: Collection[str],
    plan: BoardPlan,
    specs: Sequence[PredictorSpec],
) -> ContextFit:
    target = rows.routers[place]
    kept, tokens = context_rows(rows, order, place, {name for own in columns.values() for name in own})
    own = {name: one for name, one in columns.items() if set(one) <= set(tokens.columns)}
    nested = {name: tuple(one[:n] for n in range(len(one) + 1)) for name, one in own.items()}
    watch = DistributionScores(
        tokens,
        target.alphabet,
        rows.cell[kept],
        rows.scored[kept],
        len(rows.cells),
        [nested[name] for name in scored if name in nested],
        plan.calibrate,
        _keepers(plan, specs, target, place, kept),
    )
    scores = held_out(tokens, nested, [name for name in forward if name in nested], watch=watch)
    # With fewer than two groups nothing is held out, and there are no scores.
    found = [name for name in scored if name in nested and nested[name] in watch.costs]
    return ContextFit(
        target,
        own,
        scores,
        {name: _share_known(tokens, one) for name, one in own.items()},
        {name: finished(watch.sums(nested[name]), target.top_k, target.n_experts) for name in found},
        {name: watch.cost(nested[name]) for name in found},
    )


def _keepers(
    plan: BoardPlan, specs: Sequence[PredictorSpec], target: Router, place: int, rows: NDArray[np.intp]
) -> dict[Nested, list[Keep]]:
    """Return what keeps the predictions of each sequence of contexts, of tokens that are these rows of the board."""
    found: dict[Nested, list[Keep]] = {}
    if plan.kept is None:
        return found
    for spec in specs:
        for horizon, whole in _contexts(spec, plan).items():
            if plan.kept.wants(spec.name, horizon):
                own = _reduced(whole, place)
                keep = partial(_keep, plan.kept, rows, spec.name, horizon, target)
                found.setdefault(tuple(own[:n] for n in range(len(own) + 1)), []).append(keep)
    return found


def _keep(
    kept: PredictionKeeper,
    rows: NDArray[np.intp],
    name: str,
    horizon: int,
    target: Router,
    tokens: NDArray[np.integer],
    inclusion: NDArray[np.float64],
    order: NDArray[np.float64],
    place: NDArray[np.integer],
) -> None:
    kept.add(name, horizon, target, rows[tokens], inclusion, "inclusion", order=order, place=place)


def _share_known(tokens: TokenRows, names: Sequence[str]) -> float:
    """Return the share of tokens whose whole context is known."""
    if not len(tokens):
        return float("nan")
    return float(np.all([tokens.columns[name] >= 0 for name in names], axis=0).mean()) if names else 1.0


def context_rows(
    rows: BoardRows, order: NDArray[np.intp], place: int, names: Collection[str]
) -> tuple[NDArray[np.intp], TokenRows]:
    """Collect the tokens with a known target, in this order, and the variables among `names` that there are."""
    target = _states(rows, place)
    columns = {}
    for name in names:
        kind, _, back = name.partition("-")
        if kind == "token" and back:
            columns[name] = _before(target, rows.follows, int(back))
        elif kind == "layer" and int(back) <= place:
            columns[name] = _states(rows, place - int(back))
        elif name == "token id" and rows.has_token_ids:
            columns[name] = rows.token
    if rows.scored_folds:
        # What no token to fit on has cannot be learned; as unknown, it is left to the shorter context.
        fitted = ~rows.scored & (target >= 0)
        columns = {
            name: column if (column[fitted] >= 0).any() else np.full_like(column, -1)
            for name, column in columns.items()
        }
    kept = order if (target >= 0).all() else order[target[order] >= 0]
    size = rows.routers[place].alphabet.size
    groups = max(rows.sample.groups, int(rows.held_out.max(initial=-1)) + 1)
    own = {name: column[kept] for name, column in columns.items()}
    return kept, TokenRows(target[kept], size, rows.held_out[kept], own, groups)


def _states(rows: BoardRows, place: int) -> NDArray[np.signedinteger]:
    """Return the states ``[row]`` of a router, −1 where missing."""
    router = rows.routers[place]
    states = rows.sample.columns[router.name]
    # Half the memory of 64 bits, and what the counts of contexts take.
    kind: type[np.signedinteger] = np.int32 if states.itemsize < np.int32().itemsize else np.int64
    signed: NDArray[np.signedinteger] = states.astype(kind)
    signed[states >= router.alphabet.size] = -1
    return signed


def _before(
    states: NDArray[np.signedinteger], follows: NDArray[np.bool_], back: int
) -> NDArray[np.signedinteger]:
    """Return the state `back` tokens earlier in the same document ``[row]``, −1 where there is none."""
    known = follows.copy()
    for step in range(1, back):
        known[step:] &= follows[:-step]
        known[:step] = False
    earlier = np.full_like(states, -1)
    earlier[back:][known[back:]] = states[:-back][known[back:]]
    return earlier
