"""Resamples of whole documents from the tables alone: the trace is not read again.

A resample of groups is a sum of their tables, each as often as it was drawn, so a thousand of them are one matrix
product. Tokens are never drawn apart from their document.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.errors import RoutestatError
from routestat.inference.base.tables import whole_counts

MEMORY = 1 << 28
# Above these, sums of whole numbers are no longer exact in the type.
EXACT_SINGLE, EXACT_DOUBLE = 2.0**24, 2.0**53


def resample_weights(groups: int, rng: np.random.Generator, n: int) -> NDArray[np.int64]:
    """How often each group is drawn, `[resample, group]`, when as many are drawn with replacement as there are.

    Raises
    ------
    RoutestatError
        For fewer than one group or no resample.
    """
    if groups < 1 or n < 1:
        raise RoutestatError(f"expected 1 or more groups and resamples, got {groups} and {n}")
    return rng.multinomial(groups, np.full(groups, 1.0 / groups), size=n)


def group_resamples(
    tables: ArrayLike, rng: np.random.Generator, n: int, memory: int = MEMORY
) -> Iterator[NDArray[np.floating]]:
    """Tables of `n` bootstrap resamples of the groups, in blocks `[resample, ...]`.

    Parameters
    ----------
    tables
        Whole counts `[group, ...]`; groups of whole documents are taken as independent, tokens within one are
        not. What is stacked behind the group axis, `[group, layer, source, target]` say, shares its draws.
        Groups without tokens are left out: they are no documents to draw.
    rng
        Draws the weights, all before the first block, so that blocks of another size hold the same resamples.
    n
        How many resamples, in all blocks together.
    memory
        Bytes that a block may take.

    Yields
    ------
    Float arrays of whole numbers, all exact: single precision where no sum can pass 2**24, else double.

    Raises
    ------
    RoutestatError
        For counts that are not whole, no group with tokens, or sums beyond 2**53.
    """
    counts = whole_counts(tables, "tables")
    if counts.ndim < 2:
        raise RoutestatError(
            f"tables: expected [group, ...] with cells behind, got {counts.ndim} axes; reshape"
        )
    cells = counts.reshape(counts.shape[0], -1)
    cells = cells[cells.any(axis=1)]
    if not cells.size:
        raise RoutestatError("tables: expected at least one group with tokens, got none; count some first")
    weights = resample_weights(cells.shape[0], rng, n)
    # No sum is larger than all draws of the largest cell; partial sums are smaller still.
    largest = float(cells.max()) * cells.shape[0]
    if largest > EXACT_DOUBLE:
        raise RoutestatError(f"tables: expected resampled cells up to 2**53, got up to {largest:.3g}")
    dtype = np.float32 if largest <= EXACT_SINGLE else np.float64
    return _blocks(cells.astype(dtype), weights.astype(dtype), counts.shape[1:], memory)


def _blocks(
    cells: NDArray[np.floating], weights: NDArray[np.floating], shape: tuple[int, ...], memory: int
) -> Iterator[NDArray[np.floating]]:
    at_once = max(1, memory // max(1, cells.shape[1] * cells.itemsize))
    for first in range(0, len(weights), at_once):
        part = weights[first : first + at_once]
        yield (part @ cells).reshape(len(part), *shape)
