"""Communities of states over all layers: groups of states that tokens stay in from layer to layer."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from routestat.errors import RoutestatError
from routestat.inference.base.tables import Floats, read_only

#: Most communities that a search starts from.
MOST = 12
# A move gains at least this share of the tokens of a transition: rounding must not move states to and fro.
_LEAST_GAIN = 1e-9
_SWEEPS = 20


@dataclass(frozen=True, eq=False)
class Communities:
    """Communities of the states of all layers; see `find_communities`.

    Attributes
    ----------
    labels : tuple of int arrays ``[state]``
        One per layer: the number of the state's community, −1 of states without tokens.
    modularity : float
        `stays` − `stays_independent`; NaN without tokens.
    stays : float
        Share of the tokens that are in the same community at both layers, mean over the transitions.
    stays_independent : float
        The same if the layers were independent.
    reason : str
        Why there are no communities; empty if there are.
    """

    labels: tuple[NDArray[np.int64], ...]
    modularity: float
    stays: float
    stays_independent: float
    reason: str = ""

    def __post_init__(self) -> None:
        """Make the arrays read-only."""
        for array in self.labels:
            read_only(array)

    @property
    def n(self) -> int:
        """The number of communities."""
        return 1 + max((int(labels.max(initial=-1)) for labels in self.labels), default=-1)


def find_communities(joints: Sequence[Floats], rng: np.random.Generator, n_starts: int = 4) -> Communities:
    """Find the groups of states that the most tokens stay in, beyond independence.

    The modularity is the mean over the transitions of Σ (P(i, j) − P(i) P(j)) over the pairs of states of one
    community: Barber's for two layers. The expectation is that of each transition's own margins. (That of a whole
    graph expects most edges between layers that no edge can join: with it the communities are sets of adjacent
    layers, whatever the routing.) Only transitions join layers, so that renumbering the states of a layer changes
    nothing. Given the communities of its neighbours each state of a layer is moved to the best one, a layer at a time,
    until nothing moves; then communities are merged while that gains. The best of several starts is returned.

    Parameters
    ----------
    joints : sequence of float arrays ``[source, target]``
        Shares that sum to 1, or zeros where a transition has no tokens; one per transition.
    rng : numpy.random.Generator
    n_starts : int
        Random starts, ≥ 1.

    Raises
    ------
    RoutestatError
        If the tables do not join up.

    References
    ----------
    Barber, Modularity and community detection in bipartite networks, Phys. Rev. E 76, 066102 (2007). Blondel et al.,
    Fast unfolding of communities in large networks, J. Stat. Mech. P10008 (2008).
    """
    if any(a.shape[1] != b.shape[0] for a, b in pairwise(joints)):
        raise RoutestatError(
            f"joints: expected tables that share their layers, got shapes {[one.shape for one in joints]}"
        )
    sizes = [one.shape[0] for one in joints] + [one.shape[1] for one in joints[-1:]]
    if not any(one.any() for one in joints):
        why = "no transition has tokens" if joints else "one layer has no transitions"
        nothing = tuple(np.full(size, -1, dtype=np.int64) for size in sizes)
        return Communities(nothing, float("nan"), float("nan"), float("nan"), why)
    excesses = [one - np.outer(one.sum(axis=1), one.sum(axis=0)) for one in joints]
    used = _used(joints, sizes)
    best: list[NDArray[np.int64]] = []
    highest = -np.inf
    for _ in range(n_starts):
        labels = _from_start(excesses, sizes, rng)
        value = _gained(excesses, labels)
        if value > highest + 1e-12:
            best, highest = labels, value
    ordered = _ordered([np.where(here, one, -1) for here, one in zip(used, best, strict=True)])
    return measured(joints, ordered)


def measured(joints: Sequence[Floats], labels: Sequence[NDArray[np.int64]]) -> Communities:
    """Measure how many tokens stay in given communities.

    Parameters
    ----------
    joints
        As for `find_communities`, perhaps of other documents than the communities were found in.
    labels : sequence of int arrays ``[state]``
        One per layer.
    """
    there = [place for place, one in enumerate(joints) if one.any()]
    stays = independent = 0.0
    for place in there:
        same = labels[place][:, None] == labels[place + 1]
        joint = joints[place]
        stays += float(joint[same].sum()) / len(there)
        independent += float(np.outer(joint.sum(axis=1), joint.sum(axis=0))[same].sum()) / len(there)
    return Communities(tuple(np.array(one) for one in labels), stays - independent, stays, independent)


def held_out_modularity(halves: Sequence[tuple[Floats, Floats]], rng: np.random.Generator) -> float:
    """Find communities in one half of the documents, measure them in the other, and the other way round.

    Communities that fit noise do not hold in other documents: the expectation is 0 without dependence, however many
    states there are.

    Parameters
    ----------
    halves : sequence of pairs of float arrays ``[source, target]``
        Joint distributions of the two halves, one pair per transition.
    rng : numpy.random.Generator

    Returns
    -------
    float
        Mean of both; NaN where a half has no tokens.
    """
    values = []
    for fitted, other in ((0, 1), (1, 0)):
        found = find_communities([pair[fitted] for pair in halves], rng)
        if found.reason or not any(pair[other].any() for pair in halves):
            return float("nan")
        values.append(measured([pair[other] for pair in halves], found.labels).modularity)
    return sum(values) / 2.0


def _used(joints: Sequence[Floats], sizes: Sequence[int]) -> list[NDArray[np.bool_]]:
    used = [np.zeros(size, dtype=np.bool_) for size in sizes]
    for place, one in enumerate(joints):
        used[place] |= one.any(axis=1)
        used[place + 1] |= one.any(axis=0)
    return used


def _from_start(
    excesses: Sequence[Floats], sizes: Sequence[int], rng: np.random.Generator
) -> list[NDArray[np.int64]]:
    """Improve a random start until neither a state nor a whole community can be moved."""
    n = min(MOST, max(sizes))
    labels = [rng.integers(0, n, size) for size in sizes]
    for _ in range(n):
        _sweep(excesses, labels, n)
        if not _merge(excesses, labels, n):
            break
    return labels


def _sweep(excesses: Sequence[Floats], labels: list[NDArray[np.int64]], n: int) -> None:
    """Move the states of one layer after the other, forth and back, until nothing moves."""
    unit = np.eye(n)
    kinds = [unit[one] for one in labels]
    last = len(labels) - 1
    # A layer whose neighbours did not move since it was looked at stays as it is.
    stale = np.ones(last + 1, dtype=np.bool_)
    for layer in [*range(last + 1), *range(last - 1, 0, -1)] * _SWEEPS:
        if not stale[layer]:
            if not stale.any():
                return
            continue
        stale[layer] = False
        gain = np.zeros((len(labels[layer]), n))
        if layer:
            gain += excesses[layer - 1].T @ kinds[layer - 1]
        if layer < last:
            gain += excesses[layer] @ kinds[layer + 1]
        own = gain[np.arange(len(gain)), labels[layer]]
        better = gain.max(axis=1) > own + _LEAST_GAIN
        if better.any():
            labels[layer] = np.where(better, gain.argmax(axis=1), labels[layer])
            kinds[layer] = unit[labels[layer]]
            stale[max(layer - 1, 0)] = stale[min(layer + 1, last)] = True
            stale[layer] = False


def _merge(excesses: Sequence[Floats], labels: list[NDArray[np.int64]], n: int) -> bool:
    """Merge pairs of communities while that gains, best first; return whether any was."""
    between = np.zeros((n, n))
    for place, one in enumerate(excesses):
        between += np.eye(n)[labels[place]].T @ one @ np.eye(n)[labels[place + 1]]
    between += between.T
    names = np.arange(n)
    merged = False
    while True:
        apart = np.where(np.eye(n, dtype=np.bool_), -np.inf, between)
        first, second = np.unravel_index(int(np.argmax(apart)), apart.shape)
        if apart[first, second] <= _LEAST_GAIN:
            break
        for axis in (0, 1):
            view = between if axis == 0 else between.T
            view[first] += view[second]
            view[second] = 0.0
        names[names == second] = first
        merged = True
    labels[:] = [names[one] for one in labels]
    return merged


def _gained(excesses: Sequence[Floats], labels: Sequence[NDArray[np.int64]]) -> float:
    return sum(
        float(one[labels[place][:, None] == labels[place + 1]].sum()) for place, one in enumerate(excesses)
    )


def _ordered(labels: Sequence[NDArray[np.int64]]) -> list[NDArray[np.int64]]:
    """Return the communities numbered by their states, most first; −1 stays."""
    found, first, counts = np.unique(np.concatenate(labels), return_index=True, return_counts=True)
    real = found >= 0
    order = np.lexsort((first[real], -counts[real]))
    number = np.full(int(found.max(initial=-1)) + 2, -1, dtype=np.int64)
    number[found[real][order]] = np.arange(int(real.sum()))
    return [number[one] for one in labels]
