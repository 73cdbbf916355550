"""How many documents are needed: results of random subsets of the documents, and their extrapolation."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.errors import RoutestatError
from routestat.inference.base.chunks import chunks
from routestat.inference.base.clustered_score_test import few_groups
from routestat.inference.base.estimate import group_correction, sandwich_error
from routestat.inference.base.ranks import kendall_tau_b
from routestat.inference.base.tables import Floats, Integers, contingency, read_only, whole_counts
from routestat.inference.base.units import LEAST_EFFECTIVE, effective_units
from routestat.inference.information.mutual_information import plugin_information, pointwise_information
from routestat.inference.sample_size.interval_width import Width, fit_width, quantile, width_caution

FEWEST = 8


@dataclass(frozen=True, eq=False, kw_only=True)
class SampleSize:
    """Precision against the number of documents; see `sample_size`.

    Attributes
    ----------
    n_groups, n_documents, n_tokens : int
        Groups that hold tokens; documents are as many unless they were given.
    sizes, ahead : int arrays ``[size]``
        Numbers of groups that were tried, and 2 and 4 times those there are.
    load : Width or None
        Of the load of an expert, the mean over experts, as a share of tokens.
    ranking_tau : float array ``[size]``
        Kendall's tau-b between the loads of two disjoint sets of that many groups; NaN beyond half of them.
    ranking_groups, ranking_documents : float
        The least tried whose tau reaches `ranking_target`; NaN if none.
    information : Width or None
        Of the mutual information in bits, if tables were given.
    mi_bits_plugin : float array ``[size]``
        Plug-in information of subsets: falls towards the truth as groups are added.
    mi_bits_endless : float
        Where a line in 1/groups through the larger subsets ends.
    reason, note : str or None
        Why there are no figures; cautions.
    """

    n_groups: int
    n_documents: int
    n_tokens: int
    sizes: Integers
    ahead: Integers
    load: Width | None = None
    ranking_tau: Floats = field(default_factory=lambda: np.empty(0))
    ranking_target: float = math.nan
    ranking_groups: float = math.nan
    ranking_documents: float = math.nan
    information: Width | None = None
    mi_bits_plugin: Floats = field(default_factory=lambda: np.empty(0))
    mi_bits_endless: float = math.nan
    reason: str | None = None
    note: str | None = None


def sample_size(
    loads: ArrayLike,
    tokens: ArrayLike,
    rng: np.random.Generator,
    *,
    tables: ArrayLike | None = None,
    documents: ArrayLike | None = None,
    draws: int = 20,
    load_target: float = 0.01,
    bits_target: float = 0.01,
    ranking_target: float = 0.9,
) -> SampleSize:
    """Measure precision on random subsets of 4, 8, 16, … groups, drawn without replacement.

    Groups are taken as alike and independent, tokens within one are not. A group that bundles several documents
    counts as one here: figures in documents assume that more of them come in the same bundles or one by one
    alike, which holds where the documents are independent.

    Parameters
    ----------
    loads : array_like ``[group, expert]``
        Tokens of the group that use the expert (or have the state).
    tokens : array_like ``[group]``
    rng : numpy.random.Generator
    tables : array_like ``[group, source, target]``, optional
        A pair of layers, for the information between them.
    documents : array_like ``[group]``, optional
        Documents of each group; one each by default.
    draws : int
        Subsets of each size.
    load_target, bits_target : float
        Half-widths that are narrow enough: a share of tokens, bits.
    ranking_target : float
        The tau-b from which a ranking counts as stable.

    Returns
    -------
    SampleSize
        With a `reason` instead of figures below 8 groups.

    Raises
    ------
    RoutestatError
        For counts that are not whole, shapes that do not fit, or targets out of range.

    References
    ----------
    Cochran (1977), Sampling Techniques, section 6; Strong et al. (1998), Phys. Rev. Lett. 80 (extrapolation of
    information in 1/sample size).
    """
    counts, size, cells, bundle = _checked(loads, tokens, tables, documents)
    if draws < 1 or not (load_target > 0 and bits_target > 0 and 0 < ranking_target <= 1):
        raise RoutestatError(
            "sample_size: expected draws of 1 or more, and targets above 0 (a ranking's up to 1)"
        )
    groups, n_documents = size.size, int(bundle.sum())
    sizes = [m for m in (1 << power for power in range(2, 63)) if m < groups] + [groups]
    ahead = np.array([2 * groups, 4 * groups])
    found = SampleSize(
        n_groups=groups,
        n_documents=n_documents,
        n_tokens=int(size.sum()),
        sizes=read_only(np.array(sizes if groups >= FEWEST else [], np.int64)),
        ahead=read_only(ahead),
    )
    if groups < FEWEST:
        why = f"subsets of documents need at least {FEWEST} groups with tokens, got {groups}"
        return replace(found, reason=why)
    subsets = [[rng.permutation(groups) for _ in range(draws if m < groups else 1)] for m in sizes]
    each, worth = n_documents / groups, effective_units(size) / groups
    (widths,) = _averaged(lambda s: (_load_width(counts[s], size[s], worth),), sizes, subsets)
    load = fit_width(widths, sizes, ahead, load_target, each, worth)
    tau = _stability(counts, size, sizes, subsets)
    stable = [m for m, t in zip(sizes, tau, strict=True) if t >= ranking_target]
    notes = [few_groups(groups), _rough_widths(sizes, worth), width_caution(load, "the load")]
    if cells is not None:
        plugin, widths = _information(cells, worth, sizes, subsets)
        information = fit_width(widths, sizes, ahead, bits_target, each, worth)
        endless, caution = _endless(plugin, widths, sizes)
        notes += [width_caution(information, "the information"), caution]
        found = replace(
            found, information=information, mi_bits_plugin=read_only(plugin), mi_bits_endless=endless
        )
    return replace(
        found,
        load=load,
        ranking_tau=read_only(tau),
        ranking_target=ranking_target,
        ranking_groups=float(min(stable, default=math.nan)),
        ranking_documents=float(math.ceil(min(stable) * each)) if stable else math.nan,
        note="; ".join(note for note in notes if note) or None,
    )


def _averaged(
    statistic: Callable[[NDArray[np.int64]], tuple[float, ...]],
    sizes: list[int],
    subsets: list[list[NDArray[np.int64]]],
) -> Floats:
    """Compute the means over the draws of each size, `[statistic, size]`."""
    each_size = zip(sizes, subsets, strict=True)
    means = [np.mean([statistic(order[:m]) for order in orders], axis=0) for m, orders in each_size]
    return np.array(np.transpose(means), np.float64)


def _rough_widths(sizes: list[int], worth: float) -> str | None:
    """Say which of the smallest subsets would have no interval of their own, because their groups are too unequal."""
    rough = [m for m in sizes if worth * m < LEAST_EFFECTIVE]
    if not rough:
        return None
    return (
        f"up to {rough[-1]} groups are so unequal that they are worth fewer than {LEAST_EFFECTIVE:.2g} of one size: "
        "their half-widths are rough"
    )


def _load_width(counts: Floats, size: Floats, worth: float) -> float:
    """Mean over experts of the half-width of the load, by the group sandwich."""
    m, n = size.size, size.sum()
    scores = counts - counts.sum(axis=0) / n * size[:, None]
    return float(sandwich_error(scores).mean() / n * quantile(m, worth))


def _information(
    cells: Floats, worth: float, sizes: list[int], subsets: list[list[NDArray[np.int64]]]
) -> tuple[Floats, Floats]:
    """Plug-in information of the subsets and its half-width, in bits, means over the draws of each size."""
    groups, flat = len(cells), cells.reshape(len(cells), -1)
    chosen = [order[:m] for m, orders in zip(sizes, subsets, strict=True) for order in orders]
    inside = np.zeros((len(chosen), groups))
    for row, own in zip(inside, chosen, strict=True):
        row[own] = 1.0
    found, size = np.empty((len(chosen), 2)), flat.sum(axis=1)
    for part in chunks(len(chosen), 4 * flat.shape[1]):
        totals = inside[part] @ flat
        logs = np.empty_like(totals)
        for at, total in enumerate(totals.reshape(-1, *cells.shape[1:]), start=part.start):
            logs[at - part.start] = pointwise_information(total).ravel()
            found[at, 0] = plugin_information(total)
        # What every group adds, in all subsets at once; then only those inside count.
        scores = (logs @ flat.T - np.outer(found[part, 0], size)) * inside[part]
        found[part, 1] = np.sqrt((scores**2).sum(axis=1)) / totals.sum(axis=1)
    m = inside.sum(axis=1)
    found[:, 1] *= [math.sqrt(group_correction(int(n))) * quantile(n, worth) for n in m.tolist()]
    draws = np.cumsum([0, *(len(orders) for orders in subsets)]).tolist()
    means = np.array([found[first:last].mean(axis=0) for first, last in pairwise(draws)]) / math.log(2.0)
    return means[:, 0], means[:, 1]


def _stability(
    counts: Floats, size: Floats, sizes: list[int], subsets: list[list[NDArray[np.int64]]]
) -> Floats:
    """Tau-b of two disjoint sets of m groups, mean over draws; NaN where they do not fit or loads are all alike."""
    out = np.full(len(sizes), math.nan)
    for at, (m, orders) in enumerate(zip(sizes, subsets, strict=True)):
        if 2 * m <= size.size:
            halves = [(o[:m], o[m : 2 * m]) for o in orders]
            loads = [[counts[s].sum(axis=0) / size[s].sum() for s in pair] for pair in halves]
            known = [
                kendall_tau_b(np.array([a, b]))[0, 1] for a, b in loads if np.ptp(a) > 0 and np.ptp(b) > 0
            ]
            out[at] = np.mean(known) if known else math.nan
    return out


def _endless(plugin: Floats, width: Floats, sizes: list[int]) -> tuple[float, str | None]:
    """Intercept of plug-in information against 1/groups, from an eighth of them on, and what to beware of."""
    use = np.array(sizes) * 8 >= sizes[-1]
    inverse = 1.0 / np.array(sizes, dtype=np.float64)[use]
    slope, intercept = np.polyfit(inverse, plugin[use], 1)
    bent = float(np.abs(np.polyval([slope, intercept], inverse) - plugin[use]).max())
    excess = plugin[-1] - intercept
    if bent > max(width[-1], 0.1 * abs(excess)) and bent > 0.1 * abs(plugin[-1]):
        return float(
            intercept
        ), "information is not yet linear in 1/groups: its limit is approximate, and probably lower"
    if excess > width[-1]:
        return float(intercept), (
            f"information still falls as documents are added: {plugin[-1]:.4g} bits with "
            f"all, {intercept:.4g} in the limit"
        )
    return float(intercept), None


def _checked(
    loads: ArrayLike, tokens: ArrayLike, tables: ArrayLike | None, documents: ArrayLike | None
) -> tuple[Floats, Floats, Floats | None, NDArray[np.int64]]:
    """Check the input and return what groups with tokens hold, as floats."""
    counts, size = whole_counts(loads, "loads"), whole_counts(tokens, "tokens")
    bundle = np.ones(size.shape, np.int64) if documents is None else whole_counts(documents, "documents")
    if counts.ndim != 2 or size.ndim != 1 or not len(counts) == len(size) == len(bundle):
        raise RoutestatError(
            f"loads: expected [group, expert] with tokens and documents [group], got {counts.shape}, {size.shape} "
            f"and {bundle.shape}; align them"
        )
    if (counts > size[:, None]).any():
        raise RoutestatError("loads: expected each expert at most once a token, got more uses than tokens")
    kept = size > 0
    cells = None
    if tables is not None:
        table = whole_counts(tables, "tables")
        if table.ndim != 3 or len(table) != len(size):
            raise RoutestatError(
                f"tables: expected [group, source, target] of the same groups, got {table.shape}"
            )
        # Only which rows and columns are in use matters; groups must stay the same.
        used = contingency(table)
        cells = table[kept][:, used.rows][:, :, used.columns].astype(np.float64)
        cells = cells if used.total.size else None
    return (
        counts[kept].astype(np.float64),
        size[kept].astype(np.float64),
        cells,
        bundle[kept].astype(np.int64),
    )
