"""All findings on the differences between two traces."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from routestat.counting.agreement import Agreement
from routestat.counting.context import Context
from routestat.counting.counts import Counts
from routestat.inference.base.estimate import Estimate, ratio
from routestat.inference.base.multiplicity import adjust_log10
from routestat.inference.two_sample.cells import CellDifferences, cell_differences
from routestat.inference.two_sample.distributions import (
    DistributionDifference,
    TransitionDifference,
    compare_distributions,
    compare_transitions,
)
from routestat.inference.two_sample.permutation_test import permutation_p
from routestat.inference.two_sample.summaries import (
    FigureDifference,
    compare_figures,
    entropy_bits,
    gini,
    information_bits,
    max_over_mean,
    profile_distance,
)
from routestat.progress import Tick, silent
from routestat.study.comparison_structure import StructureComparison
from routestat.traces.clusters.summary import UnitSummary
from routestat.traces.dummy_rows.findings import Finding
from routestat.traces.metadata import Router, TraceMeta
from routestat.traces.pairing.document_matching import Pairing

#: Below so many tokens per cell of either trace a divergence is biased upwards, whatever is subtracted.
ENOUGH_PER_CELL = 30
PERMUTATIONS = 999


@dataclass(frozen=True)
class Side:
    """One of the two traces: its path, its metadata, and how much of it was compared."""

    path: str
    meta: TraceMeta
    domain: str | None
    n_tokens: int
    n_documents: int
    n_groups: int
    units: UnitSummary
    not_measured: tuple[Finding, ...] = ()


@dataclass(frozen=True)
class LayerComparison:
    """One layer in both traces.

    `distribution`, `cells` and `permutation` are None (NaN) where the two routers have different numbers of experts,
    `flips` and `kept` where the traces do not hold the same tokens. `log10_q` is after Benjamini and Hochberg over the
    layers.
    """

    a: Router
    b: Router
    distribution: DistributionDifference | None
    cells: CellDifferences | None
    permutation: float
    log10_q: float
    figures: Mapping[str, FigureDifference]
    profile_distance: float
    flips: Estimate | None
    kept: Estimate | None

    @property
    def share_difference(self) -> NDArray[np.float64] | None:
        """Share of every state (or expert) in A minus that in B ``[state]``."""
        return None if self.distribution is None else self.distribution.share_a - self.distribution.share_b


@dataclass(frozen=True)
class TransitionComparison:
    """One pair of adjacent layers in both traces; q-values are over the transitions, joint and conditional apart."""

    source: Router
    target: Router
    difference: TransitionDifference | None
    cells: CellDifferences | None
    permutation: float
    log10_q: float
    log10_q_conditional: float
    information: FigureDifference
    caution: str


@dataclass(frozen=True)
class TraceComparison:
    """All findings on two traces.

    Documents in both traces are compared with themselves if `pairing` is paired. `layers_of_b` holds, by the name of
    A's router, the layer of B where it has another number; `structure` has blocks and routes.
    """

    a: Side
    b: Side
    states: str
    pairing: Pairing
    layers_of_b: Mapping[str, int]
    notes: tuple[str, ...]
    layers: tuple[LayerComparison, ...]
    transitions: tuple[TransitionComparison, ...]
    structure: StructureComparison | None = None


def compare_traces(
    sides: tuple[Side, Side],
    counts: tuple[Counts, Counts],
    agreement: Agreement | None,
    rng: np.random.Generator,
    *,
    pairing: Pairing,
    layers_of_b: Mapping[str, int],
    notes: Sequence[str],
    tick: Tick = silent,
) -> TraceComparison:
    """Compare two traces.

    Parameters
    ----------
    sides : the two traces
    counts : counts of both
        In one view, with the contexts nothing and layer −1, over routers of the same names; paired, with the same
        groups.
    agreement : Agreement or None
        Of the tokens that are in both, by the same groups.
    rng : numpy.random.Generator
        For permutations of documents; each layer and each transition has its own stream.
    pairing, layers_of_b, notes
        As in `TraceComparison`.
    tick : callable(what, done, total)
    """
    first, second = counts
    paired = pairing.paired
    layers, transitions = [], []
    of_layers, of_transitions = (each.spawn(len(first.routers)) for each in rng.spawn(2))
    for place, (a, b) in enumerate(zip(first.routers, second.routers, strict=True)):
        tick("comparing layers", place, len(first.routers))
        pair = first.table(Context(), a), second.table(Context(), b)
        layers.append(
            _layer(first.states, a, b, pair, _same_tokens(agreement, place), paired, of_layers[place])
        )
    tick("comparing layers", len(layers), len(layers))
    ends = [(first.source(router), router) for router in first.routers[1:]]
    for place, (source, target) in enumerate(ends):
        tick("comparing transitions", place, len(ends))
        if source is not None:
            others = {router.name: router for router in second.routers}
            pair = first.table(Context.layer(1), target), second.table(Context.layer(1), target)
            alike = all(_alike(router, others[router.name]) for router in (source, target))
            own = of_transitions[place]
            transitions.append(_transition(first.states, source, target, pair, alike, paired, own))
    tick("comparing transitions", len(ends), len(ends))
    return TraceComparison(
        *sides,
        states=first.states,
        pairing=pairing,
        layers_of_b=dict(layers_of_b),
        notes=tuple(notes),
        layers=_adjusted_layers(layers),
        transitions=_adjusted_transitions(transitions),
    )


def _alike(a: Router, b: Router) -> bool:
    return (a.n_experts, a.top_k) == (b.n_experts, b.top_k)


def _layer(
    states: str,
    a: Router,
    b: Router,
    tables: tuple[NDArray[np.integer], NDArray[np.integer]],
    same: tuple[Estimate, Estimate] | None,
    paired: bool,
    rng: np.random.Generator,
) -> LayerComparison:
    distribution = cells = None
    chance = nan = float("nan")
    if _alike(a, b):
        distribution = compare_distributions(
            *tables, paired=paired, per_token=1 if states == "subset" else a.top_k
        )
        cells = cell_differences(*tables, paired=paired)
        if distribution.reason is None:
            chance = permutation_p(*tables, rng, paired=paired, n_resamples=PERMUTATIONS)
    loads = [_loads(states, router, table) for router, table in zip((a, b), tables, strict=True)]
    statistics = {"load_entropy_bits": entropy_bits, "load_gini": gini, "load_max_over_mean": max_over_mean}
    figures = {
        name: compare_figures(figure, *loads, paired=paired, smooth=figure is entropy_bits)
        for name, figure in statistics.items()
    }
    if states == "subset":
        figures = {"entropy_bits": compare_figures(entropy_bits, *tables, paired=paired)} | figures
    distance = profile_distance(*(load.sum(axis=0) for load in loads))
    flips, kept = same or (None, None)
    return LayerComparison(a, b, distribution, cells, chance, nan, figures, distance, flips, kept)


def _loads(states: str, router: Router, table: NDArray[np.integer]) -> NDArray[np.int64]:
    """Count the tokens that include each expert ``[group, expert]``."""
    counts = table.astype(np.int64)
    return counts if states == "expert" else counts @ router.alphabet.membership.astype(np.int64)


def _same_tokens(agreement: Agreement | None, place: int) -> tuple[Estimate, Estimate] | None:
    """Estimate the share of tokens whose subset differs, and the mean number of experts in common."""
    if agreement is None:
        return None
    tokens = agreement.tokens[:, place]
    return ratio(agreement.flips[:, place], tokens), ratio(agreement.kept[:, place], tokens)


def _transition(
    states: str,
    source: Router,
    target: Router,
    tables: tuple[NDArray[np.integer], NDArray[np.integer]],
    alike: bool,
    paired: bool,
    rng: np.random.Generator,
) -> TransitionComparison:
    a, b = tables
    nan, difference, cells, chance, caution = float("nan"), None, None, float("nan"), ""
    if alike:
        per_token = 1 if states == "subset" else source.top_k * target.top_k
        difference = compare_transitions(a, b, paired=paired, per_token=per_token)
        flat = a.reshape(len(a), -1), b.reshape(len(b), -1)
        cells = cell_differences(*flat, paired=paired)
        if difference.joint.reason is None:
            chance = permutation_p(*flat, rng, paired=paired, n_resamples=PERMUTATIONS)
        caution = _few(*(table.sum(axis=0) for table in flat))
    information = compare_figures(information_bits, a, b, paired=paired)
    return TransitionComparison(source, target, difference, cells, chance, nan, nan, information, caution)


def _few(a: NDArray[np.integer], b: NDArray[np.integer]) -> str:
    least = min(int(a.sum()), int(b.sum())) / max(1, int(np.count_nonzero(a + b)))
    few = f"only {least:.3g} counts per cell in the smaller trace: below {ENOUGH_PER_CELL} bits are biased upwards"
    return few if least < ENOUGH_PER_CELL else ""


def _adjusted_layers(layers: Sequence[LayerComparison]) -> tuple[LayerComparison, ...]:
    q = _family([item.distribution for item in layers])
    return tuple(replace(item, log10_q=value) for item, value in zip(layers, q, strict=True))


def _adjusted_transitions(items: Sequence[TransitionComparison]) -> tuple[TransitionComparison, ...]:
    joint = _family([item.difference.joint if item.difference else None for item in items])
    given = _family([item.difference.conditional if item.difference else None for item in items])
    return tuple(
        replace(item, log10_q=first, log10_q_conditional=second)
        for item, first, second in zip(items, joint, given, strict=True)
    )


def _family(distributions: Sequence[DistributionDifference | None]) -> list[float]:
    """Return log10 q after Benjamini and Hochberg."""
    logs = [
        distribution.log10_p_clustered if distribution else float("nan") for distribution in distributions
    ]
    return adjust_log10(logs).tolist() if logs else []
