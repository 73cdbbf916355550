"""The routes through single experts, one per layer, that most tokens take: an exact search with bounds."""

import heapq
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routestat.counting.expert_routes import ExpertRows

#: Fewer tokens are no frequent route.
LEAST_TOKENS = 2
#: Nodes that the search opens at most.
MOST_NODES = 20_000
#: Layers that are counted first.
TIGHT = 5


@dataclass(frozen=True, slots=True, eq=False)
class FrequentRoutes:
    """Routes through single experts, most tokens first; no token counts for two routes.

    Attributes
    ----------
    shared : tuple of tuples of int tuples ``[route][layer]``
        The experts of each layer that all tokens of the route choose: one or more.
    rows : tuple of int arrays ``[route]``
        The tokens that take the route and none before.
    complete : bool
        Whether these are certainly the most frequent ones: the search was not cut.
    """

    shared: tuple[tuple[tuple[int, ...], ...], ...]
    rows: tuple[NDArray[np.intp], ...]
    complete: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Node:
    """Tokens that share experts in some layers, and how many of them choose each expert ``[layer, expert]``.

    `found` are the routes whose tokens were gone when they were counted.
    """

    rows: NDArray[np.intp]
    counts: NDArray[np.int64]
    found: int

    @property
    def bound(self) -> int:
        """No route through the node has more tokens."""
        return int(self.counts.max(axis=1).min())


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """The tokens of a set that choose one expert; they are collected when no other set has a larger bound.

    `tight` are the layers that bounded the set most. Once these were counted, `expert` is −1 and `rows` are the tokens.
    """

    rows: NDArray[np.intp]
    layer: int
    expert: int
    tight: NDArray[np.intp]


def frequent_routes(
    rows: ExpertRows,
    n_routes: int,
    *,
    least: int = LEAST_TOKENS,
    most_nodes: int = MOST_NODES,
    progress: Callable[[int, int], None] | None = None,
) -> FrequentRoutes:
    """Find the route with the most tokens, then that with the most of the other tokens, and so on.

    Routes with most tokens in common would otherwise fill the list. A set of tokens is a route if all of them choose a
    common expert in every layer. The search opens the set with the largest bound first and splits it by the experts
    of the layer that bounds it, so that the first whole route found is the most frequent one; experts that all tokens
    choose in any case are not chosen one by one.

    Parameters
    ----------
    rows : ExpertRows
    n_routes : int
    least : int
        Routes of fewer tokens are not listed.
    most_nodes : int
        The search ends after so many.
    progress : callable(found, n_routes), optional

    Returns
    -------
    FrequentRoutes

    References
    ----------
    Pasquier, Bastide, Taouil & Lakhal (1999), Discovering frequent closed itemsets for association rules. ICDT.
    """
    search = _Search(rows, least)
    shared: list[tuple[tuple[int, ...], ...]] = []
    found: list[NDArray[np.intp]] = []
    opened = 0
    while search.heap and len(found) < n_routes and opened < most_nodes:
        node = search.first(len(found))
        if node is None:
            continue
        if node.bound == len(node.rows):
            experts = node.counts == len(node.rows)
            shared.append(tuple(tuple(np.flatnonzero(layer).tolist()) for layer in experts))
            found.append(node.rows)
            search.taken[node.rows] = True
            if progress is not None:
                progress(len(found), n_routes)
        else:
            opened += 1
            search.split(node)
    cut = bool(search.heap) and len(found) < n_routes
    return FrequentRoutes(tuple(shared), tuple(found), not cut)


class _Search:
    """Sets of tokens by falling bound."""

    def __init__(self, rows: ExpertRows, least: int) -> None:
        self.rows, self.least = rows, least
        self.taken = np.zeros(len(rows), bool)
        self.heap: list[tuple[int, int, _Node | _Part]] = []
        self._seen: set[bytes] = set()
        self._pushed = 0
        self._count(np.arange(len(rows)), len(rows), 0)

    def _push(self, item: _Node | _Part, bound: int) -> None:
        if bound >= self.least:
            heapq.heappush(self.heap, (-bound, self._pushed, item))
            self._pushed += 1

    def _count(self, rows: NDArray[np.intp], bound: int, found: int) -> None:
        node = _Node(rows, self.rows.counts(rows), found)
        self._push(node, min(bound, node.bound))

    def first(self, found: int) -> _Node | None:
        """Take the set with the largest bound; None if it had to be counted first, and was put back."""
        bound, _, item = heapq.heappop(self.heap)
        if isinstance(item, _Node):
            if item.found == found:
                return item
            self._count(item.rows[~self.taken[item.rows]], -bound, found)
        elif item.expert < 0:
            self._count(item.rows[~self.taken[item.rows]], -bound, found)
        else:
            own = self.rows.choosing(item.rows, self.taken, item.layer, item.expert)
            name = own.tobytes()
            if name not in self._seen:
                self._seen.add(name)
                # Most sets are bounded by the layers that bounded the larger one, and never come first again.
                counts = self.rows.counts(own, item.tight)[item.tight]
                least = min(-bound, int(counts.max(axis=1).min()))
                self._push(_Part(own, item.layer, -1, item.tight), least)
        return None

    def split(self, node: _Node) -> None:
        """Put back the tokens of a node by their experts in the layer that has the fewest alike."""
        order = np.argsort(node.counts.max(axis=1), kind="stable")
        layer, tight = int(order[0]), order[:TIGHT]
        for expert in np.flatnonzero(node.counts[layer] >= self.least).tolist():
            self._push(_Part(node.rows, layer, expert, tight), int(node.counts[layer, expert]))
