"""Full Bayes of the routing chain: priors shared over the depth, sampled by NUTS on the collapsed likelihood.

The one door to PyMC and ArviZ; it takes seconds to import, so whoever needs it imports it only then. Tokens are
taken as exchangeable given the chain; `Checks` says by how much documents break that.

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
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from routestat.counting.strata import Strata
from routestat.errors import RoutestatError
from routestat.inference import collapsed
from routestat.inference.collapsed import STATISTICS, Curves, Evidence
from routestat.inference.ratio import Estimate, ratio
from routestat.inference.tables import Floats, read_only, whole_counts

# ArviZ announces its next version to whoever imports it.
with warnings.catch_warnings():
    warnings.simplefilter("ignore", FutureWarning)
    import arviz as az
    import pymc as pm  # type: ignore[import-untyped]
    import pytensor
    import pytensor.tensor as pt
    import xarray as xr

#: Told (steps done, steps in all).
Progress = Callable[[int, int], None]

#: Priors: mu ~ Normal(log of the number of states, MU_SD), sigma ~ Gamma(SIGMA_SHAPE, SIGMA_RATE), a base measure
#: ~ Dirichlet(1). This Gamma (95 % from 0.2 to 1.8) keeps sigma off zero, where a few like gaps would trap the sampler.
MU_SD, SIGMA_SHAPE, SIGMA_RATE = 2.0, 4.0, 5.0
#: Beyond this many base probabilities over all gaps a run would take hours.
MOST_COLUMNS = 20_000
RHAT, ESS_PER_CHAIN, BFMI = 1.01, 100, 0.3
REPLICATES, BUNDLE_REPLICATES = 100, 40
_ORDERS = ("order 0", "order 1", "order 2")


@dataclass(frozen=True, slots=True, eq=False)
class Diagnosis:
    """Whether the sampler can be believed.

    Attributes
    ----------
    rhat, ess_bulk, ess_tail
        Of every parameter, by its name: arrays of the parameter's own shape.
    divergences
    bfmi
        Energy's Bayesian fraction of missing information `[chain]`.
    n_chains
    """

    rhat: Mapping[str, Floats]
    ess_bulk: Mapping[str, Floats]
    ess_tail: Mapping[str, Floats]
    divergences: int
    bfmi: Floats
    n_chains: int

    @property
    def rhat_max(self) -> float:
        return max(float(np.max(values)) for values in self.rhat.values())

    @property
    def ess_bulk_min(self) -> float:
        return min(float(np.min(values)) for values in self.ess_bulk.values())

    @property
    def ess_tail_min(self) -> float:
        return min(float(np.min(values)) for values in self.ess_tail.values())

    @property
    def converged(self) -> bool:
        return not self._troubles()

    @property
    def verdict(self) -> str:
        """In plain words: converged, or what is wrong and what to do."""
        return "; ".join(self._troubles()) or "converged"

    def _troubles(self) -> list[str]:
        found = []
        if not self.rhat_max <= RHAT:
            worst = max(self.rhat, key=lambda name: float(np.max(self.rhat[name])))
            found.append(
                f"the chains disagree (R-hat {self.rhat_max:.3f} of {worst}, wanted at most {RHAT}): "
                "ask for more tuning steps and draws"
            )
        fewest, wanted = min(self.ess_bulk_min, self.ess_tail_min), ESS_PER_CHAIN * self.n_chains
        if not fewest >= wanted:
            found.append(
                f"the draws are worth only {fewest:.0f} independent ones, wanted {wanted}: ask for more draws"
            )
        if self.divergences:
            found.append(
                f"{self.divergences} steps diverged, so a part of the posterior was not reached: "
                "ask for more tuning steps, and distrust the widths of the intervals"
            )
        if not self.bfmi.min() >= BFMI:
            found.append(
                f"the energies mix badly (E-BFMI {self.bfmi.min():.2f}, wanted {BFMI}): ask for more tuning steps"
            )
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Checks:
    """Tables replicated from the posterior against those that were seen.

    Attributes
    ----------
    statistics
        Names along the first axis; see `collapsed.table_statistics`.
    observed, replicated
        `[statistic, unit]` and `[statistic, replicate, unit]`: rows of the same lengths, drawn anew from the law.
    p_values
        `[statistic, unit]`: the share of replicates above what was seen, ties by half. Near 0 or 1 the law does
        not describe the table.
    design_effect
        `[unit]`: Pearson's X2 of bundles of groups against one law of the rows, over its mean in replicates whose
        tokens are exchangeable. 1 if documents do not matter. NaN where `reason` says why.
    p_exchangeable
        `[unit]`: the share of such replicates with as large an X2.
    reason
    """

    statistics: tuple[str, ...]
    observed: Floats
    replicated: Floats
    p_values: Floats
    design_effect: Floats
    p_exchangeable: Floats
    reason: str = ""

    def reading(self) -> str:
        """What the documents do to the credible intervals, in plain words."""
        if self.reason:
            return self.reason
        effect = float(np.nanmean(self.design_effect))
        failed = int((self.p_exchangeable < 0.05).sum())
        if not failed:
            return "documents look like shuffled tokens, so the credible intervals have their true width"
        return (
            f"tokens of a document are alike in {failed} of {len(self.design_effect)} tables (design effect "
            f"{effect:.2g} on average), so credible intervals are too narrow by a factor of about "
            f"{math.sqrt(max(effect, 1.0)):.2g}"
        )


@dataclass(frozen=True, slots=True, eq=False)
class OrderPosterior:
    """One order's posterior.

    Attributes
    ----------
    order
    paths
        The layers of each unit: one, two or three.
    mu, sigma
        Mean and spread over the depth of the log strengths `[chain, draw]`.
    log_strength
        Natural log of the prior weight of a row in tokens `[chain, draw, unit]`.
    log_strength_closed_form
        `[unit]`, of empirical Bayes unit by unit; NaN without tokens.
    energy
        `[chain, draw]`.
    diagnosis, checks
    inference_data
        The ArviZ InferenceData: posterior, sample_stats, log_likelihood, posterior_predictive, observed_data.
    """

    order: int
    paths: tuple[tuple[int, ...], ...]
    mu: Floats
    sigma: Floats
    log_strength: Floats
    log_strength_closed_form: Floats
    energy: Floats
    diagnosis: Diagnosis
    checks: Checks
    inference_data: Any


@dataclass(frozen=True, slots=True, eq=False)
class OrderComparison:
    """PSIS-LOO of the orders: how well each predicts whole groups of documents that it was not fitted to.

    Attributes
    ----------
    orders
    elpd_nats
        Expected log predictive density, summed over the bundles `[order]`.
    elpd_bits
        Per token and layer, with its interval over bundles: one Estimate per order.
    behind_bits
        By how many bits each falls behind the best, of the same bundles; 0 for the best.
    weight
        Pseudo-BMA weight `[order]`, by the Bayesian bootstrap over bundles.
    pareto_k
        `[order, bundle]`; above `good_k` a bundle moved the posterior too far for its term to be trusted.
    good_k
    chosen_order
        The lowest order whose deficit's interval reaches 0; None where nothing could be compared.
    n_bundles, n_tokens
        Bundles of groups, and choices scored: tokens times layers.
    layers
        Whose choices are scored: all that every order can predict.
    reason
    """

    orders: tuple[int, ...]
    elpd_nats: Floats
    elpd_bits: tuple[Estimate, ...]
    behind_bits: tuple[Estimate, ...]
    weight: Floats
    pareto_k: Floats
    good_k: float
    chosen_order: int | None
    n_bundles: int
    n_tokens: int
    layers: tuple[int, ...]
    reason: str = ""

    def reading(self) -> str:
        """The verdict in plain words."""
        if self.chosen_order is None:
            return self.reason
        bad = int((self.pareto_k > self.good_k).sum())
        doubt = (
            f"; {bad} of {self.pareto_k.size} terms have a Pareto k above {self.good_k:.2f} and are rough"
            if bad
            else ""
        )
        return (
            f"order {self.chosen_order} is the lowest that predicts left-out documents as well as any{doubt}"
        )


@dataclass(frozen=True, slots=True, eq=False)
class FullBayes:
    """Posteriors of all orders and their comparison; see `full_bayes`.

    Attributes
    ----------
    layers
    orders
        Order 0, 1 and, with three layers or more, 2.
    comparison
    transitions
        Posterior mean transition probabilities of order 1, `[source, target]` per gap.
    draws, tune, chains
    note
        What part of the tokens this rests on; empty if all.
    """

    layers: tuple[int, ...]
    orders: tuple[OrderPosterior, ...]
    comparison: OrderComparison
    transitions: tuple[Floats, ...]
    draws: int
    tune: int
    chains: int
    note: str = ""

    @property
    def converged(self) -> bool:
        return all(order.diagnosis.converged for order in self.orders)


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
    strengths of an order are Normal(mu, sigma) over the depth; see MU_SD for the priors of mu and sigma.

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
        Gives the sampler's seeds.
    layers
        The layers' own numbers.
    states
        Only "subset": k experts of a token are no independent draws.
    draws, tune
        Steps per chain that are kept, and that adapt the sampler before.
    chains, cores
        Processes that chains are spread over; with one, everything stays in this process.
    progress
        Told (steps done, steps in all); steps of all orders and chains.

    Returns
    -------
    FullBayes

    Raises
    ------
    RoutestatError
        For the expert view, tables that do not chain up, no tokens, or settings out of range.
    """
    counts = _checked(first, tables, triples, states, rng)
    if draws < 10 or tune < 10 or chains < 2 or cores < 1:
        raise RoutestatError(
            f"full Bayes wants 10 draws and tuning steps or more, 2 chains and 1 core, got {draws}, {tune}, "
            f"{chains} and {cores}"
        )
    names = tuple(range(len(counts))) if layers is None else tuple(layers)
    if len(names) != len(counts):
        raise RoutestatError(f"layers: wanted {len(counts)} numbers, one per layer, got {len(names)}")
    evidence = collapsed.chain_evidence(counts[0], counts[1:], triples)
    if (columns := len(evidence[1].column_unit)) > MOST_COLUMNS:
        raise RoutestatError(
            f"full Bayes of {columns:,} base probabilities would take hours, at most {MOST_COLUMNS:,}: "
            "choose fewer layers"
        )
    steps = chains * (draws + tune)
    orders = []
    for place, part in enumerate(evidence):

        def tick(done: int, before: int = place * steps) -> None:
            if progress is not None:
                progress(before + done, len(evidence) * steps)

        sampled = _sample(part, rng, draws, tune, chains, cores, tick)
        paths = tuple(names[unit : unit + part.order + 1] for unit in range(len(part.units)))
        orders.append(_posterior(part, paths, sampled, rng))
    transitions = _transitions(evidence[1], orders[1].inference_data, counts[1:])
    scored = tuple(path[-1] for path, kept in zip(orders[0].paths, evidence[0].scored, strict=True) if kept)
    comparison = _compare(evidence, orders, scored, int(rng.integers(2**31)))
    note = _note(counts[1:], triples)
    return FullBayes(names, tuple(orders), comparison, transitions, draws, tune, chains, note)


def _checked(
    first: ArrayLike,
    tables: Sequence[ArrayLike],
    triples: Sequence[Strata],
    states: str,
    rng: np.random.Generator,
) -> list[Any]:
    """The first layer's counts and the tables, as whole numbers that chain up."""
    if states != "subset" or any(strata.slots != (1, 1) for strata in triples):
        raise RoutestatError(
            "full Bayes needs the state view: the k·k cells of a token are no independent draws"
        )
    if not isinstance(rng, np.random.Generator):
        raise RoutestatError(
            "rng: wanted a numpy Generator, got something else; use np.random.default_rng(seed)"
        )
    counts = [whole_counts(item, "counts").astype(np.int64) for item in (first, *tables)]
    if len(counts) < 2 or len(triples) != len(counts) - 2:
        raise RoutestatError(
            f"full Bayes wants two layers or more, a table per gap and a triple per three layers, got "
            f"{len(tables)} tables and {len(triples)} triples"
        )
    if counts[0].ndim != 2 or any(table.ndim != 3 for table in counts[1:]):
        raise RoutestatError("full Bayes wants counts [group, target] and tables [group, source, target]")
    widths = [table.shape[-1] for table in counts]
    groups = [table.shape[0] for table in counts] + [strata.n_groups for strata in triples]
    sources = [table.shape[1] for table in counts[1:]]
    thirds = [(strata.n_source, strata.n_target) for strata in triples]
    if (
        len(set(groups)) > 1
        or sources != widths[:-1]
        or thirds != list(zip(widths, widths[2:], strict=False))
    ):
        raise RoutestatError(
            "full Bayes wants tables of the same groups, each as long as the one before is wide"
        )
    if not all(table.any() for table in counts[:2]) or any(not strata.n_tokens for strata in triples):
        raise RoutestatError(
            "full Bayes wants tokens with a choice at every layer, got none; check the layers"
        )
    return counts


def _note(tables: Sequence[Any], triples: Sequence[Strata]) -> str:
    fewest = min((strata.n_tokens for strata in triples), default=0)
    most = max(int(table.sum()) for table in tables)
    if not triples or fewest == most:
        return ""
    return f"on {fewest:,} of {most:,} tokens: those whose choices at three layers in a row are all known"


@dataclass(frozen=True, slots=True, eq=False)
class _Sampled:
    """The sampler's InferenceData, and what every argument of the evidence was `[chain, draw, argument]`."""

    data: Any
    arguments: Floats
    closed_form: Floats


def _sample(
    evidence: Evidence,
    rng: np.random.Generator,
    draws: int,
    tune: int,
    chains: int,
    cores: int,
    tick: Callable[[int], None],
) -> _Sampled:
    strengths, alphas = collapsed.closed_form(evidence)
    model, start = _model(evidence, strengths, alphas)
    seeds = rng.integers(2**31, size=chains).tolist()
    watch = _Watch(chains, draws + tune, cores == 1, tick)
    # Numba compiles without a C compiler, and these small graphs run as fast as compiled C.
    with _quiet(), pytensor.config.change_flags(mode="NUMBA"), model:
        try:
            data = pm.sample(
                draws,
                tune=tune,
                chains=chains,
                cores=cores,
                random_seed=seeds,
                initvals=start,
                init="jitter+adapt_diag",
                target_accept=0.95,
                progressbar=False,
                callback=watch,
                compute_convergence_checks=False,
            )
        except _StoppedError:
            raise KeyboardInterrupt from None
    # PyMC swallows an interrupt and returns what it has.
    if watch.done.sum() < chains * (draws + tune):
        raise KeyboardInterrupt
    posterior = data.posterior
    arguments = posterior["log_alpha" if evidence.order == 1 else "log_strength"].values
    if evidence.order == 1:
        starts = np.searchsorted(evidence.column_unit, np.arange(len(evidence.units)))
        log_strength = np.logaddexp.reduceat(arguments, starts, axis=-1)
        posterior["log_strength"] = (("chain", "draw", "unit"), log_strength)
        arguments = np.concatenate([arguments, log_strength], axis=-1)
    values = posterior["log_strength"].values, posterior["sigma"].values
    posterior["mu"] = (("chain", "draw"), _draw_mu(*values, math.log(_mean_width(evidence)), rng))
    return _Sampled(data, arguments, strengths)


def _mean_width(evidence: Evidence) -> float:
    return float(np.mean([cells.width for cells in evidence.units]))


def _model(evidence: Evidence, strengths: Floats, alphas: Floats) -> tuple[pm.Model, dict[str, Any]]:
    """The PyMC model and where its chains start: at the closed form, which PyMC then jitters."""
    width = _mean_width(evidence)
    curves = collapsed.tabulate(evidence.sums())
    coords = {"unit": np.arange(len(evidence.units)), "column": np.arange(len(evidence.column_unit))}
    if evidence.order != 1:
        del coords["column"]
    begin = np.clip(np.nan_to_num(strengths, nan=math.log(width)), math.log(0.01), math.log(1e6))
    start: dict[str, Any] = {"sigma": 0.5}
    with pm.Model(coords=coords) as model:
        sigma = pm.Gamma("sigma", alpha=SIGMA_SHAPE, beta=SIGMA_RATE)
        if evidence.order == 1:
            start["log_alpha"] = np.clip(np.nan_to_num(alphas), math.log(0.01), None)
            log_alpha = pm.Flat("log_alpha", dims="column")
            belongs = np.equal.outer(evidence.column_unit, np.arange(len(evidence.units))).astype(float)
            log_strength = pt.log(pt.exp(log_alpha) @ belongs)
            # The law of (log strength, base) as that of log alpha: the Jacobian is prod alpha / strength^width.
            # Log alphas are nearly independent a posteriori, which no coordinates of the simplex are.
            pm.Potential("base", log_alpha.sum() - (belongs.sum(axis=0) * log_strength).sum())
            arguments = pt.concatenate([log_alpha, log_strength])
        else:
            start["log_strength"] = begin
            arguments = log_strength = pm.Flat("log_strength", dims="unit")
        pm.Potential("prior", _log_strength_prior(log_strength, sigma, len(evidence.units), math.log(width)))
        pm.Potential("tokens", curve_values(curves, arguments).sum())
    return model, start


def _log_strength_prior(log_strength: Any, sigma: Any, n: int, centre: float) -> Any:
    """Log density of log strengths that are Normal(mu, sigma), with mu integrated out.

    Where units are few, mu and sigma leave each other no room for steps of one length; sigma alone does not.
    """
    mean = log_strength.mean()
    whole = sigma**2 + n * MU_SD**2
    spread = ((log_strength - mean) ** 2).sum() / sigma**2 + n * (mean - centre) ** 2 / whole
    return -0.5 * (spread + 2 * (n - 1) * pt.log(sigma) + pt.log(whole))


def _draw_mu(log_strength: Floats, sigma: Floats, centre: float, rng: np.random.Generator) -> Floats:
    """Mu given the rest `[chain, draw]`: its law is Normal, so the draws are exact."""
    precision = MU_SD**-2 + log_strength.shape[-1] / sigma**2
    mean = (centre * MU_SD**-2 + log_strength.sum(axis=-1) / sigma**2) / precision
    return rng.normal(mean, precision**-0.5)


def curve_values(curves: Curves, v: Any) -> Any:
    """`curves` as a PyTensor expression of `v` `[function]`."""
    functions, intervals, _ = curves.coefficients.shape
    inside = pt.clip(v, curves.low, curves.high)
    place = pt.cast(pt.minimum(pt.floor((inside - curves.low) / curves.step), intervals - 1), "int64")
    over = inside - curves.low - place * curves.step
    # Shared and not a constant: Numba would write a constant's every number into the machine code.
    table = pytensor.shared(np.asarray(curves.coefficients).reshape(functions * intervals, 6), borrow=True)
    powers = table[np.arange(functions) * intervals + place]
    value = powers[:, 5]
    for power in range(4, -1, -1):
        value = value * over + powers[:, power]
    below, above = pt.minimum(v - curves.low, 0.0), pt.maximum(v - curves.high, 0.0)
    return value + curves.slope[:, 0] * below + curves.slope[:, 1] * above


class _StoppedError(Exception):
    """An interrupt that PyMC swallowed at the end of one chain, found out by the next."""


class _Watch:
    """Counts the steps of all chains."""

    def __init__(self, chains: int, steps: int, in_turn: bool, tick: Callable[[int], None]) -> None:
        self.done, self.steps = np.zeros(chains, np.int64), steps
        self.in_turn, self.tick = in_turn, tick

    def __call__(self, trace: Any, draw: Any) -> None:
        if self.in_turn and (self.done[: draw.chain] < self.steps).any():
            raise _StoppedError
        self.done[draw.chain] += 1
        self.tick(int(self.done.sum()))


@contextmanager
def _quiet() -> Iterator[None]:
    """No log lines of PyMC and no warnings: `Diagnosis` says what they would."""
    log = logging.getLogger("pymc")
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        log.setLevel(level)


def _posterior(
    evidence: Evidence, paths: tuple[tuple[int, ...], ...], sampled: _Sampled, rng: np.random.Generator
) -> OrderPosterior:
    data, arguments = sampled.data, sampled.arguments
    chains, draws, _ = arguments.shape
    flat = arguments.reshape(chains * draws, -1)
    bundles = evidence.units[0].n_bundles
    left_out = collapsed.left_out_log_likelihood(evidence, flat).reshape(chains, draws, bundles)
    checks, kept = _check(evidence, arguments, rng)
    _add_groups(data, evidence, paths, left_out, checks, kept)
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
    found = {}
    for name, table in (
        ("rhat", az.rhat(data)),
        ("bulk", az.ess(data, method="bulk")),
        ("tail", az.ess(data, method="tail")),
    ):
        found[name] = {str(key): read_only(np.array(values)) for key, values in table.data_vars.items()}
    stats = data.sample_stats
    bfmi = read_only(np.asarray(az.bfmi(data), np.float64))
    divergences = int(stats["diverging"].values.sum())
    return Diagnosis(found["rhat"], found["bulk"], found["tail"], divergences, bfmi, stats.sizes["chain"])


def _check(evidence: Evidence, arguments: Floats, rng: np.random.Generator) -> tuple[Checks, np.ndarray]:
    """The checks, and which draws of every chain they replicate."""
    chains, draws, _ = arguments.shape
    kept = np.unique(np.linspace(0, draws - 1, max(1, REPLICATES // chains)).astype(np.int64))
    chosen = arguments[:, kept].reshape(chains * len(kept), -1)
    units = len(evidence.units)
    observed, replicated = np.empty((len(STATISTICS), units)), np.empty((len(STATISTICS), len(chosen), units))
    effect, p_exchangeable = np.full(units, np.nan), np.full(units, np.nan)
    several = evidence.order < 2 and evidence.units[0].n_bundles > 1
    for unit, cells in enumerate(evidence.units):
        table, lengths = cells.table(), cells.row_totals()
        observed[:, unit] = collapsed.table_statistics(evidence.order, table, cells.parent)
        alphas = [collapsed.row_alpha(evidence, unit, v) for v in chosen]
        for place, alpha in enumerate(alphas):
            new = collapsed.new_tables(alpha, lengths.sum(axis=0), rng)
            replicated[:, place, unit] = collapsed.table_statistics(evidence.order, new, cells.parent)
        if several and table.any():
            few = np.linspace(0, len(alphas) - 1, BUNDLE_REPLICATES).astype(np.int64).tolist()
            even = [collapsed.new_tables(alphas[place] + table, lengths, rng) for place in few]
            effect[unit], p_exchangeable[unit] = _dispersed(cells.tables(), even)
    above = (replicated > observed[:, None]).mean(axis=1) + (replicated == observed[:, None]).mean(axis=1) / 2
    why = (
        "" if several else "documents are compared at orders 0 and 1" if evidence.order == 2 else "one group"
    )
    for array in (observed, replicated, above, effect, p_exchangeable):
        read_only(array)
    return Checks(STATISTICS, observed, replicated, above, effect, p_exchangeable, why), kept


def _dispersed(seen: np.ndarray, even: Sequence[np.ndarray]) -> tuple[float, float]:
    """How many times as far bundles are from one law as bundles of exchangeable tokens, and how rarely those are."""
    found, usual = collapsed.dispersion(seen), np.array([collapsed.dispersion(tables) for tables in even])
    if not usual.mean() > 0:
        return math.nan, math.nan
    return float(found / usual.mean()), float((1 + (usual >= found).sum()) / (1 + len(usual)))


def _add_groups(
    data: Any,
    evidence: Evidence,
    paths: tuple[tuple[int, ...], ...],
    left_out: Floats,
    checks: Checks,
    kept: np.ndarray,
) -> None:
    """Put what PyMC does not know of into its InferenceData."""
    names = [" → ".join(map(str, path)) for path in paths]
    for group in (data.posterior, replicated := _replicated(checks, kept, left_out.shape[0])):
        group.coords["path"] = ("unit", names)
    if evidence.order == 1:
        data.posterior.coords["column_unit"] = ("column", evidence.column_unit)
        data.posterior.coords["column_target"] = ("column", evidence.column_target)
    cells = [(np.full(len(found[0]), unit), *found) for unit, found in enumerate(_pooled(evidence))]
    columns = ("cell_unit", "cell_row", "cell_target", "cell_count")
    seen = {
        name: ("cell", np.concatenate(part))
        for name, part in zip(columns, zip(*cells, strict=True), strict=True)
    }
    seen |= {name: ("unit", row) for name, row in zip(checks.statistics, checks.observed, strict=True)}
    places = {"chain": data.posterior.chain, "draw": data.posterior.draw}
    data.add_groups(
        log_likelihood=xr.Dataset({"bundle": (("chain", "draw", "group_bundle"), left_out)}, places),
        posterior_predictive=replicated,
        observed_data=xr.Dataset(seen, {"path": ("unit", names)}),
    )


def _pooled(evidence: Evidence) -> list[tuple[np.ndarray, ...]]:
    return [cells.pooled() for cells in evidence.units]


def _replicated(checks: Checks, kept: np.ndarray, chains: int) -> xr.Dataset:
    shape = chains, len(kept), checks.observed.shape[1]
    values = {
        name: (("chain", "draw", "unit"), part.reshape(shape))
        for name, part in zip(checks.statistics, checks.replicated, strict=True)
    }
    return xr.Dataset(values, {"chain": np.arange(chains), "draw": kept})


def _transitions(evidence: Evidence, data: Any, tables: Sequence[Any]) -> tuple[Floats, ...]:
    """Posterior mean of every row: (alpha + counts) / (strength + tokens), averaged over the draws."""
    alpha = np.exp(data.posterior["log_alpha"].values).reshape(-1, len(evidence.column_unit))
    found = []
    for gap, table in enumerate(tables):
        own, pooled = alpha[:, evidence.column_unit == gap], table.sum(axis=0)
        share = 1.0 / (own.sum(axis=1)[:, None] + pooled.sum(axis=1))
        found.append(read_only(share.T @ own / len(own) + share.mean(axis=0)[:, None] * pooled))
    return tuple(found)


def _compare(
    evidence: Sequence[Evidence], orders: Sequence[OrderPosterior], scored: tuple[int, ...], seed: int
) -> OrderComparison:
    numbers, bundles = tuple(order.order for order in orders), evidence[0].units[0].n_bundles
    kept = [cells for cells, use in zip(evidence[0].units, evidence[0].scored, strict=True) if use]
    tokens = np.sum([cells.row_totals().sum(axis=1) for cells in kept], axis=0)
    nothing = np.full(len(orders), np.nan)
    if bundles < 2:
        why = "the orders cannot be compared: that needs at least 2 groups of documents, got 1"
        blank = (Estimate(math.nan, math.nan, math.nan, math.nan, bundles, why),) * len(orders)
        wide = np.full((len(orders), bundles), np.nan)
        return OrderComparison(
            numbers,
            nothing,
            blank,
            blank,
            nothing,
            wide,
            math.nan,
            None,
            bundles,
            int(tokens.sum()),
            scored,
            why,
        )
    with _quiet():
        found = [az.loo(order.inference_data, pointwise=True) for order in orders]
        table = az.compare(dict(zip(_ORDERS, found, strict=False)), method="BB-pseudo-BMA", seed=seed)
    terms = np.stack([np.asarray(item.loo_i) for item in found])
    best = int(np.argmax(terms.sum(axis=1)))
    elpd = tuple(ratio(row / math.log(2), tokens) for row in terms)
    behind = tuple(ratio((terms[best] - row) / math.log(2), tokens) for row in terms)
    chosen = next(place for place, item in enumerate(behind) if place == best or item.low <= 0)
    return OrderComparison(
        numbers,
        read_only(terms.sum(axis=1)),
        elpd,
        behind,
        read_only(np.array([table.loc[name, "weight"] for name in _ORDERS[: len(orders)]], np.float64)),
        read_only(np.stack([np.asarray(item.pareto_k) for item in found])),
        float(found[0].good_k),
        numbers[chosen],
        bundles,
        int(tokens.sum()),
        scored,
    )
