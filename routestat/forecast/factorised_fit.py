"""Fitting the factorised chain, and everything the board of the expert view holds beside it, in two passes."""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from routestat.counting.context import Context
from routestat.counting.counts import Counts
from routestat.counting.moments import Design, count_moments
from routestat.counting.predictor_scores import LinearPredictor, count_decisions
from routestat.errors import RoutestatError
from routestat.forecast.board import expert_board
from routestat.forecast.factorised import FactorisedChain
from routestat.forecast.linear_predictors import assign_folds, linear_predictors
from routestat.forecast.scores import PredictionScore
from routestat.forecast.tempered import Tempered, fit_load, fit_tempered
from routestat.inference.base.tables import Floats, read_only
from routestat.inference.conditional_bernoulli.distribution import fit_log_weights
from routestat.inference.smoothing.prior import resolve_alpha
from routestat.traces.metadata import Router
from routestat.traces.store import Trace

#: How many layers back the predictors of the expert view look.
ORDERS = (1, 2, 4)
MEMORY = 2 << 30
BAYES, RIDGE, FACTORISED = "tempered-bayes", "ridge", "factorised"


def fit_factorised(
    trace: Trace,
    counts: Counts,
    alpha: str | float = "empirical-bayes",
    *,
    orders: Sequence[int] = ORDERS,
    memory: int = MEMORY,
    threads: int | None = None,
    progress: Callable[[str, int, int], None] = lambda what, done, total: None,
) -> tuple[tuple[PredictionScore, ...], FactorisedChain]:
    """The board of the expert view and the factorised chain, from two passes over the trace.

    The first pass counts, per fold of documents, how often the experts of each target's sources go together; from
    its tables all is fitted; the second pass scores. Where tables and weights of all targets do not fit in memory,
    targets are taken a part at a time, with two passes for each. A target of E experts after m layers takes about
    10 eigendecompositions of order m·E, and every predictor k·E operations a token.

    Parameters
    ----------
    trace : Trace
    counts : Counts
        Of the trace, in the expert view, with the contexts nothing, layer −1 and token −1.
    alpha : str or float
    orders : sequence of int
        How many layers back to look; the chain keeps a model of each.
    memory : int
        Bytes, roughly; one target is fitted whatever it takes.
    threads : int, optional
    progress : callable(what, done, in_all)

    Returns
    -------
    The board, all of whose predictors of a target are scored on the same tokens; and the chain.

    Raises
    ------
    RoutestatError
        If counts are of subsets, or fewer than two groups of documents hold tokens.
    """
    if counts.states != "expert" or np.count_nonzero(counts.tokens) < 2:
        raise RoutestatError(
            "the factorised chain wants counts of experts, of two or more groups of documents; "
            f"got {np.count_nonzero(counts.tokens)} groups, counted by {counts.states}"
        )
    if not orders or min(orders) < 1:
        raise RoutestatError(f"orders: wanted layers back, 1 or more, got {tuple(orders)}")
    folds, orders = assign_folds(counts), sorted(set(orders))
    threads = threads or os.cpu_count() or 1
    board: list[PredictionScore] = []
    models: dict[tuple[int, int], tuple[Floats, Floats]] = _loads(counts, folds, alpha)
    plans = [_Plan.of(counts.routers, place, orders) for place in range(len(counts.routers))]
    parts = list(_parts(plans, int(folds.max()) + 1, memory))
    for number, part in enumerate(parts):
        said = [
            f"{what} (part {number + 1} of {len(parts)})" if len(parts) > 1 else what
            for what in ("counting for predictors", "fitting predictors", "scoring predictors")
        ]
        predictors = _fit_part(trace, counts, part, folds, alpha, threads, models, said, progress)
        sums = count_decisions(
            trace, predictors, folds, threads, lambda *at, what=said[2]: progress(what, *at)
        )
        board += expert_board(counts, predictors, sums, [plan.target for plan in part])
    chain = FactorisedChain(
        tuple(router.layer for router in counts.routers),
        tuple(router.n_experts for router in counts.routers),
        tuple(router.top_k for router in counts.routers),
        {key: read_only(bias.astype(np.float32)) for key, (bias, _) in models.items()},
        {key: read_only(weights.astype(np.float32)) for key, (_, weights) in models.items()},
        read_only(np.bincount(folds, weights=counts.tokens).astype(np.int64)),
    )
    return tuple(board), chain


@dataclass(frozen=True, slots=True)
class _Entry:
    """One predictor: its name, and the design, the number of its sources and the kind it is fitted as."""

    name: str
    design: int
    width: int
    kind: str
    fallback: str


@dataclass(frozen=True, slots=True)
class _Plan:
    """Everything that is fitted for one target; the first design looks at layers, where there are any."""

    place: int
    target: Router
    designs: tuple[Design, ...]
    entries: tuple[_Entry, ...]

    @classmethod
    def of(cls, routers: Sequence[Router], place: int, orders: Sequence[int]) -> "_Plan":
        """The plan for the router at a place of the list."""
        target = routers[place]
        before = tuple((routers[place - back], 0) for back in range(1, min(max(orders), place) + 1))
        previous = (target, 1)
        designs = [
            Design(target, before),
            Design(target, (previous, *before[:1])),
            Design(target, (previous, (target, 2))),
        ]
        entries, shorter = [], ""
        for order in orders if before else ():
            stem = f"layers-{order}" if order > 1 else "layer-1"
            for kind in (BAYES, RIDGE, FACTORISED) if order <= 2 else (RIDGE, FACTORISED):
                fallback = f"{shorter}-{kind}" if shorter else "popularity"
                entries.append(_Entry(f"{stem}-{kind}", 0, min(order, place), kind, fallback))
            shorter = stem
        for kind in (BAYES, FACTORISED):
            entries.append(_Entry(f"previous-token-{kind}", 1, 1, kind, "popularity"))
        two = f"previous-two-tokens-{FACTORISED}"
        entries.append(_Entry(two, 2, 2, FACTORISED, f"previous-token-{FACTORISED}"))
        for kind in (BAYES, RIDGE, FACTORISED) if before else ():
            fallback = f"layer-1-{kind}" if 1 in orders else "popularity"
            entries.append(_Entry(f"layer-1-previous-token-{kind}", 1, 2, kind, fallback))
        return cls(place, target, tuple(designs), tuple(entries))

    def asked(self, design: int) -> dict[int, list[str]]:
        """Kinds by width, of one of the designs."""
        widths: dict[int, dict[str, None]] = {}
        for entry in self.entries:
            if entry.design == design:
                widths.setdefault(entry.width, {})[entry.kind] = None
        return {width: list(kinds) for width, kinds in widths.items()}

    def size(self, n_folds: int) -> int:
        """Bytes of tables, of their copies while fitting, and of the predictors, roughly."""
        experts, cells = self.target.n_experts, 0
        for features in (design.offsets[-1] for design in self.designs):
            cells += 3 * features * (features + experts)
        for entry in self.entries:
            cells += 2 * self.designs[entry.design].offsets[entry.width] * experts
        return 8 * n_folds * cells


def _parts(plans: Sequence[_Plan], n_folds: int, memory: int) -> Iterator[list[_Plan]]:
    part: list[_Plan] = []
    for plan in plans:
        if part and sum(p.size(n_folds) for p in part) + plan.size(n_folds) > memory:
            yield part
            part = []
        part.append(plan)
    yield part


def _fit_part(
    trace: Trace,
    counts: Counts,
    part: Sequence[_Plan],
    folds: NDArray[np.int64],
    alpha: str | float,
    threads: int,
    models: dict[tuple[int, int], tuple[Floats, Floats]],
    said: Sequence[str],
    progress: Callable[[str, int, int], None],
) -> list[LinearPredictor]:
    """The predictors of some targets, whose models for the chain are added to `models`."""
    wanted = [(plan, at) for plan in part for at, design in enumerate(plan.designs) if plan.asked(at)]
    # Designs without sources keep tokens that loads are tempered with.
    designs = [*(plan.designs[at] for plan, at in wanted), *(Design(plan.target, ()) for plan in part)]
    tables = count_moments(
        trace, designs, folds, threads=threads, progress=lambda *at: progress(said[0], *at)
    )
    targets = [plan.target for plan in part]
    loads = {target.name: _per_fold(counts, target, folds) for target in targets}
    tempered = {
        table.design.target.name: fit_load(table, loads[table.design.target.name], alpha).bias
        for table in tables[len(wanted) :]
    }
    del tables[len(wanted) :]
    simple = linear_predictors(counts, folds, alpha, targets=targets, tempered=tempered)
    fits: dict[tuple[int, int], dict[tuple[int, str], Tempered]] = {}
    with ThreadPoolExecutor(threads) as pool:
        todo = [
            pool.submit(fit_tempered, table, plan.asked(at), alpha, at == 0, loads[plan.target.name])
            for table, (plan, at) in zip(tables, wanted, strict=True)
        ]
        del tables
        for done, (plan, at) in enumerate(wanted):
            progress(said[1], done, len(wanted))
            fits[plan.place, at] = todo[done].result()
        progress(said[1], len(wanted), len(wanted))
    predictors = []
    for plan in part:
        own = [p for p in simple if p.target == plan.target]
        predictors += _predictors(plan, own, fits)
        for (width, _), fit in fits.get((plan.place, 0), {}).items():
            if fit.whole is not None:
                models[plan.place, width] = fit.whole
    return predictors


def _predictors(
    plan: _Plan,
    simple: Sequence[LinearPredictor],
    fits: Mapping[tuple[int, int], Mapping[tuple[int, str], Tempered]],
) -> list[LinearPredictor]:
    """The simple predictors of a target and those of its plan; what could not be fitted is its fallback renamed."""
    named = {p.name: p for p in simple}
    for entry in plan.entries:
        fallback = named[entry.fallback]
        fit = fits[plan.place, entry.design].get((entry.width, entry.kind))
        if fit is None:
            named[entry.name] = replace(fallback, name=entry.name)
            continue
        sources = plan.designs[entry.design].sources[: entry.width]
        named[entry.name] = LinearPredictor(
            entry.name, plan.target, sources, fit.bias, fit.weights, "log-weight", fallback
        )
    return list(named.values())


def _loads(
    counts: Counts, folds: NDArray[np.int64], alpha: str | float
) -> dict[tuple[int, int], tuple[Floats, Floats]]:
    """Models of order 0: log weights at which every expert is chosen as often as it was, for layers with data."""
    rule = "perks" if isinstance(alpha, str) else alpha
    models = {}
    for place, router in enumerate(counts.routers):
        own = _per_fold(counts, router, folds)
        total = own.sum(axis=0)
        if not total.any():
            continue
        rows = np.concatenate([total[None], total - own])
        prior = resolve_alpha(rows[:1], rule)
        share = (rows + prior) / (rows.sum(axis=1, keepdims=True) + prior.sum())
        weights = np.zeros((len(rows), 0, router.n_experts))
        models[place, 0] = (fit_log_weights(router.top_k * share, router.top_k), weights)
    return models


def _per_fold(counts: Counts, router: Router, folds: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often each expert was chosen ``[fold, expert]``."""
    table = counts.table(Context(), router).astype(np.int64)
    return np.array([table[folds == fold].sum(axis=0) for fold in range(int(folds.max()) + 1)])
