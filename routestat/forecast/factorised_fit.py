"""Fit the factorised chain, and everything that the board of the expert view holds beside it, in two passes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from routestat.counting.context import Context
from routestat.counting.counts import Counts
from routestat.counting.moments import Design, Moments, count_moments
from routestat.counting.predictor_scores import LinearPredictor, count_decisions
from routestat.errors import RoutestatError
from routestat.forecast.board import Tables, expert_board, further_tables
from routestat.forecast.designs import (
    TargetPlan,
    not_fitted,
    parts_in_memory,
    plan_target,
    tempered_specs,
)
from routestat.forecast.factorised import FactorisedChain
from routestat.forecast.fold_tables import assign_folds
from routestat.forecast.linear_fit import linear_predictors
from routestat.forecast.scores import PredictionScore
from routestat.forecast.tempered import Loads, Tempered, fit_load, fit_tempered
from routestat.inference.base.tables import Floats, read_only
from routestat.inference.conditional_bernoulli.distribution import fit_log_weights
from routestat.inference.smoothing.prior import resolve_alpha
from routestat.progress import Tick, in_threads, silent
from routestat.traces.metadata import Router
from routestat.traces.store import Trace

#: The stages of the fit, as its progress names them.
COUNTING, FITTING, SCORING = "counting for predictors", "fitting predictors", "scoring predictors"
#: Bytes of tables and predictors of the targets that are fitted together: for a long trace, for a short one, and for
#: each token between them. A pass over a short trace costs little.
MOST_MEMORY, LEAST_MEMORY, MEMORY_PER_TOKEN = 768 << 20, 128 << 20, 4 << 10
#: Models of the chain by (place of the router, order): biases and weights.
Models = dict[tuple[int, int], tuple[NDArray[np.float32], NDArray[np.float32]]]


@threadpool_limits.wrap(limits=1, user_api="blas")
def fit_factorised(
    trace: Trace,
    counts: Counts,
    alpha: str | float = "empirical-bayes",
    *,
    orders: Sequence[int] | None = None,
    memory: int | None = None,
    threads: int | None = None,
    progress: Tick = silent,
) -> tuple[tuple[PredictionScore, ...], FactorisedChain]:
    """Fit and score the registered predictors of the expert view, and fit the factorised chain.

    The first pass counts, per fold of documents, how often the experts of each target's sources occur together; from
    its tables all is fitted; the second pass scores. Where tables and weights of all targets do not fit in memory,
    targets are taken a part at a time, with two passes for each. A target of E experts after m layers takes about
    50 Cholesky factors of order m·E, and every predictor k·E operations a token. Models with as many features as
    tokens are left out (`routestat.forecast.designs.not_fitted`).

    Parameters
    ----------
    trace : Trace
    counts : Counts
        Of the trace, in the expert view, with the contexts nothing, layer −1 and token −1.
    alpha : str or float
    orders : sequence of int, optional
        How many layers back predictors on layers alone look, of the registered numbers (all); the chain keeps a
        model of each.
    memory : int, optional
        Bytes, roughly, of the targets that are fitted together; one is fitted whatever it takes. By default it
        grows with the tokens, from 128 to 768 MiB.
    threads : int, optional
        All cores by default.
    progress : callable(what, done, total)

    Returns
    -------
    tuple of PredictionScore, FactorisedChain
        All predictors of a target are scored on the same tokens.

    Raises
    ------
    RoutestatError
        If counts are of subsets, or fewer than two groups of documents hold tokens.
    """
    if counts.states != "expert" or np.count_nonzero(counts.tokens) < 2:
        raise RoutestatError(
            "the factorised chain needs counts of experts, of two or more groups of documents; "
            f"got {np.count_nonzero(counts.tokens)} groups, counted by {counts.states}"
        )
    folds, too_wide = assign_folds(counts), not_fitted(counts)
    specs = [spec for spec in tempered_specs(orders) if spec.name not in too_wide]
    beside = further_tables(trace, counts, threads)
    models = _loads(counts, folds, alpha)
    plans = [plan_target(counts.routers, place, specs) for place in range(len(counts.routers))]
    default = min(MOST_MEMORY, max(LEAST_MEMORY, MEMORY_PER_TOKEN * trace.n_counted))
    parts = list(parts_in_memory(plans, int(folds.max()) + 1, default if memory is None else memory))
    board: list[PredictionScore] = []
    for number, part in enumerate(parts):
        tick = _tick_of_part(progress, number, len(parts))
        fit = _PartFit(trace, counts, part, folds, alpha, threads, beside)
        predictors = fit.predictors(models, tick)
        sums = count_decisions(trace, predictors, folds, threads, partial(tick, SCORING))
        board += expert_board(counts, predictors, sums, [plan.target for plan in part])
    chain = FactorisedChain(
        tuple(router.layer for router in counts.routers),
        tuple(router.n_experts for router in counts.routers),
        tuple(router.top_k for router in counts.routers),
        {key: bias for key, (bias, _) in models.items()},
        {key: weights for key, (_, weights) in models.items()},
        read_only(np.bincount(folds, weights=counts.tokens).astype(np.int64)),
    )
    return tuple(board), chain


def _tick_of_part(tick: Tick, number: int, parts: int) -> Tick:
    """Return the progress of one of several equal parts as that of all."""

    def ticked(what: str, done: int, total: int) -> None:
        tick(what, number * total + done, parts * total)

    return ticked


@dataclass(frozen=True, slots=True)
class _PartFit:
    """The fit of some targets together, in one pass over the trace."""

    trace: Trace
    counts: Counts
    plans: Sequence[TargetPlan]
    folds: NDArray[np.int64]
    alpha: str | float
    threads: int | None
    beside: Tables

    def predictors(self, models: Models, tick: Tick) -> list[LinearPredictor]:
        """Return the predictors of the targets; their models for the chain are added to `models`."""
        wanted = [(plan, at) for plan in self.plans for at in range(len(plan.designs))]
        # Designs without sources keep tokens that loads are tempered with.
        designs = [
            *(plan.designs[at] for plan, at in wanted),
            *(Design(plan.target, ()) for plan in self.plans),
        ]
        counted = count_moments(
            self.trace, designs, self.folds, threads=self.threads, progress=partial(tick, COUNTING)
        )
        tables, alone = counted[: len(wanted)], counted[len(wanted) :]
        del counted
        targets = [plan.target for plan in self.plans]
        loads = {
            target.name: Loads(_per_fold(self.counts, target, self.folds), self.alpha, target.top_k)
            for target in targets
        }
        tempered = {
            table.design.target.name: fit_load(table, loads[table.design.target.name]).bias for table in alone
        }
        simple = linear_predictors(
            self.counts, self.folds, self.alpha, targets=targets, tempered=tempered, beside=self.beside
        )
        waiting: list[Moments | None] = list(tables)
        del tables

        def fit(at: int) -> dict[tuple[int, str], Tempered]:
            table, waiting[at] = waiting[at], None
            plan, design = wanted[at]
            assert table is not None
            return fit_tempered(
                table, plan.kinds(design), self.alpha, design == plan.chain, loads[plan.target.name]
            )

        jobs = [partial(fit, at) for at in range(len(wanted))]
        fitted = in_threads(jobs, self.threads, tick, FITTING)
        fits = {(plan.place, at): found for (plan, at), found in zip(wanted, fitted, strict=True)}
        predictors = []
        for plan in self.plans:
            predictors += _predictors(plan, [p for p in simple if p.target == plan.target], fits)
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


def _loads(counts: Counts, folds: NDArray[np.int64], alpha: str | float) -> Models:
    """Models of order 0: log weights at which every expert is chosen as often as it was, for layers with data."""
    models: Models = {}
    for place, router in enumerate(counts.routers):
        own = _per_fold(counts, router, folds)
        total = own.sum(axis=0)
        if not total.any():
            continue
        rows = np.concatenate([total[None], total - own])
        prior = resolve_alpha(rows[:1], alpha)
        share = (rows + prior) / (rows.sum(axis=1, keepdims=True) + prior.sum())
        weights = np.zeros((len(rows), 0, router.n_experts))
        models[place, 0] = _single(fit_log_weights(router.top_k * share, router.top_k), weights)
    return models


def _per_fold(counts: Counts, router: Router, folds: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each expert was chosen ``[fold, expert]``."""
    table = counts.table(Context(), router).astype(np.int64)
    return np.array([table[folds == fold].sum(axis=0) for fold in range(int(folds.max()) + 1)])
