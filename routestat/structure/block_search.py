"""Blocks of one transition: how many there are, whether they are real, what they explain and how stable they are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from routestat.errors import RoutestatError
from routestat.inference.base.estimate import (
    Estimate,
    effective_dof,
    sandwich_error,
    with_interval,
    without_interval,
)
from routestat.inference.base.tables import Integers, whole_counts
from routestat.inference.information.mutual_information import (
    mutual_information_interval,
    plugin_information,
    pointwise_information,
)
from routestat.structure.bicluster_checks import Labels, NullShare, Stability, null_share, stability
from routestat.structure.biclusters import Blocks, block_table, blocks_of, unfit
from routestat.structure.block_evidence import Partitions, merged_blocks
from routestat.structure.block_number import BlockNumber, choose_number, fewer_groups, table_design_effect
from routestat.structure.coclusters import canonical_order
from routestat.structure.spectral_partitions import biclustered, coclustered

#: How blocks are found, in words.
METHODS = {
    "evidence": "block evidence with merging",
    "cocluster": "spectral co-clustering",
    "bicluster": "spectral biclustering",
}
#: Which matrix has blocks, in words.
MATRICES = {
    "lift": "the lift",
    "conditional": "the conditional distribution",
    "joint": "the joint distribution",
}
MOST_BLOCKS = 8
RESAMPLES, NULL_DRAWS = 10, 3


@dataclass(frozen=True, eq=False)
class FoundBlocks:
    """Blocks of one transition, as many as describe left-out documents best.

    Attributes
    ----------
    blocks : Blocks
        One block where more do not describe left-out documents better.
    number : BlockNumber
    design_effect : float
        Counts were divided by it.
    log10_evidence : float
        log10 of the evidence of these blocks over that of one block; NaN for other methods.
    information : Estimate
        Of source and target in bits, by the jackknife.
    explained : Estimate
        What the blocks save of left-out tokens, as a share of the information.
    stability : Stability
    null : NullShare
        For as many blocks.
    """

    blocks: Blocks
    number: BlockNumber
    design_effect: float
    log10_evidence: float
    information: Estimate
    explained: Estimate
    stability: Stability
    null: NullShare

    @property
    def are_real(self) -> bool:
        """Whether blocks describe left-out documents better than one block does."""
        return self.number.size > 0


def find_biclusters(
    tables: ArrayLike,
    rng: np.random.Generator,
    *,
    method: str = "evidence",
    matrix: str = "lift",
    most: int = MOST_BLOCKS,
    slots: int = 1,
) -> FoundBlocks:
    """Find blocks of source states and of target states, and how many there are.

    Relabelling the states changes nothing but the places of their labels.

    Parameters
    ----------
    tables : array_like ``[group, source, target]``
        Counts of groups of whole documents.
    rng : numpy.random.Generator
        Resamples, tables of noise, and the starts of spectral methods.
    method : {"evidence", "cocluster", "bicluster"}
        Evidence chooses up to `most` blocks of each side; spectral methods find that many or one.
    matrix : {"lift", "conditional", "joint"}
        What is alike inside a block: the lift of its cells, the targets' probabilities given the source, or the joint
        probabilities. Only blocks of the lift are about dependence alone; others also separate frequent states.
    most : int
        Blocks of each side, at most.
    slots : int
        Cells of each token.

    Raises
    ------
    RoutestatError
        For another method or matrix, less than one block, or no such tables.
    """
    check_blocks(method, matrix, most)
    counts = whole_counts(tables, "tables")
    if counts.ndim != 3:
        raise RoutestatError(
            f"tables: expected [group, source, target], got {counts.ndim} axes; count per group of documents"
        )
    grouped = fewer_groups(counts)
    total = grouped.sum(axis=0) if len(grouped) else np.zeros(counts.shape[1:], np.int64)
    places = np.flatnonzero(total.any(axis=1)), np.flatnonzero(total.any(axis=0))
    used = total[np.ix_(*places)]
    bits = plugin_information(used.astype(np.float64)) / np.log(2.0) if used.size else 0.0
    words = f"{METHODS[method]} of {MATRICES[matrix]}, up to {most} blocks of each side"
    if (reason := unfit(used, bits, 1, slots)) is not None:
        return _nothing(total, most, matrix, words, reason)
    # An order that the counts alone make, so that ties are the same whatever the states are called.
    order = canonical_order(used)
    ordered = grouped[:, places[0][order[0]]][:, :, places[1][order[1]]]
    effect = table_design_effect(ordered)

    def fit(some: Sequence[Integers], least: int = 0) -> list[Partitions]:
        if method == "evidence":
            return [merged_blocks(table / effect, most, matrix, least) for table in some]
        return (coclustered if method == "cocluster" else biclustered)(some, most, matrix, rng)

    number = choose_number(ordered, fit, matrix, effect)
    whole = ordered.sum(axis=0)
    (partitions,) = fit([whole])
    size = number.size
    labels, n_paired = matched_numbers(whole, (partitions.rows[size], partitions.columns[size]))

    def refit(some: Sequence[Integers]) -> list[Labels]:
        return [(found.rows[size], found.columns[size]) for found in fit(some, size)]

    blocks = blocks_of(
        total,
        (_back(labels[0], order[0]), _back(labels[1], order[1])),
        n_paired,
        n_blocks=most,
        matrix=matrix,
        method=words,
    )
    information = mutual_information_interval(ordered).estimate
    none = NullShare(np.full(NULL_DRAWS, np.nan), np.nan, "", "there is one block")
    gained = partitions.log_evidence[size] - partitions.log_evidence[0]
    return FoundBlocks(
        blocks=blocks,
        number=number,
        design_effect=effect,
        log10_evidence=float(gained / np.log(10.0)),
        information=information,
        explained=_explained(ordered, number, information),
        stability=stability(ordered, labels, refit, rng, RESAMPLES),
        null=null_share(whole, refit, rng, NULL_DRAWS) if size else none,
    )


def check_blocks(method: str, matrix: str, most: int) -> None:
    """Refuse an unknown method or matrix, or less than one block."""
    for name, value, known in (("method", method, METHODS), ("matrix", matrix, MATRICES)):
        if value not in known:
            raise RoutestatError(f"{name} of blocks: expected one of {', '.join(known)}, got {value!r}")
    if isinstance(most, bool) or not isinstance(most, int | np.integer) or most < 1:
        raise RoutestatError(f"most blocks of each side: expected a whole number ≥ 1, got {most!r}")


def matched_numbers(used: Integers, labels: Labels) -> tuple[Labels, int]:
    """Give blocks of sources numbers by descending counts, and those of targets after the sources they follow most.

    Blocks of both sides are matched one to one, each time the two that share the most information of those left; the
    matched ones come first, by descending counts of both.

    Returns
    -------
    labels : pair of int arrays ``[source]``, ``[target]``
    n_matched : int
    """
    cells = block_table(used, *labels).astype(np.float64)
    terms = cells * pointwise_information(cells)
    n = min(cells.shape)
    pairs = []
    for _ in range(n):
        a, b = np.unravel_index(int(terms.argmax()), cells.shape)
        pairs.append((int(a), int(b)))
        terms[a, :] = terms[:, b] = -np.inf
    counts = cells.sum(axis=1), cells.sum(axis=0)
    pairs.sort(key=lambda pair: -(counts[0][pair[0]] + counts[1][pair[1]]))
    renumbered = []
    for side, (own, blocks) in enumerate(zip(labels, cells.shape, strict=True)):
        first = [pair[side] for pair in pairs]
        rest = sorted(set(range(blocks)) - set(first), key=lambda block: -counts[side][block])
        number = np.empty(blocks, np.int64)
        number[first + rest] = np.arange(blocks)
        renumbered.append(number[own])
    return (renumbered[0], renumbered[1]), n


def _back(labels: Integers, order: Integers) -> Integers:
    """Labels of states in their own order."""
    own = np.empty_like(labels)
    own[order] = labels
    return own


def _explained(tables: Integers, number: BlockNumber, information: Estimate) -> Estimate:
    """Return bits saved of left-out tokens over the information, an estimate of a ratio with paired groups."""
    groups = len(tables)
    if number.reason is None and not number.size:
        return without_interval(0.0, groups, "")
    if number.reason or information.reason or not information.value > 0:
        return without_interval(np.nan, groups, number.reason or information.reason or "no information")
    total = tables.sum(axis=0)
    size = tables.sum(axis=(1, 2)).astype(np.float64)
    known = (tables * pointwise_information(total.astype(np.float64))).sum(axis=(1, 2)) / np.log(2.0)
    # The groups' shares of the information, without its bias.
    known *= information.value * size.sum() / known.sum()
    value = float(number.saved.sum() / known.sum())
    error = float(sandwich_error(number.saved - value * known)) / float(known.sum())
    return with_interval(value, error, effective_dof(size), groups)


def _nothing(total: Integers, most: int, matrix: str, words: str, reason: str) -> FoundBlocks:
    """Return one block and why there is no more."""
    labels = tuple(np.zeros(int(total.any(axis=axis).sum()), np.int64) for axis in (1, 0))
    none = without_interval(np.nan, 0, reason)
    return FoundBlocks(
        blocks=blocks_of(
            total,
            (labels[0], labels[1]),
            int(total.any()),
            n_blocks=most,
            matrix=matrix,
            method=words,
            reason=reason,
        ),
        number=BlockNumber(0, none, none, np.full(1, np.nan), np.zeros(0), 0, 0, False, reason),
        design_effect=np.nan,
        log10_evidence=np.nan,
        information=none,
        explained=none,
        stability=Stability(np.nan, np.nan, np.nan, 0, 0, reason),
        null=NullShare(np.full(NULL_DRAWS, np.nan), np.nan, "", reason),
    )
