"""The fitted chain of a trace, the scores of its predictors, and its full posterior."""

from collections.abc import Sequence
from functools import partial

import numpy as np

from routestat.counting.board_rows import BoardRows
from routestat.counting.context import Context
from routestat.counting.counts import Counts, count
from routestat.counting.document_sample import Sample
from routestat.counting.strata import count_strata
from routestat.errors import RoutestatError
from routestat.forecast import catalogue
from routestat.forecast.board import make_board
from routestat.forecast.contexts import ContextFit, scores_of
from routestat.forecast.factorised import FactorisedChain
from routestat.forecast.factorised_fit import fit_linear
from routestat.forecast.history_predictor import MOST_PAIRS, HistoryPredictors, HistoryWindow
from routestat.forecast.network_gain import with_gain
from routestat.forecast.ridge_engine import score_ridges
from routestat.forecast.scores import PredictionScore
from routestat.forecast.specification import BoardPlan, LinearForm, RidgeForm, TemperedModel
from routestat.inference.bayes.results import FullBayes
from routestat.inference.markov.chain import Chain, fit_chain
from routestat.inference.markov.second_order import MOST_CELLS, SecondOrderStep, fit_second_order
from routestat.inference.smoothing.backoff_strength import BackoffParameters
from routestat.progress import Tick, silent
from routestat.study.layers import selected_layers
from routestat.study.memory import Memory
from routestat.traces.store import Trace

#: Full Bayes models states; the k experts of a token in the expert view are not independent draws.
NEEDS_STATES = (
    "--bayes full needs the state view: the k experts of a token are not independent draws; leave it out"
)


def second_orders(
    trace: Trace,
    counts: Counts,
    alpha: str | float,
    wanted: Sequence[bool],
    strengths: Sequence[BackoffParameters | None] = (),
    tick: Tick = silent,
    threads: int | None = None,
) -> tuple[SecondOrderStep | None, ...]:
    """Count and fit steps of order 2, one entry per gap; None where not wanted, or of too many states.

    Parameters
    ----------
    trace : Trace
        Read once more.
    counts : Counts
        Of the state view.
    alpha : str or float
    wanted : sequence of bool
        One per gap; the first gap has no layer two before its target.
    strengths : sequence of BackoffParameters or None
        One per gap, as estimated on held-out documents; by default those of greatest evidence.
    tick : callable(what, done, total)
    threads : int, optional
    """
    routers = counts.routers
    sizes = [router.alphabet.size for router in routers]
    fits = [
        want and gap > 0 and sizes[gap - 1] * sizes[gap] * sizes[gap + 1] <= MOST_CELLS
        for gap, want in enumerate(wanted)
    ]
    if counts.states != "subset" or not any(fits):
        return (None,) * len(wanted)
    tables = count(
        trace,
        selected_layers(trace, counts),
        contexts=[Context.layer(2, 1)],
        groups=1,
        states="subset",
        threads=threads,
        progress=partial(tick, "counting two layers back"),
    )
    fitted: list[SecondOrderStep | None] = []
    for gap, fit in enumerate(fits):
        tick("fitting order 2", gap, len(fits))
        table = tables.table(Context.layer(2, 1), routers[gap + 1])[0] if fit else None
        strength = strengths[gap] if strengths else None
        fitted.append(None if table is None else fit_second_order(table, alpha, strength))
    tick("fitting order 2", len(fits), len(fits))
    return tuple(fitted)


def chain_of_trace(
    trace: Trace,
    counts: Counts,
    alpha: str | float,
    order: int | None,
    memory: Memory | None,
    tick: Tick = silent,
    threads: int | None = None,
) -> Chain:
    """Fit the chain of the given order, or of the orders chosen on held-out documents.

    Parameters
    ----------
    trace : Trace
    counts : Counts
    alpha : str or float
    order : int, optional
        Of all gaps; by default each gap has the order chosen in `memory`.
    memory : Memory, optional
        Not needed for a chain of order 0 or 1, nor in the expert view.
    tick : callable(what, done, total)
    threads : int, optional
    """
    tick("fitting the chain", 0, 1)
    gaps = len(counts.routers) - 1
    chosen = [] if memory is None else list(memory.orders)
    orders = [order] * gaps if order is not None else chosen or [1] * gaps
    if counts.states == "expert":
        orders = [1] * gaps
    wanted = [one == 2 for one in orders]
    second = second_orders(
        trace, counts, alpha, wanted, () if memory is None else memory.strengths, tick, threads
    )
    # The first gap has no layer two before it, and wide alphabets have no tables of order 2.
    orders = [1 if one == 2 and fitted is None else one for one, fitted in zip(orders, second, strict=True)]
    direct = {} if memory is None else memory.direct
    chain = fit_chain(counts, alpha=alpha, second=second, orders=orders, direct=direct)
    tick("fitting the chain", 1, 1)
    return chain


def score_predictors(
    rows: BoardRows,
    view: str,
    plan: BoardPlan,
    tick: Tick = silent,
    fits: Sequence[ContextFit] = (),
) -> tuple[tuple[PredictionScore, ...], FactorisedChain | None, HistoryPredictors | None]:
    """Score all predictors of the view on held-out documents, and return those that new tokens are predicted with.

    These are the factorised chain of the expert view, and the ridges; None where they do not exist.

    Parameters
    ----------
    rows : BoardRows
    view : {"subset", "expert"}
    plan : BoardPlan
    tick : callable(what, done, total)
    fits : sequence of ContextFit
        Of these rows, if their contexts were scored already.
    """
    # In the state view popularity is a context, though linear predictors fall back to it.
    specs = catalogue.predictors(plan)
    linear = [spec for spec in specs if isinstance(spec.form(view), LinearForm | TemperedModel)]
    known, chain = fit_linear(rows, linear, view, plan, tick)
    known += scores_of(rows, specs, plan, fits)
    windows: list[HistoryWindow] = []
    ridges = [spec for spec in specs if isinstance(spec.form(view), RidgeForm)]
    known += score_ridges(rows, ridges, view, plan, tick, windows)
    kept = sum(len(window.pairs) ** 2 for window in windows) <= MOST_PAIRS
    history = HistoryPredictors(rows.routers, view, windows) if windows and kept else None
    board = make_board(rows, view, plan, specs=specs, known=known, tick=tick)
    return with_gain(board), chain, history


def posterior_of_chain(
    counts: Counts, sample: Sample, draws: int, rng: np.random.Generator, tick: Tick = silent
) -> FullBayes:
    """Sample the full posterior of the chain's concentrations.

    Parameters
    ----------
    counts : Counts
        Of the state view.
    sample : Sample
    draws : int
        Of each of the four chains, after as many tuning draws.
    rng : numpy.random.Generator
    tick : callable(what, done, total)

    Raises
    ------
    RoutestatError
        In the expert view.
    """
    # PyMC takes seconds to load, and most runs do not use it.
    from routestat.inference.bayes.sampler import full_bayes  # noqa: PLC0415

    routers = counts.routers
    if counts.states == "expert":
        raise RoutestatError(NEEDS_STATES)
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
        progress=partial(tick, "sampling the posterior"),
    )
