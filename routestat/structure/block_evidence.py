"""Blocks of source and of target states by the evidence of a block model, from one state a block to one block.

A token takes a cell of blocks, then a state of each block: P(i, j) = w_ab t_i u_j. The distribution over the cells of
blocks has a uniform prior, and so have the shares of the states in a block where degrees are corrected; where not, the
states of a block are equally probable. Which sides are corrected says what is clustered: both, the lift; the source
only, the conditional distribution P(j | i); none, the joint distribution P(i, j).
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import gammaln

from routestat.counting.kernels.block_merging import merge_blocks
from routestat.counting.kernels.ward import ward_blocks
from routestat.inference.base.tables import Floats, Integers, read_only

#: Whether the degrees of sources, and of targets, are corrected.
CORRECTED = {"lift": (True, True), "conditional": (True, False), "joint": (False, False)}
# Of more states than these, and than twice the most blocks, those most alike are put together first. Evidence and
# recovery are the same as from single states, in a tenth of the time for 64 states.
_TOGETHER = 16


@dataclass(frozen=True, eq=False)
class Partitions:
    """Partitions of the states of a table into fewer and fewer blocks.

    Attributes
    ----------
    rows, columns : int array ``[size, source]``, ``[size, target]``
        Block of every state, numbered from 0; the first size is one block of each.
    log_evidence : float array ``[size]``
        Natural log of the evidence; NaN where partitions do not come from it.
    """

    rows: Integers
    columns: Integers
    log_evidence: Floats

    def __post_init__(self) -> None:
        """Make the arrays read-only."""
        for values in (self.rows, self.columns, self.log_evidence):
            read_only(values)


def merged_blocks(table: Floats, most: int, matrix: str = "lift", least: int = 0) -> Partitions:
    """Merge blocks of sources and blocks of targets, the pair with the largest gain in evidence each time.

    Once at most `most` of each are left, states move to the block that predicts them best while the evidence grows,
    which is kept for every number of blocks of both sides together.

    Parameters
    ----------
    table : float array ``[source, target]``
        Counts, divided by the design effect.
    most : int
        Blocks of each side that the first partition kept may have.
    matrix : {"lift", "conditional", "joint"}
    least : int
        Where merging stops: places before it are left as one block, with evidence NaN.

    Returns
    -------
    Partitions
        At place s, of s + 2 blocks of both sides together.

    References
    ----------
    Karrer & Newman, Stochastic blockmodels and community structure in networks, Phys. Rev. E 2011; Peixoto,
    Nonparametric Bayesian inference of the microcanonical stochastic block model, Phys. Rev. E 2017.
    """
    counts = np.ascontiguousarray(table, np.float64)
    corrected = CORRECTED[matrix]
    most_rows, most_columns = (min(most, n) for n in counts.shape)
    sizes = most_rows + most_columns - 1
    rows, columns = (np.zeros((sizes, n), np.int64) for n in counts.shape)
    evidence = np.full(sizes, np.nan)
    starts = [_alike(values, *sides, most) for values, sides in _sides(counts, corrected)]
    merge_blocks(counts, *starts, most_rows, most_columns, least, *corrected, rows, columns, evidence)
    return Partitions(rows, columns, evidence + _constant(counts, corrected))


def log_evidence(table: Floats, rows: Integers, columns: Integers, matrix: str = "lift") -> float:
    """Natural log of the evidence of one partition, with that of its numbers of blocks.

    Every number of blocks has the same probability, so has every division of the states into sizes of blocks, and so
    has every partition of these sizes.

    Parameters
    ----------
    table : float array ``[source, target]``
    rows, columns : int array ``[source]``, ``[target]``
        Blocks, numbered from 0 without gaps.
    matrix : {"lift", "conditional", "joint"}
    """
    shape = int(rows.max()) + 1, int(columns.max()) + 1
    cells = np.zeros(shape)
    np.add.at(cells, (rows[:, None], columns), table)
    n_cells = cells.size
    value = gammaln(n_cells) - gammaln(n_cells + cells.sum()) + gammaln(1.0 + cells).sum()
    for labels, counts, blocks, corrected in zip(
        (rows, columns), (cells.sum(axis=1), cells.sum(axis=0)), shape, CORRECTED[matrix], strict=True
    ):
        n, sizes = len(labels), np.bincount(labels)
        shared = gammaln(sizes) - gammaln(sizes + counts) if corrected else -counts * np.log(sizes)
        ways = gammaln(n) - gammaln(blocks) - gammaln(n - blocks + 1) + gammaln(n + 1) + np.log(n)
        value += shared.sum() + gammaln(sizes + 1.0).sum() - ways
    return float(value + _constant(table, CORRECTED[matrix]))


def _constant(table: Floats, corrected: tuple[bool, bool]) -> float:
    """Part of the log evidence that no partition changes."""
    degrees = (table.sum(axis=1), table.sum(axis=0))
    return sum(float(gammaln(1.0 + own).sum()) for own, yes in zip(degrees, corrected, strict=True) if yes)


def _sides(counts: Floats, corrected: tuple[bool, bool]) -> list[tuple[Floats, tuple[Floats, Floats]]]:
    """Each side's table, its own weights and those of the other side."""
    total = counts.sum()
    weights = [
        np.maximum(counts.sum(axis=1 - axis), 1e-12)
        if yes
        else np.full(counts.shape[axis], total / counts.shape[axis])
        for axis, yes in enumerate(corrected)
    ]
    return [(counts, (weights[0], weights[1])), (counts.T, (weights[1], weights[0]))]


def _alike(table: Floats, own: Floats, other: Floats, most: int) -> Integers:
    """Blocks to begin with: every state alone or, of many, those together whose merges cost the least chi-square."""
    labels = np.arange(len(table))
    wanted = max(_TOGETHER, 2 * most)
    if len(table) > wanted:
        ward_blocks(np.ascontiguousarray(table / own[:, None] / np.sqrt(other)), own.copy(), wanted, labels)
    return labels
