"""Sparse counts of source and target within strata: tokens of one id, or with one earlier choice.

A dense table ``[stratum, source, target]`` would have millions of cells and few tokens; only the observed cells
are kept, per group of documents.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from routestat.counting.document_sample import Sample
from routestat.counting.experts import expert_rows
from routestat.counting.kernels.strata import margin_cells, shuffle_within, sort_cells
from routestat.errors import RoutestatError
from routestat.traces.metadata import Router

# Cells sorted at a time: a wide router has k·k per token.
AT_ONCE = 1 << 23
# Keys that are listed whether they occur or not.
MOST_PLACES = 1 << 24


@dataclass(frozen=True, eq=False)
class Margin:
    """Counts of one side by stratum, state and group.

    Attributes
    ----------
    stratum, state, group, count : int array ``[cell]``
        Observed cells, ordered by stratum and state.
    """

    stratum: NDArray[np.int64]
    state: NDArray[np.int64]
    group: NDArray[np.int64]
    count: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Strata:
    """Counts of tokens by stratum, source, target and group.

    Attributes
    ----------
    stratum, source, target, group, count : int array ``[cell]``
        Observed cells, ordered by stratum, source, target, group. In the expert view a token counts in
        k·k cells.
    n_strata, n_source, n_target, n_groups : int
    slots : (int, int)
        Cells of one token along the source and the target: (1, 1) in the state view.
    n_tokens, n_tokens_in_all : int
        Tokens counted, and tokens of the trace.
    by : str
        The variable of the strata: ``token``, ``previous`` or a router's name.
    """

    stratum: NDArray[np.int64]
    source: NDArray[np.int64]
    target: NDArray[np.int64]
    group: NDArray[np.int64]
    count: NDArray[np.int64]
    n_strata: int
    n_source: int
    n_target: int
    n_groups: int
    slots: tuple[int, int]
    n_tokens: int
    n_tokens_in_all: int
    by: str

    @cached_property
    def sources(self) -> Margin:
        """The counts summed over the targets."""
        return self._margin(self.source, self.n_source)

    @cached_property
    def targets(self) -> Margin:
        """The counts summed over the sources."""
        return self._margin(self.target, self.n_target)

    @cached_property
    def tokens(self) -> Margin:
        """The counts of each stratum and group; the only state is 0."""
        return self._margin(np.zeros_like(self.stratum), 1)

    def _margin(self, state: NDArray[np.int64], n_states: int) -> Margin:
        out = np.empty((4, len(state)), np.int64)
        n = margin_cells(self.stratum, state, self.group, self.count, n_states, self.n_groups, out)
        return Margin(*out[:, :n])

    def pooled(self) -> NDArray[np.int64]:
        """Return the table ``[group, source, target]`` of the same tokens without the strata."""
        cell = (self.group * self.n_source + self.source) * self.n_target + self.target
        cells = np.bincount(cell, self.count, self.n_groups * self.n_source * self.n_target)
        return cells.astype(np.int64).reshape(self.n_groups, self.n_source, self.n_target)


def count_strata(
    sample: Sample,
    source: Router,
    target: Router,
    by: str | Router = "token",
    *,
    states: str = "subset",
    shuffled: np.random.Generator | None = None,
) -> Strata:
    """Count one pair of routers within strata.

    Parameters
    ----------
    sample : Sample
    source, target : Router
    by : {"token", "previous"} or Router
        Strata are token ids; or the target's choice for the previous token; or the choice of a third router
        for the same token. The last two need the state view.
    states : {"subset", "expert"}
    shuffled : numpy.random.Generator, optional
        Permute the target choices among the tokens of each stratum: what an estimator then still finds is
        its bias without dependence.

    Raises
    ------
    RoutestatError
        For strata of states in the expert view: nearly every token would be its own stratum.
    """
    return strata_rows(sample, source, target, by, states=states).count(shuffled)


@dataclass(frozen=True, eq=False)
class StrataRows:
    """The tokens of one pair of routers that have a stratum, as `count_strata` counts them.

    Attributes
    ----------
    stratum, group : int array ``[row]``
    source, target : int array ``[row, slot]``
    sizes : (int, int, int, int)
        Numbers of strata, sources, targets and groups.
    n_tokens_in_all : int
    by : str
    """

    stratum: NDArray[np.int32]
    source: NDArray[np.int32]
    target: NDArray[np.int32]
    group: NDArray[np.int32]
    sizes: tuple[int, int, int, int]
    n_tokens_in_all: int
    by: str

    def count(self, shuffled: np.random.Generator | None = None) -> Strata:
        """Count the rows, with the target choices permuted inside every stratum if a generator is given."""
        target = self.target
        if shuffled is not None:
            target = target[shuffle_within(self.stratum, self.sizes[0], shuffled.random(len(self.stratum)))]
        (stratum, x, y, group), counts = _distinct(
            self.stratum, self.source, target, self.group, self.sizes[1:]
        )
        slots, n_tokens = (self.source.shape[1], target.shape[1]), len(self.stratum)
        return Strata(
            stratum, x, y, group, counts, *self.sizes, slots, n_tokens, self.n_tokens_in_all, self.by
        )


def strata_rows(
    sample: Sample, source: Router, target: Router, by: str | Router = "token", *, states: str = "subset"
) -> StrataRows:
    """Return the tokens of one pair of routers with their strata; parameters and errors as in `count_strata`."""
    if states == "expert" and by != "token":
        raise RoutestatError("the expert view has no strata of earlier choices: hardly any occurs twice")
    stratum, known = _stratum(sample, target, by)
    (x, size_x), (y, size_y) = (choices_of(sample, router, states) for router in (source, target))
    group = sample.group
    known = known & (x[:, 0] < size_x) & (y[:, 0] < size_y)
    if not known.all():
        stratum, x, y, group = stratum[known], x[known], y[known], group[known]
    number, n_strata = numbered(stratum)
    return StrataRows(
        number,
        x,
        y,
        group.astype(np.int32),
        (n_strata, size_x, size_y, sample.groups),
        sample.n_tokens_in_all,
        by if isinstance(by, str) else by.name,
    )


def numbered(keys: NDArray[np.integer]) -> tuple[NDArray[np.int32], int]:
    """Return the number of each key among the distinct ones in order, from 0, and how many there are.

    Parameters
    ----------
    keys : int array ``[entry]``
        Zero or more.
    """
    top = int(keys.max(initial=0))
    if top > 8 * len(keys) + 1024:
        names, number = np.unique(keys, return_inverse=True)
        return number.astype(np.int32), len(names)
    occurs = np.bincount(keys, minlength=1) > 0
    return (np.cumsum(occurs, dtype=np.int32) - np.int32(1))[keys], int(np.count_nonzero(occurs))


def places_of(known: NDArray[np.int64], wanted: NDArray[np.int64], size: int) -> NDArray[np.int64]:
    """Return where in `known`, which are distinct, each of `wanted` is.

    Parameters
    ----------
    known, wanted : int array ``[key]``
        Below `size`; all wanted ones are known.
    size : int
    """
    if size > MOST_PLACES:
        order = np.argsort(known)
        return np.asarray(order[np.searchsorted(known[order], wanted)])
    place = np.empty(size, np.int64)
    place[known] = np.arange(len(known))
    return place[wanted]


def paired_cells(
    sample: Sample,
    source: Router,
    target: Router,
    rows: NDArray[np.integer],
    partners: NDArray[np.integer],
    states: str,
) -> NDArray[np.int64]:
    """Return the table ``[source, target]`` of the source's choice in `rows` and the target's in `partners`."""
    (x, size_x), (y, size_y) = (choices_of(sample, router, states) for router in (source, target))
    x, y = x[rows], y[partners]
    known = (x[:, 0] < size_x) & (y[:, 0] < size_y)
    cells = x[known, :, None] * size_y + y[known, None, :]
    return np.bincount(cells.ravel(), minlength=size_x * size_y).reshape(size_x, size_y)


def choices_of(sample: Sample, router: Router, states: str) -> tuple[NDArray[np.int32], int]:
    """Return states or experts ``[row, slot]`` and their number; missing ones are as large or larger."""
    column = sample.columns[router.name]
    if states == "expert":
        return expert_rows(column, router).astype(np.int32), router.n_experts
    return column[:, None].astype(np.int32), router.alphabet.size


def _stratum(
    sample: Sample, target: Router, by: str | Router
) -> tuple[NDArray[np.integer], NDArray[np.bool_]]:
    """Return what defines each row's stratum, and whether it is known."""
    if by == "token":
        return sample.token, sample.token >= 0
    if by == "previous":
        column = sample.columns[target.name]
        before = np.concatenate([column[:1], column[:-1]])
        return before, sample.follows & (before < target.alphabet.size)
    if isinstance(by, Router):
        return sample.columns[by.name], sample.columns[by.name] < by.alphabet.size
    raise RoutestatError(f"strata are by token, previous or a router, got {by!r}")


def _distinct(
    stratum: NDArray[np.int32],
    x: NDArray[np.int32],
    y: NDArray[np.int32],
    group: NDArray[np.int32],
    sizes: tuple[int, ...],
) -> tuple[tuple[NDArray[np.int64], ...], NDArray[np.int64]]:
    """Return distinct cells ``(stratum, source, target, group)`` and their counts; sorts a bounded number at a time."""
    bits = np.array([(size - 1).bit_length() for size in sizes], np.int64)
    step = max(1, AT_ONCE // (x.shape[1] * y.shape[1]))
    room = np.empty((2, min(step, len(stratum)) * x.shape[1] * y.shape[1]), np.int64)
    keys, counts = np.empty(0, np.int64), np.empty(0, np.int64)
    for first in range(0, len(stratum), step):
        rows = slice(first, first + step)
        seen, times = sort_cells(stratum[rows], x[rows], y[rows], group[rows], bits, *room)
        if first:
            seen, place = np.unique(np.concatenate([keys, seen]), return_inverse=True)
            times = np.bincount(place, np.concatenate([counts, times])).astype(np.int64)
        # What was found lies in an array that is much larger where cells repeat.
        keys, counts = seen.copy(), times.copy()
    ends = np.cumsum(bits[::-1])[::-1].tolist()
    starts = [*ends[1:], 0]
    parts = (keys >> start & (1 << end - start) - 1 for end, start in zip(ends, starts, strict=True))
    return (keys >> ends[0], *parts), counts
