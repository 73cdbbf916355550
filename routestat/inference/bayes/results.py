"""Results of full Bayes of the chain: diagnosis, checks, posteriors of the orders and their comparison.

Reading them does not load PyMC, which takes seconds.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from routestat.inference.base.estimate import Estimate
from routestat.inference.base.tables import Floats

#: Convergence criteria; Vehtari et al. (2021) for the first two.
RHAT, ESS_PER_CHAIN, BFMI = 1.01, 100, 0.3


@dataclass(frozen=True, slots=True, eq=False)
class Diagnosis:
    """Whether the sampler converged.

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
        """Largest R-hat of all parameters."""
        return float(np.max([np.max(values) for values in self.rhat.values()]))

    @property
    def ess_bulk_min(self) -> float:
        """Smallest bulk effective sample size."""
        return float(np.min([np.min(values) for values in self.ess_bulk.values()]))

    @property
    def ess_tail_min(self) -> float:
        """Smallest tail effective sample size."""
        return float(np.min([np.min(values) for values in self.ess_tail.values()]))

    @property
    def converged(self) -> bool:
        """Whether all criteria are met."""
        return not self._troubles()

    @property
    def verdict(self) -> str:
        """Converged, or what is wrong and what to do, in words."""
        return "; ".join(self._troubles()) or "converged"

    def _troubles(self) -> list[str]:
        found = []
        if not self.rhat_max <= RHAT:
            worst = list(self.rhat)[int(np.argmax([np.max(values) for values in self.rhat.values()]))]
            found.append(
                f"the chains disagree (R-hat {self.rhat_max:.4f} of {worst}, expected at most {RHAT}): "
                "use more tuning steps and draws"
            )
        fewest = float(np.min([self.ess_bulk_min, self.ess_tail_min]))
        wanted = ESS_PER_CHAIN * self.n_chains
        if not fewest >= wanted:
            found.append(f"the effective sample size is only {fewest:.0f}, expected {wanted}: use more draws")
        if self.divergences:
            found.append(
                f"{self.divergences} steps diverged, so a part of the posterior was not reached: "
                "use more tuning steps; the widths of the intervals are unreliable"
            )
        if not self.bfmi.min() >= BFMI:
            found.append(
                f"the energies mix badly (E-BFMI {self.bfmi.min():.2f}, expected {BFMI}): use more tuning steps"
            )
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Checks:
    """Tables replicated from the posterior against the observed ones.

    Attributes
    ----------
    statistics
        Names along the first axis; see `predictive_checks.table_statistics`.
    observed, replicated
        `[statistic, unit]` and `[statistic, replicate, unit]`: rows with the observed totals, drawn from the model.
    p_values
        `[statistic, unit]`: the share of replicates above the observed value, ties by half. Near 0 or 1 the model
        does not describe the table. NaN, like all values of a unit, where it has no tokens or its table is too large to
        replicate.
    design_effect
        `[unit]`: Pearson's X2 of bundles of groups against common rows, over its mean in replicates whose tokens are
        exchangeable; 1 if tokens do not depend on documents. NaN with a `reason`, and where no row could differ
        between bundles.
    p_exchangeable
        `[unit]`: the share of such replicates with as large an X2.
    reason
        Why there is no design effect; empty if there is one.
    """

    statistics: tuple[str, ...]
    observed: Floats
    replicated: Floats
    p_values: Floats
    design_effect: Floats
    p_exchangeable: Floats
    reason: str = ""

    def replicated_mean(self, statistic: int, unit: int) -> float:
        """Return the mean of one statistic of one unit over the replicates, by its places."""
        return float(self.replicated[statistic, :, unit].mean())

    def reading(self) -> str:
        """Describe the effect of documents on the credible intervals in words."""
        if self.reason:
            return self.reason
        known = self.design_effect[np.isfinite(self.design_effect)]
        if not len(known):
            return "no row of any table has tokens of two documents that could differ"
        failed, effect = int((self.p_exchangeable < 0.05).sum()), float(known.mean())
        widening = f"{math.sqrt(max(effect, 1.0)):.2g}"
        if not failed or widening == "1":
            return "documents do not differ from shuffled tokens, so the credible intervals have about the right width"
        return (
            f"tokens of a document are alike in {failed} of {len(known)} tables (design effect {effect:.2g} on "
            f"average), so credible intervals are too narrow by a factor of about {widening}"
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
        Deficit of each to the best in bits, paired over bundles; 0 for the best.
    weight
        Pseudo-BMA weight `[order]`, by the Bayesian bootstrap over bundles.
    pareto_k
        `[order, bundle]`; above `good_k` the term of a bundle is unreliable.
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

    @property
    def n_bad(self) -> NDArray[np.int64]:
        """Terms of every order whose Pareto k is above `good_k`."""
        return (self.pareto_k > self.good_k).sum(axis=1)

    def reading(self) -> str:
        """Describe the comparison in words."""
        if self.chosen_order is None:
            return self.reason
        bad = int(self.n_bad.sum())
        doubt = (
            f"; {bad} of {self.pareto_k.size} terms have a Pareto k above {self.good_k:.2f} and are approximate"
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
        The part of the tokens that was used; empty if all.
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
        """Whether the sampler converged for all orders."""
        return all(order.diagnosis.converged for order in self.orders)
