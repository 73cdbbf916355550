"""Routes through single experts: the probability that a token takes one, by inclusion after the last experts.

A token takes a route of one expert per layer if it chooses the expert in every layer. The probability is a product
over the layers of P(expert chosen | the experts before it on the route chosen), which a chain of order m cuts after m
layers. Rows sum to k, not to one: a token takes many routes. One of the k experts after a window of one expert per
layer is drawn from q = P / k, a distribution, and its log loss on held-out documents compares the orders and determines
how strongly a long window backs off to a shorter one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from routestat.counting.expert_routes import ExpertRows
from routestat.inference.base.estimate import Estimate, ratio
from routestat.inference.base.tables import Floats
from routestat.inference.markov.order_selection import OrderChoice, choose_order

#: Cells of the tables of all layers, and cells to add one to, that an order may have.
MOST_CELLS, MOST_WORK = 1 << 26, 1 << 28
HIGHEST_ORDER = 3
#: Layers that orders are compared on, over the whole depth.
COMPARED_LAYERS = 6
FIRST_STRENGTH = 1.0


@dataclass(frozen=True, eq=False)
class InclusionChain:
    """A chain over single experts; a `route_search.RouteModel`.

    Attributes
    ----------
    order : int
    tables : tuple of tuples of int arrays ``[layer][length][expert, …, target]``
        Counts of the windows of 0 to `order` experts before the layer's expert, as many layers as there are before it.
    slots : tuple of int
        Experts chosen per layer.
    strengths : tuple of float
        Of each length of the window, in experts, from 0 on.
    """

    order: int
    tables: tuple[tuple[NDArray[np.integer], ...], ...]
    slots: tuple[int, ...]
    strengths: tuple[float, ...]

    @property
    def sizes(self) -> list[int]:
        """Experts of each layer."""
        return [tables[0].shape[-1] for tables in self.tables]

    @cached_property
    def _totals(self) -> list[list[NDArray[np.integer]]]:
        return [[table.sum(axis=-1) for table in tables] for tables in self.tables]

    def roots(self) -> Floats:
        """Return the probability of the only root."""
        return np.ones(1)

    def rows(self, layer: int, roots: NDArray[np.int64], last: NDArray[np.int64]) -> Floats:
        """Return P(expert chosen) ``[prefix, expert]`` after the experts of the last layers."""
        found: Floats = np.full((len(last), self.sizes[layer]), 1.0 / self.sizes[layer])
        for n, (table, total) in enumerate(zip(self.tables[layer], self._totals[layer], strict=True)):
            at = tuple(last[:, last.shape[1] - n + place] for place in range(n))
            found = _mixed(table[at], np.asarray(total[at]), found, self.strengths[n])
        return np.minimum(self.slots[layer] * found, 1.0)

    def most(self, layer: int) -> Floats:
        """Return the largest P(expert chosen) ``[source, target]`` over the experts of farther layers."""
        tables = self.tables[layer]
        windows = np.indices(tables[-1].shape[:-1]).reshape(tables[-1].ndim - 1, -1).T
        rows = self.rows(layer, np.zeros(len(windows), np.int64), windows)
        return np.asarray(rows.reshape(-1, *tables[-1].shape[-2:]).max(axis=0) if layer else rows)

    def log2_probability(self, routes: NDArray[np.integer]) -> Floats:
        """Compute log2 of the probability that a token takes each route ``[route]``."""
        states = routes.astype(np.int64)
        found = np.zeros(len(states))
        for layer in range(len(self.tables)):
            rows = self.rows(
                layer, np.zeros(len(states), np.int64), states[:, max(0, layer - self.order) : layer]
            )
            with np.errstate(divide="ignore"):
                found += np.log2(rows[np.arange(len(states)), states[:, layer]])
        return found


@dataclass(frozen=True)
class InclusionFit:
    """A chain over single experts whose order was chosen on held-out documents.

    Attributes
    ----------
    chain : InclusionChain
    choice : OrderChoice
        Of the orders that were counted: bits per choice of an expert.
    refused : str
        Which orders were not counted, and why; empty if none.
    gain : Estimate, optional
        Bits per choice of an expert that the chosen order saves over the one below; None for order 0.
    """

    chain: InclusionChain
    choice: OrderChoice
    refused: str = ""
    gain: Estimate | None = field(default=None)


def fit_inclusion_chain(
    rows: ExpertRows, *, highest: int = HIGHEST_ORDER, progress: Callable[[int, int], None] | None = None
) -> InclusionFit:
    """Fit chains of the orders that can be counted, and choose the order on held-out documents.

    Each half of the groups is predicted from the other half; all tokens count for the chain itself.

    Parameters
    ----------
    rows : ExpertRows
        One token or more.
    highest : int
        Highest order.
    progress : callable(layers_done, n_layers), optional
    """
    limit, refused = _countable(rows, min(highest, len(rows.routers) - 1))
    used = np.unique(rows.group)
    half_of = np.zeros(rows.n_groups, np.int64)
    half_of[used] = np.arange(len(used)) % 2
    half = half_of[rows.group]
    halves = [np.flatnonzero(half == own) for own in (0, 1)]
    slots = tuple(router.top_k for router in rows.routers)
    n_layers = len(rows.routers)
    some = np.unique(
        np.linspace(limit, n_layers - 1, min(COMPARED_LAYERS, n_layers - limit)).astype(int)
    ).tolist()
    held = [[_tables(rows, layer, limit, own) for own in halves] for layer in some]
    strengths: tuple[float, ...] = ()
    for n in range(limit + 1):
        strengths += (_strength(held, n, strengths),)
    bits = _held_out_bits(rows, some, held, halves, strengths)
    tokens = rows.tokens_of_group * len(some)
    choice = choose_order(bits, tokens)
    order = limit and (1 if choice.chosen is None else max(1, choice.chosen))
    tables = []
    for layer in range(n_layers):
        if progress is not None:
            progress(layer, n_layers)
        if layer in some:
            # What the halves hold was counted to compare the orders.
            both = held[some.index(layer)]
            tables.append(
                tuple(a + b for a, b in zip(both[0][: order + 1], both[1][: order + 1], strict=True))
            )
        else:
            tables.append(_tables(rows, layer, order, np.arange(len(rows))))
    gain = ratio(bits[order - 1] - bits[order], tokens) if order else None
    return InclusionFit(
        InclusionChain(order, tuple(tables), slots, strengths[: order + 1]), choice, refused, gain
    )


def _countable(rows: ExpertRows, highest: int) -> tuple[int, str]:
    """Return the highest order whose tables fit, and why no higher one does."""
    slots = max(router.top_k for router in rows.routers)
    for order in range(1, highest + 1):
        widths = [np.prod(rows.sizes[place - order : place + 1]) for place in range(order, len(rows.routers))]
        cells, work = float(np.sum(widths)), float(len(rows)) * slots ** (order + 1) * len(widths)
        if order > 1 and (cells > MOST_CELLS or work > MOST_WORK):
            what = f"{cells:,.0f} cells" if cells > MOST_CELLS else f"{work:,.0f} windows"
            return order - 1, f"order {order} over experts was not counted: {what} are too many"
    return highest, ""


def _tables(
    rows: ExpertRows, layer: int, order: int, used: NDArray[np.intp]
) -> tuple[NDArray[np.integer], ...]:
    """Count the windows of 0 to `order` experts before a layer, as far as there are layers before it."""
    n = min(order, layer)
    longest = rows.windows(layer - n, n + 1, used)
    found = [longest]
    for place in range(layer - n, layer):
        # Every window is counted once for each of the k experts of the layer that is summed over.
        found.append(found[-1].sum(axis=0) // rows.routers[place].top_k)
    return tuple(reversed(found))


def _mixed(count: NDArray[np.integer], total: NDArray[np.integer], base: Floats, strength: float) -> Floats:
    return np.asarray((count + strength * base) / (total[..., None] + strength))


def _distribution(tables: Sequence[NDArray[np.integer]], strengths: Sequence[float]) -> Floats:
    """Compute q ``[expert, …, target]`` after windows of as many experts as there are strengths, less one.

    Without a strength it is uniform.
    """
    found: Floats = np.full(tables[0].shape[-1], 1.0 / tables[0].shape[-1])
    for table, strength in zip(tables, strengths, strict=False):
        found = _mixed(table, table.sum(axis=-1), found, strength)
    return found


def _strength(
    held: Sequence[Sequence[tuple[NDArray[np.integer], ...]]], n: int, shorter: tuple[float, ...]
) -> float:
    """Double the strength of windows of `n` experts while that predicts either half better from the other."""
    pairs = []
    for halves in held:
        for own, other in ((0, 1), (1, 0)):
            test = halves[own][n]
            cells = np.nonzero(test)
            table = halves[other][n]
            base = np.broadcast_to(_distribution(halves[other], shorter), table.shape)[cells]
            pairs.append((test[cells], table[cells], table.sum(axis=-1)[cells[:-1]], base))

    def loss(strength: float) -> float:
        return -sum(
            float(test @ np.log((count + strength * base) / (total + strength)))
            for test, count, total, base in pairs
        )

    best, least = FIRST_STRENGTH, loss(FIRST_STRENGTH)
    while best < 1e9 and (after := loss(2.0 * best)) < least:
        best, least = 2.0 * best, after
    return best


def _held_out_bits(
    rows: ExpertRows,
    layers: Sequence[int],
    held: Sequence[Sequence[tuple[NDArray[np.integer], ...]]],
    halves: Sequence[NDArray[np.intp]],
    strengths: tuple[float, ...],
) -> list[Floats]:
    """Sum over layers the bits of a choice after the windows of 0, 1, … experts, by group ``[order][group]``."""
    bits = [np.zeros(rows.n_groups) for _ in strengths]
    for layer, tables in zip(layers, held, strict=True):
        for own, other in ((0, 1), (1, 0)):
            for n in range(len(strengths)):
                values = -np.log2(_distribution(tables[other], strengths[: n + 1]))
                bits[n] += rows.sum_over_windows(layer - n, values, halves[own])
    return bits
