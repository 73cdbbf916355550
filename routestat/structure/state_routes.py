"""Distributions over routes of states: each layer's state after the last ones, and after the token id."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.inference.base.tables import Floats
from routestat.inference.smoothing.fitted_context import FittedContext

#: What a token id adds to a route's probability is left out below this.
NEGLIGIBLE = 1e-15


@dataclass(frozen=True, slots=True, eq=False)
class StateRoutes:
    """A chain over layers of order m, or of order 1 given the token id; a `route_search.RouteModel`.

    Attributes
    ----------
    order : int
    steps : sequence of FittedContext
        One per layer. Their variables are the earlier layers, the nearest first, and then the token id.
    token_ids : int array ``[root]``
        The id of each root; empty where the routes do not depend on it.
    shares : float array ``[root]``
        Share of the tokens that have each id.
    """

    order: int
    steps: Sequence[FittedContext]
    token_ids: NDArray[np.int64]
    shares: Floats

    @property
    def sizes(self) -> list[int]:
        """States of each layer."""
        return [step.n_targets for step in self.steps]

    def roots(self) -> Floats:
        """Return the probability of each root ``[root]``."""
        return self.shares if len(self.token_ids) else np.ones(1)

    def rows(self, layer: int, roots: NDArray[np.int64], last: NDArray[np.int64]) -> Floats:
        """Return the probabilities ``[prefix, state]`` of a layer's states."""
        return self.steps[layer].distributions(self._contexts(roots, last))

    def most(self, layer: int) -> Floats | None:
        """Return the largest probability ``[source, target]`` of a layer over all farther states."""
        if len(self.token_ids):
            # Some token id makes nearly every step certain.
            return None
        size = self.steps[layer - 1].n_targets if layer else 1
        found = self.steps[layer].most()
        if not self.order:
            return np.tile(found, (size, 1))
        missing = size - len(found)
        if missing > 0:
            other = self.steps[layer].distributions(np.full((1, len(self.steps[layer].names)), -1))
            found = np.vstack([found, np.tile(other, (missing, 1))])
        return found

    def log2_probability(self, roots: ArrayLike, states: NDArray[np.integer]) -> Floats:
        """Compute log2 of the probability of pairs of a root and a route ``[route]``."""
        own, routes = np.asarray(roots, np.int64), states.astype(np.int64)
        with np.errstate(divide="ignore"):
            found = np.log2(self.roots()[own])
            for layer in range(len(self.steps)):
                found += np.log2(self._step(layer, own, routes))
        return np.asarray(found)

    def probability(self, states: NDArray[np.integer]) -> Floats:
        """Compute the probability of routes ``[route]``, summed over the token ids."""
        routes, every = states.astype(np.int64), self.roots()
        route = np.repeat(np.arange(len(routes)), len(every))
        root, total = np.tile(np.arange(len(every)), len(routes)), np.tile(every, len(routes))
        for layer in range(len(self.steps)):
            total = total * self._step(layer, root, routes[route])
            kept = total > NEGLIGIBLE
            route, root, total = route[kept], root[kept], total[kept]
        return np.bincount(route, total, len(routes)).astype(np.float64)

    def _step(self, layer: int, roots: NDArray[np.int64], routes: NDArray[np.int64]) -> Floats:
        """Return the probability of the state of one layer of each route."""
        last = routes[:, max(0, layer - self.order) : layer]
        return self.steps[layer].probabilities(self._contexts(roots, last), routes[:, layer])

    def _contexts(self, roots: NDArray[np.int64], last: NDArray[np.int64]) -> NDArray[np.int64]:
        nearest_first = last[:, ::-1]
        if not len(self.token_ids):
            return nearest_first
        return np.column_stack([nearest_first, self.token_ids[roots]])
