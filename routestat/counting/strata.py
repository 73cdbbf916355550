"""Sparse counts of source and target within strata: tokens of one id, or with one earlier choice.

A dense table ``[stratum, source, target]`` would have millions of cells and few tokens; only the observed cells
are kept, per group of documents.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routestat.counting.document_sample import Sample
from routestat.counting.experts import expert_rows
from routestat.errors import RoutestatError
from routestat.traces.metadata import Router

# Cells sorted at a time: a wide router has k·k per token.
AT_ONCE = 1 << 23


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
    if states == "expert" and by != "token":
        raise RoutestatError("the expert view has no strata of earlier choices: hardly any occurs twice")
    stratum, known = _stratum(sample, target, by)
    (x, size_x), (y, size_y) = (_choices(sample, router, states) for router in (source, target))
    sizes = size_x, size_y
    known = known & (x[:, 0] < sizes[0]) & (y[:, 0] < sizes[1])
    names, stratum = np.unique(stratum[known], return_inverse=True)
    x, y = x[known], y[known]
    if shuffled is not None:
        y = y[_dealt(stratum, shuffled)]
    keys, counts = _ordered(stratum, x, y, sample.group[known], sizes, sample.groups)
    rest, group = np.divmod(keys, sample.groups)
    rest, target_of = np.divmod(rest, sizes[1])
    stratum_of, source_of = np.divmod(rest, sizes[0])
    return Strata(
        stratum_of,
        source_of,
        target_of,
        group,
        counts,
        len(names),
        *sizes,
        sample.groups,
        (x.shape[1], y.shape[1]),
        int(known.sum()),
        sample.n_tokens_in_all,
        by if isinstance(by, str) else by.name,
    )


def paired_cells(
    sample: Sample,
    source: Router,
    target: Router,
    rows: NDArray[np.integer],
    partners: NDArray[np.integer],
    states: str,
) -> NDArray[np.int64]:
    """Return the table ``[source, target]`` of the source's choice in `rows` and the target's in `partners`."""
    (x, size_x), (y, size_y) = (_choices(sample, router, states) for router in (source, target))
    x, y = x[rows], y[partners]
    known = (x[:, 0] < size_x) & (y[:, 0] < size_y)
    cells = x[known, :, None] * size_y + y[known, None, :]
    return np.bincount(cells.ravel(), minlength=size_x * size_y).reshape(size_x, size_y)


def _choices(sample: Sample, router: Router, states: str) -> tuple[NDArray[np.int64], int]:
    """Return states or experts ``[row, slot]`` and their number; missing ones are as large or larger."""
    column = sample.columns[router.name]
    if states == "expert":
        return expert_rows(column, router).astype(np.int64), router.n_experts
    return column[:, None].astype(np.int64), router.alphabet.size


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


def _dealt(stratum: NDArray[np.integer], rng: np.random.Generator) -> NDArray[np.intp]:
    """Return a random order of the rows within each stratum."""
    order = np.empty(len(stratum), np.intp)
    # One float holds both keys: strata are whole numbers far below 2**53.
    order[np.argsort(stratum, kind="stable")] = np.argsort(stratum + rng.random(len(stratum)))
    return order


def _ordered(
    stratum: NDArray[np.integer],
    x: NDArray[np.integer],
    y: NDArray[np.integer],
    group: NDArray[np.integer],
    sizes: tuple[int, int],
    groups: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return distinct cells as one number each, sorted, and their counts; sorts a bounded number at a time."""
    step = max(1, AT_ONCE // (x.shape[1] * y.shape[1]))
    keys, counts = np.empty(0, np.int64), np.empty(0, np.int64)
    for first in range(0, len(stratum), step):
        rows = slice(first, first + step)
        cells = (stratum[rows, None, None] * sizes[0] + x[rows, :, None]) * sizes[1] + y[rows, None, :]
        seen, times = np.unique(cells * groups + group[rows, None, None], return_counts=True)
        if len(keys):
            seen, place = np.unique(np.concatenate([keys, seen]), return_inverse=True)
            times = np.bincount(place, np.concatenate([counts, times])).astype(np.int64)
        keys, counts = seen, times
    return keys, counts
