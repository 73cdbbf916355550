"""Full Bayes of the routing chain: priors shared over the depth, sampled by NUTS on the collapsed likelihood.

The only file that imports PyMC and ArviZ, which takes seconds, so that it is imported where it is needed. Tokens are
taken as exchangeable given the chain; `Checks` measures by how much documents violate that.

References
----------
MacKay & Peto (1995), A hierarchical Dirichlet language model; Vehtari, Gelman & Gabry (2017), Practical Bayesian
model evaluation using leave-one-out cross-validation and WAIC; Bürkner, Gabry & Vehtari (2021), Efficient
leave-one-out cross-validation for Bayesian non-factorized normal and Student-t models; Vehtari et al. (2021),
Rank-normalization, folding, and localization: an improved R-hat.
"""

import logging
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from routestat.counting.strata import Strata
from routestat.errors import RoutestatError
from routestat.inference.base.tables import Floats, read_only
from routestat.inference.bayes.counts import chain_counts, part_used
from routestat.inference.bayes.inference_data import complete
from routestat.inference.bayes.likelihood import (
    CollapsedLikelihood,
    chain_evidence,
    closed_form,
    mean_transitions,
)
from routestat.inference.bayes.loo import (
    LeftOut,
    compare_orders,
    left_out_log_likelihood,
    no_comparison,
    scored_tokens,
)
from routestat.inference.bayes.predictive_checks import check
from routestat.inference.bayes.priors import SIGMA_RATE, SIGMA_SHAPE, draw_mu, log_density
from routestat.inference.bayes.results import Diagnosis, FullBayes, OrderComparison, OrderPosterior
from routestat.inference.bayes.sampling_plan import Plan, StoppedError, Watch
from routestat.inference.bayes.tabulated import Curves, tabulate
from routestat.progress import Progress


@contextmanager
def _silenced_import() -> Iterator[None]:
    """Suppress warnings and log lines: ArviZ announces its next version, PyTensor a compiler it does not need."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)


with _silenced_import():
    import arviz as az
    import pymc as pm  # type: ignore[import-untyped]
    import pytensor
    import pytensor.tensor as pt

#: With more base probabilities over all gaps a run would take hours.
MOST_COLUMNS = 20_000


def full_bayes(
    first: ArrayLike,
    tables: Sequence[ArrayLike],
    triples: Sequence[Strata],
    rng: np.random.Generator,
    *,
    layers: Sequence[int] | None = None,
    states: str = "subset",
    draws: int = 1000,
    tune: int = 1000,
    chains: int = 4,
    cores: int = 1,
    progress: Progress | None = None,
) -> FullBayes:
    """Sample the chain's priors over the depth, for orders 0, 1 and 2, and compare the orders on left-out documents.

    A row of counts is Dirichlet-multinomial with alpha = strength * base, its probabilities integrated out. Order
    0: a layer's own counts, base uniform. Order 1: the rows of a gap share a base that has a Dirichlet(1) prior.
    Order 2: row (x, y) has the posterior mean of order 1 given y as its base, fitted by empirical Bayes. The log
    strengths of an order are Normal(mu, sigma) over the depth; see `priors` for the priors of mu and sigma.

    Parameters
    ----------
    first
        Counts of the first layer `[group, target]`.
    tables
        Counts `[group, source, target]`, one per gap.
    triples
        One per three consecutive layers: strata of the middle layer, source two layers before the target; empty
        for two layers. Where they hold other tokens than `tables` (missing choices, a sample of documents),
        everything but the first gap rests on them, so that the orders see the same tokens.
    rng
        Source of the sampler's seeds.
    layers
        The layers' own numbers.
    states
        Only "subset": the k experts of a token are dependent draws.
    draws, tune
        Steps per chain that are kept, and that adapt the sampler before.
    chains, cores
        Processes that chains are spread over; with one, everything stays in this process.
    progress
        Called with (steps done, steps in all) of all orders and chains, first with none done.

    Returns
    -------
    FullBayes

    Raises
    ------
    RoutestatError
        For the expert view, tables that do not chain up, no tokens, or settings out of range.
    """
    if not isinstance(rng, np.random.Generator):
        raise RoutestatError(
            "rng: expected a numpy Generator, got something else; use np.random.default_rng(seed)"
        )
    start, counts = chain_counts(first, tables, triples, states)
    names = tuple(range(len(counts) + 1)) if layers is None else tuple(layers)
    if len(names) != len(counts) + 1:
        raise RoutestatError(f"layers: expected {len(counts) + 1} numbers, one per layer, got {len(names)}")
    plan = Plan(draws, tune, chains, cores)
    evidence = chain_evidence(start, counts, triples)
    if (columns := len(evidence[1].column_unit)) > MOST_COLUMNS:
        raise RoutestatError(
            f"full Bayes of {columns:,} base probabilities would take hours, at most {MOST_COLUMNS:,}: "
            "choose fewer layers"
        )
    orders = _sample_orders(evidence, names, plan, rng, progress)
    log_alpha = orders[1].inference_data.posterior["log_alpha"].values
    transitions = mean_transitions(evidence[1], log_alpha.reshape(chains * draws, -1), counts)
    comparison = _compare(evidence[0], orders, int(rng.integers(2**31)))
    note = part_used(counts, triples)
    return FullBayes(names, tuple(orders), comparison, transitions, draws, tune, chains, note)


def _sample_orders(
    evidence: Sequence[CollapsedLikelihood],
    layers: tuple[int, ...],
    plan: Plan,
    rng: np.random.Generator,
    progress: Progress | None,
) -> list[OrderPosterior]:
    """Sample the orders one after the other."""
    orders = []
    for place, part in enumerate(evidence):

        def tick(done: int, before: int = place * plan.steps) -> None:
            if progress is not None:
                progress(before + done, len(evidence) * plan.steps)

        sampled = _sample(part, plan, rng, tick)
        paths = tuple(layers[unit : unit + part.order + 1] for unit in range(len(part.units)))
        orders.append(_posterior(part, paths, sampled, rng))
    return orders


@dataclass(frozen=True, slots=True, eq=False)
class _Sampled:
    """The sampler's InferenceData, and the draws of the likelihood's arguments `[chain, draw, argument]`."""

    data: Any
    arguments: Floats
    closed_form: Floats


def _sample(
    evidence: CollapsedLikelihood, plan: Plan, rng: np.random.Generator, tick: Callable[[int], None]
) -> _Sampled:
    strengths, alphas = closed_form(evidence)
    data = _run(evidence, strengths, alphas, plan, rng, tick)
    posterior = data.posterior
    arguments = posterior["log_alpha" if evidence.order == 1 else "log_strength"].values
    if evidence.order == 1:
        starts = np.searchsorted(evidence.column_unit, np.arange(len(evidence.units)))
        log_strength = np.logaddexp.reduceat(arguments, starts, axis=-1)
        posterior["log_strength"] = (("chain", "draw", "unit"), log_strength)
        arguments = np.concatenate([arguments, log_strength], axis=-1)
    values = posterior["log_strength"].values, posterior["sigma"].values
    posterior["mu"] = (("chain", "draw"), draw_mu(*values, math.log(evidence.mean_width), rng))
    return _Sampled(data, arguments, strengths)


def _run(
    evidence: CollapsedLikelihood,
    strengths: Floats,
    alphas: Floats,
    plan: Plan,
    rng: np.random.Generator,
    tick: Callable[[int], None],
) -> Any:
    """Run the sampler and return its InferenceData; raise KeyboardInterrupt if it was interrupted."""
    seeds = rng.integers(2**31, size=plan.chains).tolist()
    watch = Watch(plan, tick)
    tick(0)
    # Numba compiles without a C compiler, and these small graphs run as fast as compiled C.
    with _quiet(), pytensor.config.change_flags(mode="NUMBA"):
        model, start = _model(evidence, strengths, alphas)
        try:
            data = pm.sample(
                plan.draws,
                tune=plan.tune,
                chains=plan.chains,
                cores=plan.cores,
                random_seed=seeds,
                initvals=start,
                init="jitter+adapt_diag",
                target_accept=0.95,
                progressbar=False,
                callback=watch,
                compute_convergence_checks=False,
                model=model,
            )
        except Exception as error:
            if _interrupted(error):
                raise KeyboardInterrupt from None
            raise
    # Later interrupts are ignored by PyMC, which returns the draws so far.
    if not watch.complete:
        raise KeyboardInterrupt
    return data


def _interrupted(error: BaseException | None) -> bool:
    """Whether an error of the libraries was caused by an interrupt."""
    # PyMC's message where no chain has finished its tuning.
    if isinstance(error, StoppedError) or "Not enough samples to build a trace" in str(error):
        return True
    while error is not None and not isinstance(error, KeyboardInterrupt):
        # Numba turns an interrupt during its calls into an error of its own.
        error = error.__cause__ or error.__context__
    return error is not None


def _model(
    evidence: CollapsedLikelihood, strengths: Floats, alphas: Floats
) -> tuple[pm.Model, dict[str, Any]]:
    """Build the PyMC model and the starting point of its chains: the closed form, which PyMC then jitters."""
    units, centre = len(evidence.units), math.log(evidence.mean_width)
    curves = tabulate(evidence.sums())
    coords = {"unit": np.arange(units)}
    start: dict[str, Any] = {"sigma": 0.5}
    if evidence.order == 1:
        coords["column"] = np.arange(len(evidence.column_unit))
        start["log_alpha"] = np.clip(np.nan_to_num(alphas), math.log(0.01), None)
    else:
        begin = np.nan_to_num(strengths, nan=centre)
        start["log_strength"] = np.clip(begin, math.log(0.01), math.log(1e6))
    with pm.Model(coords=coords) as model:
        sigma = pm.Gamma("sigma", alpha=SIGMA_SHAPE, beta=SIGMA_RATE)
        if evidence.order == 1:
            log_alpha = pm.Flat("log_alpha", dims="column")
            belongs = np.equal.outer(evidence.column_unit, np.arange(units)).astype(float)
            log_strength = pt.log(pt.exp(log_alpha) @ belongs)
            # The density of (log strength, base) in terms of log alpha: the Jacobian is prod alpha / strength^width.
            # Log alphas are nearly independent a posteriori, unlike any coordinates of the simplex.
            pm.Potential("base", log_alpha.sum() - (belongs.sum(axis=0) * log_strength).sum())
            arguments = pt.concatenate([log_alpha, log_strength])
        else:
            arguments = log_strength = pm.Flat("log_strength", dims="unit")
        pm.Potential("prior", log_density(log_strength, sigma, units, centre, pt.log))
        pm.Potential("tokens", curve_values(curves, arguments).sum())
    return model, start


def curve_values(curves: Curves, v: Any) -> Any:
    """Evaluate `curves` as a PyTensor expression of `v` `[function]`."""
    functions, intervals, _ = curves.coefficients.shape
    inside = pt.clip(v, curves.low, curves.high)
    place = pt.cast(pt.minimum(pt.floor((inside - curves.low) / curves.step), intervals - 1), "int64")
    over = inside - curves.low - place * curves.step
    # Shared and not a constant: Numba would compile every number of a constant into the machine code.
    table = pytensor.shared(np.asarray(curves.coefficients).reshape(functions * intervals, 6), borrow=True)
    powers = table[np.arange(functions) * intervals + place]
    value = powers[:, 5]
    for power in range(4, -1, -1):
        value = value * over + powers[:, power]
    below, above = pt.minimum(v - curves.low, 0.0), pt.maximum(v - curves.high, 0.0)
    return value + curves.slope[:, 0] * below + curves.slope[:, 1] * above


@contextmanager
def _quiet() -> Iterator[None]:
    """Suppress the libraries' log lines and warnings, which `Diagnosis` replaces."""
    logs = [logging.getLogger(name) for name in ("pymc", "pytensor", "arviz")]
    levels = [log.level for log in logs]
    for log in logs:
        log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for log, level in zip(logs, levels, strict=True):
            log.setLevel(level)


def _posterior(
    evidence: CollapsedLikelihood,
    paths: tuple[tuple[int, ...], ...],
    sampled: _Sampled,
    rng: np.random.Generator,
) -> OrderPosterior:
    data, arguments = sampled.data, sampled.arguments
    chains, draws, _ = arguments.shape
    left_out = left_out_log_likelihood(evidence, arguments.reshape(chains * draws, -1))
    checks, kept = check(evidence, arguments, rng)
    complete(data, evidence, paths, left_out.reshape(chains, draws, -1), checks, kept)
    return OrderPosterior(
        evidence.order,
        paths,
        _values(data.posterior["mu"]),
        _values(data.posterior["sigma"]),
        _values(data.posterior["log_strength"]),
        sampled.closed_form,
        _values(data.sample_stats["energy"]),
        _diagnose(data),
        checks,
        data,
    )


def _values(array: Any) -> Floats:
    return read_only(np.array(array.values, np.float64))


def _diagnose(data: Any) -> Diagnosis:
    with _quiet():
        tables = az.rhat(data), az.ess(data, method="bulk"), az.ess(data, method="tail")
        bfmi = read_only(np.array(az.bfmi(data), np.float64))
    rhat, bulk, tail = (
        {str(key): _values(values) for key, values in table.data_vars.items()} for table in tables
    )
    stats = data.sample_stats
    return Diagnosis(rhat, bulk, tail, int(stats["diverging"].values.sum()), bfmi, stats.sizes["chain"])


def _compare(evidence: CollapsedLikelihood, orders: Sequence[OrderPosterior], seed: int) -> OrderComparison:
    """Compare the orders on the choices that `evidence`, of order 0, scores."""
    numbers, tokens = [order.order for order in orders], scored_tokens(evidence)
    layers = tuple(path[-1] for path, kept in zip(orders[0].paths, evidence.scored, strict=True) if kept)
    if len(tokens) < 2:
        return no_comparison(numbers, layers, tokens)
    # Settings that a user's ArviZ configuration may change are given explicitly.
    with _quiet():
        found = [az.loo(order.inference_data, pointwise=True, scale="log") for order in orders]
        names = [f"order {number}" for number in numbers]
        table = az.compare(dict(zip(names, found, strict=True)), method="BB-pseudo-BMA", seed=seed)
    left_out = LeftOut(
        np.stack([np.asarray(item.loo_i) for item in found]),
        np.stack([np.asarray(item.pareto_k) for item in found]),
        np.array([table.loc[name, "weight"] for name in names], np.float64),
        float(found[0].good_k),
    )
    return compare_orders(numbers, layers, tokens, left_out)
