"""Blocks of source states and of target states of one table, and a given number of them by spectral co-clustering.

The latter are found in noise too; `block_search` says how many blocks there are.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.errors import RoutestatError
from routestat.inference.base.tables import Integers, read_only, whole_counts
from routestat.inference.information.mutual_information import plugin_information
from routestat.structure.coclusters import MATRICES, cocluster

_NO_INFORMATION_BITS = 1e-12


@dataclass(frozen=True, eq=False)
class Blocks:
    """Row and column blocks of one transition table.

    Blocks are numbered by descending token share. Row block b and column block b were found together for
    b < `n_paired`; blocks of rows alone or columns alone come after.

    Attributes
    ----------
    n_blocks, matrix : int, str
        As requested.
    n_row_blocks, n_column_blocks, n_paired : int
        How many have rows, columns, both.
    row_labels, column_labels : ndarray [source], [target]
        Block of each state; −1 for a state with no tokens.
    row_order, column_order : ndarray [source], [target]
        State ids block by block, heaviest first inside a block, unused states last.
    share_of_mi : float
        I(row block; column block) / I(source; target), both plug-in; NaN with a `reason`.
    method : str
        The method, in words.
    reason : str or None
        Why all states in use are in one block, if nothing could be fitted.
    """

    n_blocks: int
    matrix: str
    n_row_blocks: int
    n_column_blocks: int
    n_paired: int
    row_labels: NDArray[np.int64]
    column_labels: NDArray[np.int64]
    row_order: NDArray[np.int64]
    column_order: NDArray[np.int64]
    share_of_mi: float
    method: str
    reason: str | None = None

    def __post_init__(self) -> None:
        """Make the arrays read-only."""
        for name in ("row_labels", "column_labels", "row_order", "column_order"):
            read_only(getattr(self, name))


def spectral_blocks(
    table: ArrayLike,
    n_blocks: int,
    rng: np.random.Generator,
    matrix: str = "lift",
    *,
    slots: int | None = None,
) -> Blocks:
    """Cluster source and target states together so that blocks of each have high lift.

    The algorithm and the starts are those of scikit-learn's SpectralCoclustering on a dense matrix, after dropping
    empty rows and columns, with the exact decomposition. The states are put in an order that does not depend on their
    ids first, so relabelling them changes nothing but the labels' places.

    The lift P(i, j) / (P(i) P(j)) gives every state equal weight. Where loads are uneven its few largest entries are
    chance cells of rare states, and planted blocks can be missed; the counts, which the method divides by the
    square roots of both margins, still find them.

    Parameters
    ----------
    table : array_like [source, target]
        Counts of tokens.
    n_blocks : int
        Number of blocks, ≥ 1; that many are found whether the data have them or not.
    rng : numpy.random.Generator
        Seeds the k-means.
    matrix : {"lift", "counts", "conditional"}
        The matrix that is clustered.
    slots : int, optional
        Cells of each token. If given, nothing is fitted to fewer tokens than there are states to be labelled.

    Returns
    -------
    Blocks
        One block and a `reason` where there are too few states in use, too few tokens or no information.

    Raises
    ------
    RoutestatError
        If `table` holds no counts, `n_blocks` < 1 or `matrix` is unknown.

    References
    ----------
    Dhillon, Co-clustering documents and words using bipartite spectral graph partitioning, KDD 2001.
    """
    counts = counts_of(table, "table", 2)
    check_request(n_blocks, matrix)
    rows, columns = np.flatnonzero(counts.any(axis=1)), np.flatnonzero(counts.any(axis=0))
    used = counts[np.ix_(rows, columns)]
    bits = plugin_information(used.astype(np.float64)) / np.log(2) if used.size else 0.0
    reason = unfit(used, bits, n_blocks, slots)
    row_blocks, column_blocks = np.zeros(len(rows), np.int64), np.zeros(len(columns), np.int64)
    if reason is None and n_blocks > 1:
        ((row_blocks, column_blocks),) = cocluster([used], n_blocks, [int(rng.integers(2**31))], matrix)
    row_blocks, column_blocks, n_paired = _canonical_numbers(used, row_blocks, column_blocks)
    return blocks_of(
        counts,
        (row_blocks, column_blocks),
        n_paired,
        n_blocks=int(n_blocks),
        matrix=matrix,
        method=f"spectral co-clustering of the {matrix} (not a test: noise has blocks too)",
        reason=reason,
    )


def blocks_of(
    counts: Integers,
    labels: tuple[Integers, Integers],
    n_paired: int,
    *,
    n_blocks: int,
    matrix: str,
    method: str,
    reason: str | None = None,
) -> Blocks:
    """Return blocks of a table ``[source, target]`` from those of its states in use, which have their numbers.

    The share of information is NaN where there is a `reason`.
    """
    places = counts.any(axis=1), counts.any(axis=0)
    row_labels, column_labels = (np.full(n, -1) for n in counts.shape)
    row_labels[places[0]], column_labels[places[1]] = labels
    return Blocks(
        n_blocks=n_blocks,
        matrix=matrix,
        n_row_blocks=int(row_labels.max(initial=-1)) + 1,
        n_column_blocks=int(column_labels.max(initial=-1)) + 1,
        n_paired=n_paired,
        row_labels=row_labels,
        column_labels=column_labels,
        row_order=_order(row_labels, counts.sum(axis=1)),
        column_order=_order(column_labels, counts.sum(axis=0)),
        share_of_mi=share_of_information(counts[np.ix_(*places)], *labels) if reason is None else np.nan,
        method=method,
        reason=reason,
    )


def share_of_information(used: Integers, rows: Integers, columns: Integers) -> float:
    """I(row block; column block) / I(source; target), both plug-in; NaN where there is no information.

    Parameters
    ----------
    used : int array ``[source, target]``
    rows, columns : int array ``[source]``, ``[target]``
        Blocks, numbered from 0.
    """
    information = plugin_information(used.astype(np.float64)) if used.any() else 0.0
    if information <= _NO_INFORMATION_BITS:
        return np.nan
    blocked = block_table(used, rows, columns)
    seen = blocked[np.ix_(blocked.any(axis=1), blocked.any(axis=0))].astype(np.float64)
    return float(np.clip(plugin_information(seen) / information, 0, 1))


def block_table(table: Integers, rows: Integers, columns: Integers) -> Integers:
    """Sum counts ``[source, target]`` over blocks, numbered from 0."""
    cells = np.zeros((int(rows.max(initial=-1)) + 1, int(columns.max(initial=-1)) + 1), np.int64)
    np.add.at(cells, (rows[:, None], columns), table)
    return cells


def unfit(used: NDArray[np.int64], bits: float, n_blocks: int, slots: int | None = None) -> str | None:
    """Return why no blocks can be fitted to a table without empty rows and columns; None if they can."""
    if not used.size:
        return "the table is empty"
    needed = max(2, n_blocks)
    if min(used.shape) < needed:
        return (
            f"{needed} blocks need as many states in use on both sides, "
            f"there are {used.shape[0]} source and {used.shape[1]} target states"
        )
    tokens, states = int(used.sum()) // (slots or 1), sum(used.shape)
    if slots is not None and tokens < states:
        return (
            f"{tokens:,} tokens are fewer than the {states:,} states that they would have to assign to blocks"
        )
    return None if bits > _NO_INFORMATION_BITS else "source and target share no information in this table"


def check_request(n_blocks: int, matrix: str) -> None:
    """Refuse a number of blocks below 1 or an unknown matrix."""
    if isinstance(n_blocks, bool) or not isinstance(n_blocks, int | np.integer) or n_blocks < 1:
        raise RoutestatError(f"n_blocks must be a whole number ≥ 1, got {n_blocks!r}")
    if matrix not in MATRICES:
        raise RoutestatError(f"matrix must be one of {', '.join(MATRICES)}, got {matrix!r}")


def _canonical_numbers(
    used: NDArray[np.int64], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Renumber blocks by descending token share, paired ones first; also count the paired ones."""
    n = max(rows.max(initial=-1), columns.max(initial=-1)) + 1
    tokens = np.bincount(rows, used.sum(axis=1), n) + np.bincount(columns, used.sum(axis=0), n)
    heaviest = np.argsort(-tokens, kind="stable")
    has_rows, has_columns = np.isin(heaviest, rows), np.isin(heaviest, columns)
    n_paired = int((has_rows & has_columns).sum())
    renumbered = []
    for labels, has, other in ((rows, has_rows, has_columns), (columns, has_columns, has_rows)):
        number = np.full(n, -1)
        sequence = np.concatenate([heaviest[has & other], heaviest[has & ~other]])
        number[sequence] = np.arange(len(sequence))
        renumbered.append(number[labels])
    return renumbered[0], renumbered[1], n_paired


def _order(labels: NDArray[np.int64], tokens: NDArray[np.int64]) -> NDArray[np.int64]:
    """Order states block by block, heaviest first, unused last."""
    return np.lexsort((-tokens, np.where(labels < 0, len(labels), labels)))


def counts_of(values: ArrayLike, name: str, n_axes: int) -> NDArray[np.int64]:
    """Return whole counts with `n_axes` axes."""
    counts = whole_counts(values, name)
    if counts.ndim != n_axes:
        raise RoutestatError(f"{name}: expected {n_axes} axes, got shape {counts.shape}; reshape it")
    return counts.astype(np.int64, copy=False)
