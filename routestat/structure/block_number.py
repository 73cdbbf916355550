"""How many blocks there are: as many as describe left-out documents better than one block does."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routestat.inference.base.estimate import Estimate, group_correction, ratio
from routestat.inference.base.tables import Floats, Integers, read_only
from routestat.inference.base.units import too_few
from routestat.structure.block_evidence import CORRECTED, Partitions

#: Partitions of several tables of counts ``[source, target]``.
Fit = Callable[[Sequence[Integers]], list[Partitions]]

FOLDS = 5
#: Groups are added up until so many are left: intervals need no more, and tables of wide models are large.
MOST_GROUPS = 64


@dataclass(frozen=True, eq=False)
class BlockNumber:
    """The number of blocks that describes left-out documents best.

    Attributes
    ----------
    size : int
        Place of the partition among those of each table; 0 where one block describes left-out documents as well.
    gain : Estimate
        What its blocks save of left-out tokens over one block, in bits per token (per pair of slots where tokens have
        several cells).
    dependence : Estimate
        What they save that states' own frequencies do not: the same where degrees of both sides are corrected.
    gains_bits : float array ``[size]``
        Gain of every size, NaN where it could not be measured.
    saved : float array ``[group]``
        Bits of `dependence`, of all counts of each group.
    n_groups, n_folds : int
        Groups of whole documents, and in how many turns they were left out.
    at_most : bool
        Whether the largest of several sizes was chosen, so that more blocks might be better.
    reason : str or None
        Why the number could not be measured.
    """

    size: int
    gain: Estimate
    dependence: Estimate
    gains_bits: Floats
    saved: Floats
    n_groups: int
    n_folds: int
    at_most: bool
    reason: str | None = None

    def __post_init__(self) -> None:
        """Make the arrays read-only."""
        read_only(self.gains_bits)
        read_only(self.saved)


def fewer_groups(tables: NDArray[np.integer], most: int = MOST_GROUPS) -> Integers:
    """Add up groups until at most `most` are left; groups without counts are dropped."""
    held = tables[tables.any(axis=(1, 2))]
    if len(held) <= most:
        return held.astype(np.int64)
    return np.stack([held[first::most].sum(axis=0, dtype=np.int64) for first in range(most)])


def table_design_effect(tables: Integers) -> float:
    """Variance of the cells over groups, as a multiple of that of independent cells; 1 at least, and with one group.

    The trace of the groups' scores under independence over (R − 1)(C − 1). Where a token has several cells, what that
    adds to the variance is in it too.
    """
    n = float(tables.sum())
    dof = (tables.shape[1] - 1) * (tables.shape[2] - 1)
    if len(tables) < 2 or dof < 1 or not n:
        return 1.0
    own = tables.astype(np.float64)
    joint = own.sum(axis=0) / n
    r, c, share = joint.sum(axis=1), joint.sum(axis=0), own.sum(axis=(1, 2))
    expected = np.outer(r, c)
    scores = own - r[:, None] * own.sum(axis=1)[:, None, :] - own.sum(axis=2)[:, :, None] * c
    scores += share[:, None, None] * (2.0 * expected - joint)
    scores *= scores
    scores /= np.where(expected > 0, expected, np.inf)
    return max(1.0, group_correction(len(tables)) * float(scores.sum()) / n / dof)


def choose_number(
    tables: Integers, fit: Fit, matrix: str, design_effect: float, tokens: Floats | None = None
) -> BlockNumber:
    """Choose among partitions by how well they describe groups that they were not fitted on.

    Groups are left out in `FOLDS` turns. One block is taken unless the interval of the largest gain lies above zero;
    else the smallest size of which that is true and whose gain is within one standard error of the largest.

    Parameters
    ----------
    tables : int array ``[group, source, target]``
        Counts of groups of whole documents.
    fit : callable
        Returns as many partitions for each table, one block of each side first.
    matrix : {"lift", "conditional", "joint"}
        Whose degrees are corrected.
    design_effect : float
        Counts are divided by it where probabilities are estimated.
    tokens : float array ``[group]``, optional
        For the rule of too few groups; the counts by default.

    Returns
    -------
    BlockNumber
    """
    counts = tables.sum(axis=(1, 2)).astype(np.float64)
    why = too_few(counts if tokens is None else tokens)
    if why is not None:
        none = Estimate(np.nan, np.nan, np.nan, np.nan, len(tables), why)
        return BlockNumber(
            0, none, none, np.full(1, np.nan), np.zeros(len(tables)), len(tables), 0, False, why
        )
    n_folds = min(FOLDS, len(tables))
    fold = np.empty(len(tables), np.int64)
    fold[np.argsort(-counts, kind="stable")] = np.arange(len(tables)) % n_folds
    total = tables.sum(axis=0)
    kept = [total - tables[fold == left].sum(axis=0) for left in range(n_folds)]
    fitted = fit(kept)
    sizes = len(fitted[0].rows)
    gains, lifts = np.zeros((sizes, len(tables))), np.zeros((sizes, len(tables)))
    for left, (table, found) in enumerate(zip(kept, fitted, strict=True)):
        out = fold == left
        scored = tables[out].reshape(int(out.sum()), -1).T.astype(np.float64)
        own, lift = gains_of_cells(table / design_effect, found, matrix)
        gains[:, out] = own.reshape(sizes, -1) @ scored
        lifts[:, out] = gains[:, out] if lift is own else lift.reshape(sizes, -1) @ scored
    mean = gains.sum(axis=1) / counts.sum()
    best = int(mean.argmax())
    size = _least_as_good(gains, counts, best) if ratio(gains[best], counts).low > 0 else 0
    # What one block saves over one block is nothing; what the best did not save is said.
    shown = size if size else int(mean[1:].argmax()) + 1 if sizes > 1 else 0
    return BlockNumber(
        size,
        ratio(gains[shown], counts),
        ratio(lifts[shown], counts),
        mean,
        lifts[shown].copy(),
        len(tables),
        n_folds,
        2 < sizes == size + 1,
    )


def _least_as_good(gains: Floats, counts: Floats, best: int) -> int:
    """Return the smallest size whose gain is above zero, and within one standard error of the best."""
    for size in range(1, best):
        behind = ratio(gains[best] - gains[size], counts)
        if behind.value <= behind.standard_error and ratio(gains[size], counts).low > 0:
            return size
    return best


def gains_of_cells(table: Floats, found: Partitions, matrix: str) -> tuple[Floats, Floats]:
    """Bits that a token in each cell saves over one block, and those of the lift of its blocks alone.

    Probabilities are posterior means of the model in `block_evidence`.

    Parameters
    ----------
    table : float array ``[source, target]``
        The counts that the partitions were fitted to, divided by the design effect.
    found : Partitions
        One block of each side first.
    matrix : {"lift", "conditional", "joint"}

    Returns
    -------
    two float arrays ``[size, source, target]``
        The same array where both degrees are corrected.
    """
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    shape = (len(found.rows), *table.shape)
    own, lift = np.empty(shape), np.empty(shape)
    base = np.zeros(table.shape)
    for size, (a, b) in enumerate(zip(found.rows, found.columns, strict=True)):
        n_b = int(b.max()) + 1
        cells = np.bincount((a[:, None] * n_b + b).ravel(), table.ravel(), (int(a.max()) + 1) * n_b)
        joint = ((cells + 1.0) / (cells + 1.0).sum()).reshape(-1, n_b)
        logs = np.log2(joint)
        inside = [
            _log_shares(counts, labels, corrected)
            for counts, labels, corrected in zip((rows, columns), (a, b), CORRECTED[matrix], strict=True)
        ]
        whole = logs[a[:, None], b] + inside[0][:, None] + inside[1]
        if size == 0:
            base = whole
        own[size] = whole - base
        if not all(CORRECTED[matrix]):
            alone = np.log2(joint.sum(axis=1))[:, None] + np.log2(joint.sum(axis=0))
            lift[size] = (logs - alone)[a[:, None], b]
    return own, own if all(CORRECTED[matrix]) else lift


def _log_shares(counts: Floats, labels: Integers, corrected: bool) -> Floats:
    """log2 of every state's share of its block."""
    sizes = np.bincount(labels)
    if not corrected:
        return np.asarray(-np.log2(sizes)[labels])
    return np.asarray(np.log2((counts + 1.0) / (np.bincount(labels, counts) + sizes)[labels]))
