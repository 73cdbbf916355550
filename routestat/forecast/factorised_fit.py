"""Fit and score the predictors that are linear in experts, and the factorised chain with them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from routestat.counting.board_rows import BoardRows
from routestat.counting.moments import Design, Moments, count_moments
from routestat.counting.predictor_scores import LinearPredictor, count_decisions
from routestat.errors import RoutestatError
from routestat.forecast.designs import (
    TargetPlan,
    not_fitted,
    order_of,
    parts_in_memory,
    plan_target,
    tempered_specs,
)
from routestat.forecast.factorised import FactorisedChain
from routestat.forecast.linear_fit import further_predictors, linear_predictors
from routestat.forecast.made_scores import made_score
from routestat.forecast.scores import Cost, PredictionScore
from routestat.forecast.specification import BoardPlan, LinearForm, PredictorSpec, TemperedModel
from routestat.forecast.tempered import Loads, Tempered, fit_load, fit_tempered
from routestat.inference.base.tables import Floats, read_only
from routestat.inference.conditional_bernoulli.distribution import fit_log_weights
from routestat.inference.smoothing.prior import resolve_alpha
from routestat.progress import Tick, in_threads, silent
from routestat.traces.metadata import Router

#: The stages of the fit, as its progress names them.
COUNTING, FITTING, SCORING = "counting for predictors", "fitting predictors", "scoring predictors"
#: Bytes of tables and predictors of the targets that are fitted together: for a long trace, for a short one, and for
#: each token between them. A pass over a short trace costs little.
MOST_MEMORY, LEAST_MEMORY, MEMORY_PER_TOKEN = 768 << 20, 128 << 20, 4 << 10
#: Models of the chain by (place of the router, order): biases and weights.
Models = dict[tuple[int, int], tuple[NDArray[np.float32], NDArray[np.float32]]]


@threadpool_limits.wrap(limits=1, user_api="blas")
def fit_linear(
    rows: BoardRows,
    specs: Sequence[PredictorSpec],
    view: str,
    plan: BoardPlan | None = None,
    tick: Tick = silent,
    *,
    memory: int | None = None,
) -> tuple[list[PredictionScore], FactorisedChain | None]:
    """Fit and score the linear and tempered predictors, and fit the factorised chain of the expert view.

    Counts per fold of documents say how often the experts of each target's sources occur together; from these tables
    all is fitted. Where tables and weights of all targets do not fit in memory, targets are taken a part at a time. A
    target of E experts after m layers takes about 50 Cholesky factors of order m·E, and every predictor k·E operations
    a token. Models with as many features as tokens are left out (`routestat.forecast.designs.not_fitted`).

    Parameters
    ----------
    rows : BoardRows
    specs : sequence of PredictorSpec
        Those of other forms are ignored.
    view : {"subset", "expert"}
    plan : BoardPlan, optional
    tick : callable(what, done, total)
    memory : int, optional
        Bytes, roughly, of the targets that are fitted together; one is fitted whatever it takes. By default it
        grows with the tokens, from 128 to 768 MiB.

    Returns
    -------
    list of PredictionScore, FactorisedChain or None
        All predictors of a target are scored on the same tokens. The chain has a model of each registered number of
        layers; None in the state view, or with fewer than two folds.
    """
    plan = plan or BoardPlan()
    if rows.n_folds < 2:
        return [], None
    too_wide = not_fitted(rows, specs)
    linear = [spec for spec in specs if isinstance(spec.form(view), LinearForm | TemperedModel)]
    chosen = [spec for spec in linear if spec.name not in too_wide]
    tempered = [spec for spec in chosen if isinstance(spec.form(view), TemperedModel)]
    models: Models = _loads(rows, plan.alpha) if view == "expert" else {}
    targets = [plan_target(rows.routers, place, tempered) for place in range(len(rows.routers))]
    default = min(MOST_MEMORY, max(LEAST_MEMORY, MEMORY_PER_TOKEN * len(rows)))
    parts = list(parts_in_memory(targets, rows.n_folds, default if memory is None else memory))
    board: list[PredictionScore] = []
    for number, part in enumerate(parts):
        ticked = _tick_of_part(tick, number, len(parts))
        fit = _PartFit(rows, part, chosen, view, plan)
        predictors = fit.predictors(models, ticked)
        board += _scored(rows, predictors, chosen, plan, ticked)
    for predictors in further_predictors(rows, chosen, view, plan).values():
        board += _scored(rows, predictors, chosen, replace(plan, calibrate=False), tick)
    if view != "expert":
        return board, None
    chain = FactorisedChain(
        tuple(router.layer for router in rows.routers),
        tuple(router.n_experts for router in rows.routers),
        tuple(router.top_k for router in rows.routers),
        {key: bias for key, (bias, _) in models.items()},
        {key: weights for key, (_, weights) in models.items()},
        read_only(np.bincount(rows.fold, minlength=rows.n_folds).astype(np.int64)),
    )
    return board, chain


def score_linear(
    rows: BoardRows, specs: Sequence[PredictorSpec], view: str, plan: BoardPlan, tick: Tick = silent
) -> list[PredictionScore]:
    """Score the linear and tempered predictors: their engine."""
    return fit_linear(rows, specs, view, plan, tick)[0]


def fit_factorised(
    rows: BoardRows,
    alpha: str | float = "empirical-bayes",
    *,
    orders: Sequence[int] | None = None,
    threads: int | None = None,
    tick: Tick = silent,
) -> FactorisedChain:
    """Fit the factorised chain alone.

    Parameters
    ----------
    rows : BoardRows
    alpha : str or float
    orders : sequence of int, optional
        How many layers back its models look, of the registered numbers (all).
    threads : int, optional
    tick : callable(what, done, total)

    Raises
    ------
    RoutestatError
        If fewer than two groups of documents hold tokens.
    """
    specs = [spec for spec in tempered_specs(orders) if order_of(spec)]
    _, chain = fit_linear(rows, specs, "expert", BoardPlan(alpha, threads=threads), tick)
    if chain is None:
        raise RoutestatError(
            "the factorised chain needs two or more groups of documents, got one; record more documents"
        )
    return chain


def _scored(
    rows: BoardRows,
    predictors: Sequence[LinearPredictor],
    specs: Sequence[PredictorSpec],
    plan: BoardPlan,
    tick: Tick,
) -> list[PredictionScore]:
    """Score the requested predictors; popularity may only answer for others."""
    wanted = {spec.name: spec for spec in specs}
    own = [predictor for predictor in predictors if predictor.name in wanted]
    horizons = [_horizon(rows.routers, p, wanted[p.name]) for p in own]
    keep = {}
    if plan.kept is not None:
        keep = {
            (p.name, p.target.name): partial(plan.kept.add, p.name, horizon, p.target)
            for p, horizon in zip(own, horizons, strict=True)
            if plan.kept.wants(p.name, horizon)
        }
    sums = count_decisions(
        rows, own, calibrate=plan.calibrate, threads=plan.threads, tick=tick, what=SCORING, keep=keep
    )
    found = []
    for p, horizon in zip(own, horizons, strict=True):
        slots = sum(router.top_k for router, _ in p.sources)
        cost = Cost(p.bias[0].size + p.weights[0].size, float(slots * p.target.n_experts))
        found.append(
            made_score(
                rows,
                p.name,
                p.target,
                horizon,
                sums[p.name, p.target.name],
                cost,
                has_probabilities=p.link != "rank",
            )
        )
    return found


def _horizon(routers: Sequence[Router], predictor: LinearPredictor, spec: PredictorSpec) -> int:
    """Return how many layers ahead a predictor looks; 0 where it looks at no earlier layer.

    A model that could not be fitted looks as far as it would, whatever its fallback looks at: no predictor has two
    horizons.
    """
    place, sources = routers.index(predictor.target), predictor.sources
    if isinstance(spec.experts, TemperedModel):
        sources = spec.experts.sources(routers, place)
    layers = [routers.index(router) for router, lag in sources if lag == 0]
    return place - max(layers) if layers else 0


def _tick_of_part(tick: Tick, number: int, parts: int) -> Tick:
    """Return the progress of one of several equal parts as that of all."""

    def ticked(what: str, done: int, total: int) -> None:
        tick(what, number * total + done, parts * total)

    return ticked


@dataclass(frozen=True, slots=True)
class _PartFit:
    """The fit of some targets together."""

    rows: BoardRows
    plans: Sequence[TargetPlan]
    specs: Sequence[PredictorSpec]
    view: str
    plan: BoardPlan

    def predictors(self, models: Models, tick: Tick) -> list[LinearPredictor]:
        """Return the predictors of the targets; their models for the chain are added to `models`."""
        wanted = [(plan, at) for plan in self.plans for at in range(len(plan.designs))]
        # Designs without sources keep tokens that loads are tempered with.
        alone = [Design(plan.target, ()) for plan in self.plans]
        designs = [*(plan.designs[at] for plan, at in wanted), *alone]
        counted = count_moments(self.rows, designs, threads=self.plan.threads, tick=tick, what=COUNTING)
        alpha, targets = self.plan.alpha, [plan.target for plan in self.plans]
        loads = {
            target.name: Loads(self.rows.loads(target).astype(np.int64), alpha, target.top_k)
            for target in targets
        }
        tempered = {
            table.design.target.name: fit_load(table, loads[table.design.target.name]).bias
            for table in counted[len(wanted) :]
        }
        simple = linear_predictors(
            self.rows, self.specs, self.view, alpha, targets=targets, tempered=tempered
        )
        waiting: list[Moments | None] = list(counted[: len(wanted)])
        del counted

        def fit(at: int) -> dict[tuple[int, str], Tempered]:
            table, waiting[at] = waiting[at], None
            plan, design = wanted[at]
            assert table is not None
            return fit_tempered(
                table, plan.kinds(design), alpha, design == plan.chain, loads[plan.target.name]
            )

        jobs = [partial(fit, at) for at in range(len(wanted))]
        fitted = in_threads(jobs, self.plan.threads, tick, FITTING)
        fits = {(plan.place, at): found for (plan, at), found in zip(wanted, fitted, strict=True)}
        predictors = []
        for plan in self.plans:
            predictors += _predictors(plan, simple[plan.target.name], fits)
            for (width, _), found in fits.get((plan.place, plan.chain), {}).items():
                if found.whole is not None:
                    models[plan.place, width] = _single(*found.whole)
        return predictors


def _predictors(
    plan: TargetPlan,
    simple: Sequence[LinearPredictor],
    fits: Mapping[tuple[int, int], Mapping[tuple[int, str], Tempered]],
) -> list[LinearPredictor]:
    """Return the predictors of a target; one that could not be fitted is its fallback under its own name."""
    named = {p.name: p for p in simple}
    for model in plan.models:
        fallback = named[model.fallback]
        fit = fits[plan.place, model.design].get((model.width, model.kind))
        if fit is None:
            named[model.name] = replace(fallback, name=model.name)
            continue
        sources = plan.designs[model.design].sources[: model.width]
        named[model.name] = LinearPredictor(
            model.name, plan.target, sources, fit.bias, fit.weights, "log-weight", fallback
        )
    return list(named.values())


def _single(bias: Floats, weights: Floats) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return a model of the chain in single precision, because all of them are kept."""
    return read_only(bias.astype(np.float32)), read_only(weights.astype(np.float32))


def _loads(rows: BoardRows, alpha: str | float) -> Models:
    """Models of order 0: log weights at which every expert is chosen as often as it was, for layers with data."""
    models: Models = {}
    for place, router in enumerate(rows.routers):
        own = rows.loads(router).astype(np.int64)
        total = own.sum(axis=0)
        if not total.any():
            continue
        left = np.concatenate([total[None], total - own])
        prior = resolve_alpha(left[:1], alpha)
        share = (left + prior) / (left.sum(axis=1, keepdims=True) + prior.sum())
        weights = np.zeros((len(left), 0, router.n_experts))
        models[place, 0] = _single(fit_log_weights(router.top_k * share, router.top_k), weights)
    return models
