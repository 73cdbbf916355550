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
from routestat.structure.coclusters import singular_vectors

#: Whether the degrees of sources, and of targets, are corrected.
CORRECTED = {"lift": (True, True), "conditional": (True, False), "joint": (False, False)}
# Of more states than these, and than twice the most blocks, those most alike are put together first. Evidence and
# recovery are the same as from single states, in a tenth of the time for 64 states.
_TOGETHER = 16
_NO_COUNT = 1e-12


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
    starts = _starts(counts, corrected, most)
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


def _starts(counts: Floats, corrected: tuple[bool, bool], most: int) -> list[Integers]:
    """Blocks to begin with: every state alone or, of many, those together whose merges cost the least chi-square.

    Chi-square is that of the leading singular vectors alone. Fewer blocks than these have no more of them, and the
    noise of the others, which is that of all cells, would hide weak blocks.
    """
    wanted, total = max(_TOGETHER, 2 * most), counts.sum()
    labels = [np.arange(n) for n in counts.shape]
    if max(counts.shape) <= wanted:
        return labels
    weights = [
        np.maximum(counts.sum(axis=1 - axis), _NO_COUNT) if yes else np.full(n, max(total, _NO_COUNT) / n)
        for axis, (n, yes) in enumerate(zip(counts.shape, corrected, strict=True))
    ]
    roots = np.sqrt(weights[0]), np.sqrt(weights[1])
    scaled = counts / roots[0][:, None] / roots[1] - np.outer(*roots) / max(total, _NO_COUNT)
    n_vectors = min(max(most, 2), *counts.shape)
    for own, weight, root, vectors in zip(
        labels, weights, roots, singular_vectors(scaled, n_vectors), strict=True
    ):
        if len(own) > wanted:
            side = scaled if own is labels[0] else scaled.T
            lengths = np.sqrt(np.sum((side.T @ vectors) ** 2, axis=0))
            ward_blocks(np.ascontiguousarray(vectors * lengths / root[:, None]), weight.copy(), wanted, own)
    return labels
