"""Experts over the depth: the share of the busiest, and where modules that all layers share are used."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.errors import RoutestatError
from routestat.inference.base.estimate import Estimate, effective_dof, ratio, without_interval
from routestat.inference.base.multiplicity import adjust_log10
from routestat.inference.base.special import log10_t_tails
from routestat.inference.base.tables import Floats, Integers, read_only, whole_counts
from routestat.inference.base.units import log10_sign_floor, too_few

#: One expert in so many is called busy.
BUSIEST_PART = 4


@dataclass(frozen=True)
class BusiestShare:
    """What share of the choices the busiest experts of a layer take.

    Attributes
    ----------
    n_busiest : int
        A quarter of the experts, rounded up.
    share : Estimate
        Of the choices of a layer; experts are ranked on one half of the groups and counted on the other, because the
        same documents would exaggerate it.
    even : float
        The share of as many experts at even loads.
    """

    n_busiest: int
    share: Estimate
    even: float


def busiest_share(inclusions: ArrayLike) -> BusiestShare:
    """Measure the share of choices that the busiest quarter of the experts of a layer takes.

    Parameters
    ----------
    inclusions : array_like ``[group, expert]``
        Tokens of the group that include the expert.

    Returns
    -------
    BusiestShare
        The interval takes the ranking of each half as given.
    """
    counts = _counts(inclusions)
    n_experts = counts.shape[1]
    n = -(-n_experts // BUSIEST_PART)
    used = counts[counts.sum(axis=1) > 0]
    even = n / n_experts
    if len(used) < 2:
        return BusiestShare(
            n, without_interval(float("nan"), len(used), too_few(used.sum(axis=1)) or ""), even
        )
    half = np.arange(len(used)) % 2 == 0
    taken = np.empty(len(used))
    for own in (half, ~half):
        busiest = np.argsort(-used[~own].sum(axis=0), kind="stable")[:n]
        taken[own] = used[own][:, busiest].sum(axis=1)
    return BusiestShare(n, ratio(taken, used.sum(axis=1)), even)


@dataclass(frozen=True)
class Deployment:
    """Where in the depth modules are used that all layers share.

    Attributes
    ----------
    mean_layer : tuple of Estimate
        Mean layer of the uses of each module.
    log10_p, log10_q : float arrays ``[module]``
        That the mean layer is that of all uses, two-sided, over groups; adjusted after Benjamini and Yekutieli.
    peak : int array ``[module]``
        The layer where the module is most frequent; −1 for a module that is never used.
    uses : int array ``[module]``
    centre : float
        Mean layer of all uses.
    """

    mean_layer: tuple[Estimate, ...]
    log10_p: Floats
    log10_q: Floats
    peak: Integers
    uses: Integers
    centre: float

    @property
    def order(self) -> list[int]:
        """Modules by their mean layer, the earliest first; those that are never used last."""
        means = np.array([found.value for found in self.mean_layer])
        return [int(place) for place in np.argsort(np.where(np.isnan(means), np.inf, means), kind="stable")]


def deployment(inclusions: Sequence[ArrayLike], layers: Sequence[int]) -> Deployment:
    """Measure at which depth each module is used.

    Parameters
    ----------
    inclusions : sequence of array_like ``[group, module]``
        Tokens of the group that include the module, at each step.
    layers : sequence of int
        The number of each step.

    Raises
    ------
    RoutestatError
        If the steps have different modules or groups.
    """
    steps = [_counts(table) for table in inclusions]
    if len({table.shape for table in steps}) != 1 or len(steps) != len(layers):
        raise RoutestatError(
            "inclusions: expected one table [group, module] per step, all of one shape, got "
            f"{[table.shape for table in steps]} for {len(layers)} steps; pass modules that all steps share"
        )
    tables = np.stack(steps).astype(np.float64)
    depth = np.asarray(layers, np.float64)
    uses, moments = tables.sum(axis=0), np.tensordot(depth, tables, axes=1)
    everything = uses.sum()
    centre = float(moments.sum() / everything) if everything else float("nan")
    found = tuple(ratio(moments[:, module], uses[:, module]) for module in range(uses.shape[1]))
    log10_p = np.array([_log10_p(one, centre, uses[:, module]) for module, one in enumerate(found)])
    by_layer = tables.sum(axis=1)
    used = by_layer.sum(axis=0) > 0
    peak = np.where(used, np.asarray(layers)[by_layer.argmax(axis=0)], -1)
    return Deployment(
        found,
        read_only(log10_p),
        adjust_log10(log10_p, "by"),
        read_only(peak),
        read_only(by_layer.sum(axis=0).astype(np.int64)),
        centre,
    )


def _log10_p(found: Estimate, centre: float, uses: Floats) -> float:
    """Return the two-sided log10 p-value of a mean layer against the centre; NaN without an error."""
    if not found.standard_error > 0:
        return float("nan")
    score = (found.value - centre) / found.standard_error
    size = uses[uses > 0]
    return max(float(log10_t_tails(score, effective_dof(size))), log10_sign_floor(len(size)))


def _counts(inclusions: ArrayLike) -> NDArray[np.int64]:
    counts = whole_counts(inclusions, "inclusions").astype(np.int64)
    if counts.ndim != 2:
        raise RoutestatError(f"inclusions: expected [group, expert], got shape {counts.shape}; reshape it")
    return counts
