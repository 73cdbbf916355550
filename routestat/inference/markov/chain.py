"""The Markov chain of routing: inhomogeneous, one transition matrix per layer gap, Dirichlet rows.

Each gap has its own order: 0 (the marginal distribution of the layer), 1 (given the layer before), 2 (given the two
layers before, backed off to one). Each row of order 1 has the prior Dirichlet(alpha). The posterior takes tokens as
independent given the chain; for credible intervals counts are divided by the design effect of the documents.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.counting.context import Context
from routestat.counting.counts import Counts
from routestat.errors import RoutestatError
from routestat.inference.base.tables import Floats, read_only, whole_counts
from routestat.inference.markov.direct_steps import DirectSteps
from routestat.inference.markov.second_order import SecondOrderStep
from routestat.inference.smoothing.design_effect import TOO_NARROW, row_weight, transition_design_effect
from routestat.inference.smoothing.posterior import (
    TransitionPosterior,
    beta_interval,
    log_evidence,
    posterior_of,
)
from routestat.inference.smoothing.prior import positive_alpha, resolve_alpha


@dataclass(frozen=True)
class Prediction:
    """The prediction of a later layer: one entry per target, in order of its index.

    Attributes
    ----------
    probability, low, high : float array ``[target]``
        Posterior mean and equal-tailed credible limits. Of a state in the state view; of an expert's inclusion
        in the expert view, where they sum to k.
    n_tokens : int
        Tokens with this source (in the expert view: the fewest with one of its experts). With 0 the prediction is
        that of the prior, or of the back-off.
    level : float
    layer : int
        The predicted layer.
    order : int
        How many earlier layers were used.
    note : str
        A caution about the limits; empty if there is none.
    design_effect : float
        Dependent tokens per independent one in the limits; NaN where it is not one of the chain's.
    direct : bool
        Whether the prediction is from the table of the two layers where others lie between them.
    """

    probability: Floats
    low: Floats
    high: Floats
    n_tokens: int
    level: float
    layer: int = -1
    order: int = 1
    note: str = ""
    design_effect: float = float("nan")
    direct: bool = False


@dataclass(frozen=True)
class Chain:
    """A fitted chain over the layers.

    Attributes
    ----------
    states : {"subset", "expert"}
        In the expert view a step goes from a random one of the k experts to a random one of the next k.
    layers : tuple of int
    n_experts, top_k : tuple of int
        Of each layer's router.
    first : int array ``[target]``
        Counts of the first layer.
    counts : tuple of int arrays ``[source, target]``
        One per gap.
    alpha : str or float
        As requested.
    priors : tuple of float arrays ``[target]``
        The resolved alpha of the first layer, then of each gap.
    second : tuple of SecondOrder or None
        One per gap: its step of order 2, where it has one.
    orders : tuple of int
        One per gap.
    design_effects : tuple of float
        One per gap: dependent tokens per independent one.
    direct : mapping of (int, int) to DirectStep
        Transitions between layers that are not adjacent, by the places of the two; those that were counted.
    """

    states: str
    layers: tuple[int, ...]
    n_experts: tuple[int, ...]
    top_k: tuple[int, ...]
    first: NDArray[np.int64]
    counts: tuple[NDArray[np.int64], ...]
    alpha: str | float
    priors: tuple[Floats, ...]
    second: tuple[SecondOrderStep | None, ...] = ()
    orders: tuple[int, ...] = ()
    design_effects: tuple[float, ...] = ()
    direct: DirectSteps = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Fill in order 1 and a design effect of 1 where none were given."""
        gaps = len(self.counts)
        for name, plain in (("second", None), ("orders", 1), ("design_effects", 1.0)):
            if not getattr(self, name):
                object.__setattr__(self, name, (plain,) * gaps)

    @property
    def note(self) -> str:
        """A caution about credible intervals where no design effect is known."""
        # Without groups of documents all are exactly one.
        return TOO_NARROW if all(effect == 1.0 for effect in self.design_effects) else ""

    @property
    def order(self) -> int:
        """The largest order of its gaps; 0 for a single layer."""
        return max(self.orders, default=0)

    @property
    def initial(self) -> Floats:
        """Posterior mean distribution of the first layer ``[target]``."""
        return read_only((self.first + self.priors[0]) / (self.first.sum() + self.priors[0].sum()))

    @property
    def transitions(self) -> tuple[Floats, ...]:
        """Posterior mean transition matrices of order 1 ``[source, target]``, one per gap; rows sum to one."""
        return tuple(self.transition(gap) for gap in range(len(self.counts)))

    def transition(self, gap: int) -> Floats:
        """Compute the posterior mean transition matrix of order 1 ``[source, target]`` of one gap."""
        table, prior = self.counts[gap], self.priors[gap + 1]
        return read_only((table + prior) / (table.sum(axis=1, keepdims=True) + prior.sum()))

    @property
    def concentration(self) -> tuple[float, ...]:
        """Total prior weight, in tokens (in the expert view: in choices), of a row of each gap."""
        return tuple(float(prior.sum()) for prior in self.priors[1:])

    def posterior(self, gap: int) -> TransitionPosterior:
        """Compute the posterior of the transition matrix of one gap, with the weights of `predict`."""
        table = self.counts[gap].astype(np.float64)
        prior = positive_alpha(self.priors[gap + 1], table.shape)
        return posterior_of(table, prior, self.alpha, None if self.note else self.design_effects[gap])

    def own_prior(self, gap: int) -> Floats:
        """Resolve the prior of order 0 of the layer after `gap` ``[target]``, a single row."""
        return resolve_alpha(self.counts[gap].sum(axis=0)[None], self.alpha)

    def own_distribution(self, gap: int) -> Floats:
        """Compute the distribution of order 0 of the layer after `gap`, independent of the source."""
        concentration = self.counts[gap].sum(axis=0) + self.own_prior(gap)
        return read_only(concentration / concentration.sum())

    def own_law(self, gap: int) -> Floats:
        """Return `own_distribution` under its earlier name."""
        return self.own_distribution(gap)

    @property
    def log_evidence(self) -> float:
        """Natural log evidence of all transitions of order 1 given the first layer; NaN in the expert view.

        There the k·k cells of a token are dependent draws, so that they have no such evidence.
        """
        if self.states == "expert":
            return float("nan")
        pairs = zip(self.counts, self.priors[1:], strict=True)
        return float(sum(np.sum(log_evidence(table, prior)) for table, prior in pairs))

    def gap_after(self, layer: int) -> int:
        """Return the gap that starts at `layer`.

        Raises
        ------
        RoutestatError
            If the chain does not have the layer, or nothing follows it.
        """
        if layer not in self.layers:
            known = ", ".join(map(str, self.layers))
            raise RoutestatError(f"layer {layer} is not in this chain; its layers are {known}")
        if self.layers.count(layer) > 1:
            raise RoutestatError(f"layer {layer} has several routers; predict needs layers with one")
        if layer == self.layers[-1]:
            raise RoutestatError(f"layer {layer} is the chain's last: nothing follows it")
        return self.layers.index(layer)

    def predict(self, layer: int, source: int | Sequence[int], level: float = 0.95) -> Prediction:
        """Predict the next layer after `layer` chose `source`.

        Parameters
        ----------
        layer : int
        source : int or sequence of int
            A state in the state view, the k experts in the expert view.
        level : float
            Of the credible intervals.

        Raises
        ------
        RoutestatError
            If the layer or the source does not exist.
        """
        gap = self.gap_after(layer)
        if self.states == "subset":
            return self._after_state(gap, source, level)
        return self._after_experts(gap, source, level)

    def _after_state(self, gap: int, source: int | Sequence[int], level: float) -> Prediction:
        table = self.counts[gap]
        if not isinstance(source, int | np.integer) or not 0 <= source < len(table):
            raise RoutestatError(
                f"state {source} is out of range: layer {self.layers[gap]} has 0 … {len(table) - 1}"
            )
        mean, n_tokens, worth = (
            self.transition(gap)[source],
            int(table[source].sum()),
            self.design_effects[gap],
        )
        weight = row_weight(self.alpha, self.priors[gap + 1].sum(), table.sum() / worth, n_tokens / worth)
        low, high = beta_interval(weight * mean, weight * (1.0 - mean), level)
        return Prediction(mean, low, high, n_tokens, level, self.layers[gap + 1], 1, self.note, worth)

    def _after_experts(self, gap: int, source: int | Sequence[int], level: float) -> Prediction:
        experts = sorted({int(e) for e in np.atleast_1d(np.asarray(source))})
        top_k, n_experts = self.top_k[gap], self.n_experts[gap]
        if len(experts) != top_k or experts[0] < 0 or experts[-1] >= n_experts:
            raise RoutestatError(
                f"layer {self.layers[gap]} chooses {top_k} different experts of 0 … {n_experts - 1}, got {source}"
            )
        prior, k_next = self.priors[gap + 1], self.top_k[gap + 1]
        rows = self.counts[gap][experts]
        choices = rows.sum(axis=1, keepdims=True) + prior.sum()
        share = (rows + prior) / choices
        inclusion = np.clip(k_next * share, 0.0, 1.0)
        # A row holds k choices of each token, so its weight in tokens is a k-th of that in choices.
        variance = inclusion * (1 - inclusion) / (choices / k_next + 1)
        mean = inclusion.mean(axis=0)
        sd = np.sqrt(variance.sum(axis=0)) / len(experts)
        # The Beta distribution with these moments cannot leave 0 … 1, as mean ± 2 sd would.
        weight = np.maximum(mean * (1 - mean) / np.maximum(sd, 1e-300) ** 2 - 1, 1e-9)
        low, high = beta_interval(weight * mean, weight * (1.0 - mean), level)
        n_tokens = int(rows.sum(axis=1).min() // k_next)
        return Prediction(read_only(mean), low, high, n_tokens, level, self.layers[gap + 1], 1, self.note)


def fit_chain(
    first: ArrayLike | Counts,
    counts: Sequence[ArrayLike] = (),
    alpha: str | float = "empirical-bayes",
    *,
    layers: Sequence[int] = (),
    n_experts: Sequence[int] = (),
    top_k: Sequence[int] = (),
    states: str = "subset",
    second: Sequence[SecondOrderStep | None] = (),
    orders: Sequence[int] = (),
    design_effects: Sequence[float] = (),
    direct: DirectSteps = MappingProxyType({}),
) -> Chain:
    """Fit the chain to counts.

    Tokens of one document are dependent. Counts by group of documents give the design effect, which widens the
    credible intervals of the state view; for tables that were summed over documents it is unknown, and the intervals
    of their chain take tokens as independent (`Chain.note`).

    Parameters
    ----------
    first : Counts, or counts ``[target]`` or ``[group, target]`` of the first layer
        Counts of a trace with the contexts nothing and layer −1, as `count` returns them, hold all arguments up to
        `states`: ``fit_chain(count(trace))`` is the chain of the predict command.
    counts : sequence of counts ``[source, target]`` or ``[group, source, target]``, one per gap
    alpha : float or {"jeffreys", "perks", "empirical-bayes", "hierarchical"}
        The prior of a row; empirical Bayes (default) learns one alpha per gap by evidence.
    layers, n_experts, top_k : sequences
        One entry per layer.
    states : {"subset", "expert"}
    second, orders : sequences
        One entry per gap, or none: order 1 throughout. Order 2 needs its `SecondOrderStep`.
    design_effects : sequence of float
        One per gap: tokens per independent one. Estimated from the groups unless given; 1 where there are no groups
        and in the expert view.
    direct : mapping of (int, int) to DirectStep
        By the places of two layers, which `predict_ahead` then uses instead of multiplying the steps between them.

    Raises
    ------
    RoutestatError
        If alpha is no prior, the shapes do not chain up, or something is given that Counts hold already.
    """
    if isinstance(first, Counts):
        if any(map(len, (counts, layers, n_experts, top_k))) or states != "subset":
            raise RoutestatError(
                "fit_chain: Counts hold their tables, layers and view; give only alpha= and what follows top_k"
            )
        routers, states = first.routers, first.states
        layers = [router.layer for router in routers]
        n_experts, top_k = [router.n_experts for router in routers], [router.top_k for router in routers]
        counts = [first.table(Context.layer(1), router) for router in routers[1:]]
        first = first.table(Context(), routers[0])
    effects = _design_effects(counts, states, design_effects)
    start = _over_groups(whole_counts(first, "first"), 1)
    tables = tuple(_over_groups(whole_counts(table, "counts"), 2) for table in counts)
    _check_chained(start, tables, len(layers))
    _check_gaps(len(tables), second, orders, effects)
    _check_direct([len(start), *(table.shape[1] for table in tables)], direct)
    priors = [resolve_alpha(table, alpha) for table in (start[None], *tables)]
    for array in (start, *tables):
        read_only(array)
    return Chain(
        states,
        tuple(layers),
        tuple(n_experts),
        tuple(top_k),
        start,
        tables,
        alpha,
        tuple(priors),
        tuple(second),
        tuple(orders),
        effects,
        dict(direct),
    )


def _design_effects(counts: Sequence[ArrayLike], states: str, given: Sequence[float]) -> tuple[float, ...]:
    """Return the given design effects, or those of the state view's tables that are kept by group."""
    kept = [whole_counts(table, "counts") for table in counts]
    if given or states != "subset" or all(table.ndim < 3 for table in kept):
        return tuple(given)
    return tuple(transition_design_effect(table) if table.ndim == 3 else 1.0 for table in kept)


def _check_gaps(
    gaps: int,
    second: Sequence[SecondOrderStep | None],
    orders: Sequence[int],
    design_effects: Sequence[float],
) -> None:
    """Refuse sequences without one entry per gap, and order 2 without its counts."""
    for name, given in (("second", second), ("orders", orders), ("design_effects", design_effects)):
        if given and len(given) != gaps:
            raise RoutestatError(f"{name}: expected one entry for each of {gaps} gaps, got {len(given)}")
    if any(order == 2 and not (second and second[gap]) for gap, order in enumerate(orders)):
        raise RoutestatError("a gap of order 2 needs its counts: pass fit_second_order of them as `second`")


def _check_direct(widths: Sequence[int], direct: DirectSteps) -> None:
    """Refuse transitions between layers that do not exist, are adjacent, or have other states."""
    for (start, end), step in direct.items():
        if not 0 <= start < end - 1 < len(widths) - 1:
            raise RoutestatError(
                f"direct: expected two layers of {len(widths)} with others between them, got {start} and {end}"
            )
        if step.counts.shape != (widths[start], widths[end]):
            raise RoutestatError(
                f"direct: expected {widths[start]}×{widths[end]} states for layers {start} and {end}, got "
                f"{step.counts.shape}"
            )


def _over_groups(counts: NDArray[np.integer], axes: int) -> NDArray[np.int64]:
    """Sum over the groups, if there are any."""
    if counts.ndim not in (axes, axes + 1):
        raise RoutestatError(
            f"a chain needs counts of {axes} axes, or {axes + 1} with groups first, got {counts.ndim}"
        )
    return counts.sum(axis=0, dtype=np.int64) if counts.ndim > axes else counts.astype(np.int64)


def _check_chained(start: NDArray[np.int64], tables: Sequence[NDArray[np.int64]], layers: int) -> None:
    widths = [len(start), *(table.shape[1] for table in tables)]
    if len(tables) != layers - 1 or any(t.shape[0] != w for t, w in zip(tables, widths, strict=False)):
        raise RoutestatError(
            "a chain over L layers needs L − 1 tables, each as long as the one before is wide"
        )
