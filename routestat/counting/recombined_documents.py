"""Recombined documents, whose two layers come from two documents: no dependence by construction.

Units (whole clusters of documents) are split at random into two halves and matched one to one. A recombined document
has the choices of the source layer from one unit and those of the target layer from its partner, so that they are
independent, while each series keeps the order and the repetitions of its document. Every unit is used once,
on one side: what the two layers of one document have in common (a topic) never meets, within a recombined document or
between two of them, and recombined documents are independent where units are.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from routestat.counting.document_sample import Sample
from routestat.counting.experts import expert_rows
from routestat.counting.kernels.experts import cross_experts
from routestat.counting.kernels.strata import read_in_circles
from routestat.counting.strata import numbered
from routestat.traces.clusters.units import Units
from routestat.traces.metadata import Router

#: Units of one draw, and rows of them all: more make a draw slower, not more informative.
MOST_UNITS, MOST_ROWS = 4096, 500_000


def units_of(sample: Sample) -> NDArray[np.int64]:
    """Return the independent unit of each row, its cluster, numbered from 0, ``[row]``."""
    return numbered(sample.cluster)[0].astype(np.int64)


@dataclass(frozen=True, eq=False)
class Series:
    """The rows of every unit in every stratum, in the order of the sample.

    Attributes
    ----------
    rows : int array ``[row]``
        Ordered by unit, then by stratum.
    starts, lengths : int arrays ``[unit, stratum]``
        First entry of each unit and stratum in `rows`, and their number.
    """

    rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    lengths: NDArray[np.int64]


def recombined_samples(
    sample: Sample,
    source: Router,
    target: Router,
    rng: np.random.Generator,
    n: int,
    *,
    via: Router | None = None,
) -> Iterator[Sample]:
    """Draw `n` samples of recombined documents, in which source and target are independent (given `via`).

    Without `via`, row t of a recombined document has the source's choice of one unit and the target's of its partner.
    With `via`, the rows of each unit are first sorted by its own choice there, and the two series are paired choice by
    choice: source and target depend on `via` as they do in their own documents, and are
    independent given `via`. Rows without a choice are left out.

    Series of lengths a and b are paired in sqrt(a·b) rows, rounded at random to one of the two nearest whole
    numbers; each is read from a random row on, and from its beginning again after its end. Then the expected number
    of rows with i at the source and j at the target is a product of the frequencies of i and j on either side,
    whatever their lengths and positions: cutting both to the shorter, or matching units of similar length, would
    restore a dependence where choices depend on the length of a document or the position in it.

    Parameters
    ----------
    sample : Sample
        Whole documents.
    source, target : Router
    rng : numpy.random.Generator
    n : int
        Samples to draw, each with a new random split.
    via : Router, optional
        The layer between; needs the state view.

    Yields
    ------
    Sample
        Of at most `MOST_UNITS` // 2 recombined documents, numbered from 0, with the columns of these routers.
        No row follows another, and token ids are unknown.
    """
    unit = units_of(sample)
    units = int(unit.max(initial=-1)) + 1
    known = _known(sample, source), _known(sample, target)
    before, after = (_series(sample, unit, units, mask, via) for mask in known)
    half = min(units, MOST_UNITS) // 2
    for _ in range(n):
        givers, takers = rng.permutation(units)[: 2 * half].reshape(2, half)
        left, right, made = _meet(before, after, givers, takers, rng)
        columns = {source.name: sample.columns[source.name][left]}
        for router in (target, via) if via is not None else (target,):
            columns[router.name] = sample.columns[router.name][right]
        documents = made[np.flatnonzero(np.diff(made, prepend=-1))]
        yield replace(
            sample,
            routers=tuple(router for router in (source, via, target) if router is not None),
            token=np.full(len(made), -1, np.int32),
            document=made.astype(np.int32),
            follows=np.zeros(len(made), np.bool_),
            columns=columns,
            units=Units.alone(documents),
            n_documents=len(documents),
            n_tokens_in_all=len(made),
        )


def group_tables(
    sample: Sample, source: Router, target: Router, states: str = "subset"
) -> NDArray[np.integer]:
    """Count one pair of routers of a sample ``[group, source, target]``, where both have a choice in every row.

    In the expert view a token counts in k·k cells. Groups without tokens are left out.

    Parameters
    ----------
    sample : Sample
    source, target : Router
    states : {"subset", "expert"}
    """
    numbers, g = numbered(sample.group)
    group = numbers.astype(np.int64)
    x, y = (sample.columns[router.name] for router in (source, target))
    if states == "subset":
        k, m = source.alphabet.size, target.alphabet.size
        cells = (group * k + x.astype(np.int64)) * m + y.astype(np.int64)
        return np.bincount(cells, minlength=g * k * m).reshape(g, k, m)
    x, y, k, m = expert_rows(x, source), expert_rows(y, target), source.n_experts, target.n_experts
    table, at = np.zeros((g, k * m), np.uint32), np.arange(len(group))
    missing = np.array([np.iinfo(rows.dtype).max for rows in (x, y)], np.int64)
    slots = (0,) * source.top_k, (0,) * target.top_k
    cross_experts(x, y, at, at + 1, group, 0, missing, slots, m, table)
    return table.reshape(g, k, m)


def _known(sample: Sample, router: Router) -> NDArray[np.bool_]:
    """Return which rows have a choice of the router."""
    column = sample.columns[router.name]
    return column < router.alphabet.size if column.ndim == 1 else column[:, 0] < router.n_experts


def _series(
    sample: Sample, unit: NDArray[np.int64], units: int, known: NDArray[np.bool_], via: Router | None
) -> Series:
    """Return the known rows of every unit and stratum."""
    stratum, strata = np.zeros(len(unit), np.int64), 1
    if via is not None:
        stratum, strata = sample.columns[via.name].astype(np.int64), via.alphabet.size
        known = known & (stratum < strata)
    rows = np.flatnonzero(known)
    key = unit[rows] * strata + stratum[rows]
    lengths = np.bincount(key, minlength=units * strata)
    starts = np.cumsum(lengths) - lengths
    return Series(
        rows[np.argsort(key, kind="stable")],
        starts.reshape(units, strata),
        lengths.reshape(units, strata),
    )


def _meet(
    before: Series,
    after: Series,
    givers: NDArray[np.int64],
    takers: NDArray[np.int64],
    rng: np.random.Generator,
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Return the paired rows of either side, and the number of the recombined document of each pair."""
    a, b = before.lengths[givers], after.lengths[takers]
    # A factor of each unit, so that the expected table stays a product.
    wanted = np.sqrt(a * _kept(a)[:, None] * b * _kept(b)[:, None])
    n = np.floor(wanted + rng.random(wanted.shape)).astype(np.int64)
    made, stratum = np.nonzero(n)
    n = n[made, stratum]
    sides = []
    for series, units in ((before, givers), (after, takers)):
        length, start = series.lengths[units[made], stratum], series.starts[units[made], stratum]
        side = np.empty(int(n.sum()), np.int64)
        read_in_circles(series.rows, start, length, rng.integers(0, length), n, side)
        sides.append(side)
    return sides[0], sides[1], np.repeat(made, n)


def _kept(lengths: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return the share of each unit's rows ``[unit]`` that leaves at most `MOST_ROWS`; long units are cut equally."""
    size = lengths.sum(axis=1)
    if size.sum() <= MOST_ROWS:
        return np.ones(len(size))
    rising = np.sort(size)
    # Units up to length c keep their rows, longer ones are cut to c; the largest c with few enough rows.
    left = len(size) - np.arange(len(size))
    within = np.cumsum(rising) - rising + rising * left <= MOST_ROWS
    whole = int(within.sum())
    cut = (MOST_ROWS - rising[:whole].sum()) / max(len(size) - whole, 1)
    return np.minimum(1.0, cut / np.maximum(size, 1))
