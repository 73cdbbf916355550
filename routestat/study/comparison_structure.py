"""Blocks and routes of two traces: which differ by more than documents do."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from routestat.counting.common_windows import CommonWindows, common_routes, common_windows
from routestat.counting.context import Context
from routestat.counting.counts import Counts
from routestat.counting.document_sample import Sample, at_most
from routestat.counting.windows import LONGEST
from routestat.inference.base.multiplicity import adjust_log10
from routestat.inference.base.tables import Floats, Integers
from routestat.inference.two_sample.cells import CellDifferences, cell_differences
from routestat.inference.two_sample.rates import RateDifferences, rate_differences
from routestat.progress import Tick, silent
from routestat.structure.bicluster_checks import adjusted_rand
from routestat.structure.biclusters import unfit
from routestat.structure.block_evidence import Partitions, merged_blocks
from routestat.structure.block_number import choose_number, fewer_groups, table_design_effect
from routestat.structure.block_search import MOST_BLOCKS, matched_numbers
from routestat.structure.coclusters import canonical_order
from routestat.traces.metadata import Router

#: Divisions of the documents into two samples at random, for the agreement that blocks have by chance.
DIVISIONS = 19
#: Tokens of each trace that routes are counted on, in the state and in the expert view.
MOST_ROWS, MOST_ROWS_OF_EXPERTS = 1_000_000, 100_000
LEVEL = math.log10(0.05)
_COLUMNS = tuple(one.name for one in fields(RateDifferences) if one.name != "reason")
# Labels of sources and of targets of a table.
_Labels = Callable[[Integers], tuple[Integers, Integers]]


@dataclass(frozen=True, eq=False)
class BlockComparison:
    """Blocks of one transition, fitted to both traces together, and how far A and B differ in them.

    Attributes
    ----------
    source, target : Router
        Of A.
    row_labels, column_labels : int array ``[state]``
        Block of each state, −1 for one without tokens.
    n_blocks : (int, int)
        Of sources and of targets.
    shares : pair of float arrays ``[row block, column block]``
        Of the tokens of A and of B.
    cells : CellDifferences, optional
        Of the cells of blocks; `log10_q` is over those of all transitions. None where there is one block.
    agreement : float
        Adjusted Rand index of as many blocks fitted to A alone and to B alone, mean of sources and targets.
    by_chance : float array ``[division]``
        The same where documents are divided into A and B at random.
    reason : str
        Why there are no blocks, or none to compare.
    """

    source: Router
    target: Router
    row_labels: Integers
    column_labels: Integers
    n_blocks: tuple[int, int]
    shares: tuple[Floats, Floats]
    cells: CellDifferences | None
    agreement: float
    by_chance: Floats
    reason: str = ""

    @property
    def p_agreement(self) -> float:
        """Share of the divisions, with the observed one, whose blocks agree no better than those of A and B."""
        if not math.isfinite(self.agreement) or not len(self.by_chance):
            return math.nan
        return float((1 + (self.by_chance <= self.agreement).sum()) / (1 + len(self.by_chance)))

    @property
    def n_differ(self) -> int:
        """Cells of blocks whose shares differ."""
        return 0 if self.cells is None else int((self.cells.log10_q <= LEVEL).sum())


@dataclass(frozen=True, eq=False)
class RouteComparison:
    """Windows of 3 to 8 layers and routes through all that are frequent in both traces together, `[route]`.

    Those of most different shares come first.

    Attributes
    ----------
    start, length : int array
        Place of the first layer, and number of layers.
    choices : tuple of arrays ``[layer]`` or ``[layer, slot]``
        States or experts.
    is_route : bool array
        Whether it is a whole choice at every layer of the trace.
    tokens : pair of int arrays
    rates : RateDifferences
    log10_q : float array
        Benjamini and Yekutieli, over all of them.
    least_tokens : int
        Tokens in both traces together that a window has at least.
    notes : pair of str
        The part of each trace that was counted; empty if all.
    reason : str
        Why nothing was compared or tested.
    """

    start: Integers
    length: Integers
    choices: tuple[Integers, ...]
    is_route: NDArray[np.bool_]
    tokens: tuple[Integers, Integers]
    rates: RateDifferences | None
    log10_q: Floats
    least_tokens: int
    notes: tuple[str, str]
    reason: str = ""

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.start)

    @property
    def differ(self) -> NDArray[np.bool_]:
        """Which differ by more than documents do."""
        return np.asarray(self.log10_q <= LEVEL)


@dataclass(frozen=True)
class StructureComparison:
    """Blocks of every transition, and routes."""

    blocks: tuple[BlockComparison, ...]
    routes: RouteComparison


def compare_structure(
    counts: tuple[Counts, Counts],
    samples: tuple[Sample, Sample],
    rng: np.random.Generator,
    *,
    paired: bool,
    tick: Tick = silent,
) -> StructureComparison:
    """Compare the blocks of every transition and the routes of two traces whose routers are the same.

    Parameters
    ----------
    counts : pair of Counts
        In one view, with the context layer −1; paired, with the same groups.
    samples : pair of Samples
        Whole documents of both, with the routers and groups of `counts`.
    rng : numpy.random.Generator
        Divides documents at random.
    paired : bool
        Whether group g of both holds the same documents.
    tick : callable(what, done, total)
    """
    pairs = [
        (source, router, other)
        for router, other in zip(counts[0].routers[1:], counts[1].routers[1:], strict=True)
        if (source := counts[0].source(router)) is not None
    ]
    others = {router.name: router for router in counts[1].routers}
    blocks = []
    for place, ((source, target, other), own) in enumerate(zip(pairs, rng.spawn(len(pairs)), strict=True)):
        tick("comparing blocks", place, len(pairs))
        if _alike(target, other) and _alike(source, others[source.name]):
            tables = tuple(each.table(Context.layer(1), target) for each in counts)
            slots = 1 if counts[0].states == "subset" else source.top_k * target.top_k
            blocks.append(_blocks(source, target, (tables[0], tables[1]), slots, paired, own))
    tick("comparing blocks", len(pairs), len(pairs))
    tick("comparing routes", 0, 1)
    routes = compare_routes(samples, counts[0].states, paired=paired)
    tick("comparing routes", 1, 1)
    return StructureComparison(_adjusted(blocks), routes)


def compare_routes(samples: tuple[Sample, Sample], states: str, *, paired: bool) -> RouteComparison:
    """Compare the shares of frequent windows and routes.

    Parameters
    ----------
    samples : pair of Samples
    states : {"subset", "expert"}
    paired : bool
        Whether group g of both holds the same documents.
    """
    pairs = zip(samples[0].routers, samples[1].routers, strict=True)
    if not all(_alike(*pair) for pair in pairs):
        return _no_routes("the routers have different numbers of experts: routes cannot be compared")
    if len(samples[0].routers) < 3:
        return _no_routes("there are fewer than three layers")
    most = MOST_ROWS if states == "subset" else MOST_ROWS_OF_EXPERTS
    first, second = (at_most(sample, most) for sample in samples)
    windows, least = common_windows((first, second), states)
    # In so few layers the longest windows are the routes.
    whole = states == "subset" and len(first.routers) <= LONGEST
    route = None if whole else common_routes((first, second))
    parts = [*windows, *([route] if route is not None else [])]
    notes = first.note, second.note
    if not parts:
        none = _no_routes("no window of three layers is frequent enough")
        return replace(none, least_tokens=least, notes=notes)
    rates = [rate_differences(*part.tokens, *part.sizes, paired=paired) for part in parts]
    return _gathered(parts, rates, least, notes)


def _gathered(
    parts: Sequence[CommonWindows],
    rates: Sequence[RateDifferences],
    least: int,
    notes: tuple[str, str],
) -> RouteComparison:
    columns = {name: np.concatenate([getattr(one, name) for one in rates]) for name in _COLUMNS}
    order = np.argsort(-np.abs(np.nan_to_num(columns["difference"])), kind="stable")
    of_part = np.concatenate([np.full(len(part.choices), place) for place, part in enumerate(parts)])[order]
    choices = [row for part in parts for row in part.choices]
    reason = next((one.reason for one in rates if one.reason), None)
    log10_p = columns["log10_p"][order]
    tokens = [np.concatenate([part.tokens[side].sum(axis=0) for part in parts])[order] for side in (0, 1)]
    return RouteComparison(
        np.array([part.start for part in parts])[of_part],
        np.array([part.length for part in parts])[of_part],
        tuple(choices[place] for place in order.tolist()),
        np.array([part.is_route for part in parts])[of_part],
        (tokens[0], tokens[1]),
        RateDifferences(**{name: columns[name][order] for name in _COLUMNS}, reason=reason),
        adjust_log10(log10_p, "by"),
        least,
        notes,
        reason or "",
    )


def _no_routes(reason: str) -> RouteComparison:
    none, nothing = np.empty(0, np.int64), np.empty(0)
    return RouteComparison(
        none, none, (), np.empty(0, bool), (none, none), None, nothing, 0, ("", ""), reason
    )


def _alike(a: Router, b: Router) -> bool:
    return (a.n_experts, a.top_k) == (b.n_experts, b.top_k)


def _blocks(
    source: Router,
    target: Router,
    tables: tuple[NDArray[np.integer], NDArray[np.integer]],
    slots: int,
    paired: bool,
    rng: np.random.Generator,
) -> BlockComparison:
    a, b = (table.astype(np.int64) for table in tables)
    held = a.any(axis=(1, 2)), b.any(axis=(1, 2))
    total = a.sum(axis=0) + b.sum(axis=0)
    none = BlockComparison(
        source,
        target,
        np.where(total.any(axis=1), 0, -1),
        np.where(total.any(axis=0), 0, -1),
        (1, 1),
        (np.ones((1, 1)), np.ones((1, 1))),
        None,
        math.nan,
        np.empty(0),
    )
    places = np.flatnonzero(total.any(axis=1)), np.flatnonzero(total.any(axis=0))
    used = total[np.ix_(*places)]
    why = unfit(used, 1.0, 1, slots) or (
        "" if held[0].any() and held[1].any() else "one of the two has no tokens"
    )
    if why:
        return replace(none, reason=why)
    order = canonical_order(used)
    places = places[0][order[0]], places[1][order[1]]
    a, b = (table[:, places[0]][:, :, places[1]] for table in (a, b))
    units = fewer_groups(a + b if paired else np.concatenate([a[held[0]], b[held[1]]]))
    effect = table_design_effect(units)

    def fit(some: Sequence[Integers], least: int = 0) -> list[Partitions]:
        return [merged_blocks(table / effect, MOST_BLOCKS, "lift", least) for table in some]

    number = choose_number(units, fit, "lift", effect)
    if not number.size:
        said = "one block describes unseen documents of both as well as several"
        return replace(none, reason=number.reason or said)

    def labels_of(table: Integers) -> tuple[Integers, Integers]:
        (found,) = fit([table], number.size)
        return found.rows[number.size], found.columns[number.size]

    whole = a.sum(axis=0) + b.sum(axis=0)
    rows, columns = matched_numbers(whole, labels_of(whole))[0]
    blocked = [_block_tables(table, rows, columns) for table in (a, b)]
    flat = [table.reshape(len(table), -1) for table in blocked]
    shares = [table.sum(axis=0) / table.sum() for table in blocked]
    labels = [np.full(len(none_of), -1) for none_of in (none.row_labels, none.column_labels)]
    labels[0][places[0]], labels[1][places[1]] = rows, columns
    return replace(
        none,
        row_labels=labels[0],
        column_labels=labels[1],
        n_blocks=(int(rows.max()) + 1, int(columns.max()) + 1),
        shares=(shares[0], shares[1]),
        cells=cell_differences(*flat, paired=paired),
        agreement=_agreement(labels_of, a.sum(axis=0), b.sum(axis=0)),
        by_chance=_by_chance(labels_of, a, b, paired, rng),
    )


def _block_tables(tables: Integers, rows: Integers, columns: Integers) -> Integers:
    """Sum counts ``[group, source, target]`` over blocks."""
    of_rows = np.eye(int(rows.max()) + 1, dtype=np.int64)[rows]
    of_columns = np.eye(int(columns.max()) + 1, dtype=np.int64)[columns]
    return np.asarray(of_rows.T @ tables @ of_columns)


def _agreement(labels_of: _Labels, a: Integers, b: Integers) -> float:
    """Compute the adjusted Rand index of the blocks of two tables over states that both use, mean of both sides."""
    both = a.any(axis=1) & b.any(axis=1), a.any(axis=0) & b.any(axis=0)
    if min(both[0].sum(), both[1].sum()) < 2:
        return math.nan
    pairs = zip(labels_of(a), labels_of(b), both, strict=True)
    return float(np.mean([adjusted_rand(x[on], y[on]) for x, y, on in pairs]))


def _by_chance(
    labels_of: _Labels, a: Integers, b: Integers, paired: bool, rng: np.random.Generator
) -> Floats:
    """Compute the agreement of blocks where whole groups are divided into A and B at random, `[division]`."""
    if paired:
        swapped = [rng.random(len(a)) < 0.5 for _ in range(DIVISIONS)]
        pairs = [
            (a[~own].sum(axis=0) + b[own].sum(axis=0), a[own].sum(axis=0) + b[~own].sum(axis=0))
            for own in swapped
        ]
    else:
        a, b = (table[table.any(axis=(1, 2))] for table in (a, b))
        every = np.concatenate([a, b])
        chosen = [rng.permutation(len(every))[: len(a)] for _ in range(DIVISIONS)]
        whole = every.sum(axis=0)
        halves = [every[own].sum(axis=0) for own in chosen]
        pairs = [(half, whole - half) for half in halves]
    found = np.array([_agreement(labels_of, *pair) for pair in pairs])
    return found[np.isfinite(found)]


def _adjusted(blocks: Sequence[BlockComparison]) -> tuple[BlockComparison, ...]:
    """Adjust the cells of all transitions together, after Benjamini and Yekutieli."""
    logs = [np.empty(0) if one.cells is None else one.cells.log10_p for one in blocks]
    if not blocks:
        return ()
    adjusted = adjust_log10(np.concatenate(logs), "by")
    parts = np.split(adjusted, np.cumsum([len(own) for own in logs])[:-1])
    return tuple(
        one if one.cells is None else replace(one, cells=replace(one.cells, log10_q=q, moved=q <= LEVEL))
        for one, q in zip(blocks, parts, strict=True)
    )
