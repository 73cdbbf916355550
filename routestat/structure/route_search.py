"""The exact k most probable routes of a chain of any order, by search with bounds.

List Viterbi decoding keeps, for every node of a layer (the last states, as many as the order), the k best prefixes that
end in it. A chain of order m has as many nodes as states to the power m, and nearly all are useless. Here a beam first
finds k whole routes; then the exact pass drops every prefix that cannot reach the least of them even with the most
probable continuation. What is left is exact, and small wherever some routes are probable.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from routestat.errors import RoutestatError
from routestat.inference.base.tables import Floats

_IMPOSSIBLE = -(2**62)
_FLOOR = -(2**61)
_LOWEST_LOG2 = 1075  # the smallest positive double is 2**-1074
#: Prefixes that the first, inexact pass keeps.
BEAM = 64
#: Candidates of one layer beyond which the exact pass is given up.
MOST_CANDIDATES = 1 << 23


class TooWideError(RoutestatError):
    """The exact search would need more candidates than `MOST_CANDIDATES`."""


class RouteModel(Protocol):
    """A distribution over routes, one factor per layer.

    Attributes
    ----------
    order : int
        Earlier layers that a factor depends on.
    sizes : sequence of int
        States of each layer.
    """

    @property
    def order(self) -> int: ...  # noqa: D102

    @property
    def sizes(self) -> Sequence[int]: ...  # noqa: D102

    def roots(self) -> Floats:
        """Return the probability of each root ``[root]``: of every token id, or 1 where there is one root."""
        ...

    def rows(self, layer: int, roots: NDArray[np.int64], last: NDArray[np.int64]) -> Floats:
        """Return the probabilities ``[prefix, state]`` of a layer's states.

        Parameters
        ----------
        layer : int
            The place of the layer, from 0.
        roots : int array ``[prefix]``
        last : int array ``[prefix, layer]``
            The states of the last `order` layers, the nearest last; fewer at the first layers.
        """
        ...

    def most(self, layer: int) -> Floats | None:
        """Return the largest probability ``[source, target]`` of a layer over all roots and farther states.

        ``[1, target]`` at the first layer. None where no useful bound is known.
        """
        ...


@dataclass(frozen=True, slots=True, eq=False)
class FoundRoutes:
    """Routes of a model, best first.

    Attributes
    ----------
    roots : int array ``[route]``
    states : int array ``[route, layer]``
    """

    roots: NDArray[np.int64]
    states: NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class _Prefixes:
    """Prefixes in lexicographic order of root and states, with their fixed-point log2."""

    roots: NDArray[np.int64]
    states: NDArray[np.int64]
    score: NDArray[np.int64]

    def at(self, places: NDArray[np.intp]) -> "_Prefixes":
        return _Prefixes(self.roots[places], self.states[places], self.score[places])


def best_routes(model: RouteModel, n_routes: int) -> FoundRoutes:
    """Find the exact `n_routes` most probable pairs of a root and a route.

    Ties are in lexicographic order of root and states: logarithms are rounded to whole numbers of a fixed scale, which
    add exactly in any order. Routes of probability zero are never returned.

    Parameters
    ----------
    model : RouteModel
        Rows need not sum to one.
    n_routes : int
        Fewer are returned where no more exist.

    Raises
    ------
    TooWideError
        If more than `MOST_CANDIDATES` prefixes of one layer could still be among the best.

    References
    ----------
    Seshadri & Sundberg (1994), List Viterbi decoding algorithms. IEEE Transactions on Communications 42;
    Hart, Nilsson & Raphael (1968), A formal basis for the heuristic determination of minimum cost paths. IEEE
    Transactions on Systems Science and Cybernetics 4.
    """
    scale = 2.0 ** (61 - int(np.ceil(np.log2(_LOWEST_LOG2 * (len(model.sizes) + 1)))))
    reach = _reach(model, scale)
    beam = _search(model, n_routes, scale, reach, _FLOOR, max(BEAM, n_routes))
    least = int(np.sort(beam.score)[-n_routes]) if len(beam.score) >= n_routes else _FLOOR
    found = _search(model, n_routes, scale, reach, least, None)
    first = np.lexsort((np.arange(len(found.score)), -found.score))[:n_routes]
    best = found.at(first)
    return FoundRoutes(best.roots, best.states)


def _reach(model: RouteModel, scale: float) -> list[NDArray[np.int64]]:
    """Bound the log2 of the best continuation after each state of each layer, ``[layer][state]``."""
    after = np.zeros(model.sizes[-1], np.int64)
    found = [after]
    for layer in range(len(model.sizes) - 1, 0, -1):
        most = model.most(layer)
        if most is None:
            after = np.zeros(model.sizes[layer - 1], np.int64)
        else:
            after = _sum(_fixed_log2(most, scale), after[None, :]).max(axis=1)
        found.append(after)
    return found[::-1]


def _search(
    model: RouteModel,
    n_routes: int,
    scale: float,
    reach: Sequence[NDArray[np.int64]],
    least: int,
    beam: int | None,
) -> _Prefixes:
    """Return whole routes that reach `least`: all that can be among the best, or those of a beam."""
    score = _fixed_log2(model.roots(), scale)
    kept = np.flatnonzero((score > _FLOOR) & (score >= least))
    alive = _Prefixes(kept.astype(np.int64), np.empty((len(kept), 0), np.int64), score[kept])
    if beam is not None:
        alive = alive.at(_highest(alive.score, beam))
    for layer in range(len(model.sizes)):
        alive = _extended(model, alive, layer, n_routes, scale, reach[layer], least)
        if beam is not None and len(alive.score) > beam:
            alive = alive.at(_highest(_sum(alive.score, reach[layer][alive.states[:, -1]]), beam))
    return alive


def _extended(
    model: RouteModel,
    alive: _Prefixes,
    layer: int,
    n_routes: int,
    scale: float,
    reach: NDArray[np.int64],
    least: int,
) -> _Prefixes:
    """Extend prefixes by one layer and keep the best of each node, in lexicographic order."""
    size = model.sizes[layer]
    last = alive.states[:, max(0, layer - model.order) :]
    # Prefixes that end in the same node share a row.
    node = _numbered(alive.roots, last)
    _, some, place = np.unique(node, return_index=True, return_inverse=True)
    step = max(1, MOST_CANDIDATES // (4 * size))
    chosen_prefix, chosen_state, chosen_score = [], [], []
    rows = np.empty((len(some), size), np.int64)
    for start in range(0, len(some), step):
        part = some[start : start + step]
        rows[start : start + step] = _fixed_log2(model.rows(layer, alive.roots[part], last[part]), scale)
    total = 0
    for start in range(0, len(node), step):
        score = _sum(alive.score[start : start + step, None], rows[place[start : start + step]])
        prefix, state = np.nonzero((score > _FLOOR) & (_sum(score, reach[None, :]) >= least))
        total += len(prefix)
        if total > MOST_CANDIDATES:
            raise TooWideError(
                f"more than {MOST_CANDIDATES:,} beginnings of routes could be among the most probable"
            )
        chosen_prefix.append(prefix + start)
        chosen_state.append(state)
        chosen_score.append(score[prefix, state])
    prefix, state, score = (
        np.concatenate(parts) if parts else np.empty(0, np.int64)
        for parts in (chosen_prefix, chosen_state, chosen_score)
    )
    # Candidates are listed in lexicographic order: their place is the rank that decides ties.
    ahead = last[prefix, 1:] if last.shape[1] == model.order and model.order else last[prefix]
    following = np.column_stack([ahead, state]) if model.order else np.empty((len(state), 0), np.int64)
    kept = _best_of_nodes(_numbered(alive.roots[prefix], following), score, n_routes)
    prefix, state = prefix[kept], state[kept]
    states = np.column_stack([alive.states[prefix], state])
    return _Prefixes(alive.roots[prefix], states, score[kept])


def _best_of_nodes(node: NDArray[np.int64], score: NDArray[np.int64], n: int) -> NDArray[np.intp]:
    """Return the places of the first `n` of each node by descending score, then place; in ascending order."""
    order = np.lexsort((-score, node))
    sorted_nodes = node[order]
    starts = np.flatnonzero(np.concatenate([[True], sorted_nodes[1:] != sorted_nodes[:-1]]))
    length = np.diff(np.append(starts, len(order)))
    rank = np.arange(len(order)) - np.repeat(starts, length)
    return np.sort(order[rank < n])


def _numbered(roots: NDArray[np.int64], last: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return a number for each node: its root and its last states."""
    number = roots.copy()
    for column in last.T:
        size = int(column.max(initial=0)) + 1
        if int(number.max(initial=0)) >= 2**62 // size:
            number = np.unique(number, return_inverse=True)[1].astype(np.int64)
        number = number * size + column
    return number


def _highest(score: NDArray[np.int64], n: int) -> NDArray[np.intp]:
    """Return the places of the `n` largest, the first ones among equals, in ascending order."""
    return np.sort(np.argsort(-score, kind="stable")[:n])


def _sum(a: NDArray[np.int64], b: NDArray[np.int64]) -> NDArray[np.int64]:
    """Add where both are possible; two impossible values just fit in 64 bits, three would not."""
    total = np.asarray(a + b)
    total[total < _FLOOR] = _IMPOSSIBLE
    return total


def _fixed_log2(probabilities: Floats, scale: float) -> NDArray[np.int64]:
    """Compute log2 as a whole number of 1/`scale` bits."""
    positive = probabilities > 0
    logs = np.log2(probabilities, out=np.zeros_like(probabilities), where=positive)
    return np.where(positive, np.rint(logs * scale).astype(np.int64), _IMPOSSIBLE)
