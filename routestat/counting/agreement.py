"""Agreement of two runs of the same tokens: one pass over both traces in parallel."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routestat.counting.experts import expert_rows
from routestat.errors import RoutestatError
from routestat.progress import Progress
from routestat.traces.batch import Batch
from routestat.traces.metadata import Router
from routestat.traces.store import Trace


@dataclass(frozen=True)
class Agreement:
    """Agreement of two runs per group of whole documents and router, ``[group, router]``.

    `tokens` have a choice in both traces, `flips` of them different subsets, and `kept` counts the common experts.
    """

    tokens: NDArray[np.int64]
    flips: NDArray[np.int64]
    kept: NDArray[np.int64]


def count_agreement(
    a: Trace,
    b: Trace,
    routers: Sequence[Router],
    groups: int,
    progress: Progress | None = None,
) -> Agreement:
    """Compare the choices of two traces that hold the same tokens in the same rows.

    Raises
    ------
    RoutestatError
        If the traces hold different tokens.
    """
    names = [router.name for router in routers]
    tokens, flips, kept = np.zeros((3, groups, len(routers)), np.int64)
    done = 0
    for first, second in _side_by_side(a.counted(names), b.counted(names)):
        if not (
            np.array_equal(first.document, second.document)
            and np.array_equal(first.position, second.position)
        ):
            raise RoutestatError("the two traces do not hold the same tokens in the same rows")
        group = a.units.group_of(first.document, groups)
        for place, router in enumerate(routers):
            same, both, common = _compare(first.columns[router.name], second.columns[router.name], router)
            np.add.at(tokens[:, place], group[both], 1)
            np.add.at(flips[:, place], group[both & ~same], 1)
            np.add.at(kept[:, place], group[both], common[both])
        done += len(first)
        if progress is not None:
            progress(done, a.n_counted)
    return Agreement(tokens, flips, kept)


def _compare(
    x: NDArray[np.unsignedinteger], y: NDArray[np.unsignedinteger], router: Router
) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.int64]]:
    """Return per row whether the subsets are equal, whether both are known, and the number of common experts."""
    missing = np.iinfo(x.dtype).max
    wide = x.ndim == 2
    same = (x == y).all(axis=1) if wide else x == y
    absent = (x == missing) | (y == missing)
    both = ~(absent.all(axis=1) if wide else absent)
    common = np.where(same, router.top_k, 0)
    # Experts are compared only where rows differ, and most do not.
    rows = np.flatnonzero(both & ~same)
    for start in range(0, rows.size, 1 << 16):
        part = rows[start : start + (1 << 16)]
        left, right = expert_rows(x[part], router), expert_rows(y[part], router)
        common[part] = (left[:, :, None] == right[:, None, :]).sum(axis=(1, 2))
    return same, both, common


def _side_by_side(a: Iterator[Batch], b: Iterator[Batch]) -> Iterator[tuple[Batch, Batch]]:
    """Yield the rows of both in pieces of equal length."""
    left, right = next(a, None), next(b, None)
    while left is not None and right is not None:
        rows = min(len(left), len(right))
        yield _cut(left, 0, rows), _cut(right, 0, rows)
        left = _cut(left, rows, len(left)) if rows < len(left) else next(a, None)
        right = _cut(right, rows, len(right)) if rows < len(right) else next(b, None)
    if left is not None or right is not None:
        raise RoutestatError("the two traces do not hold the same number of tokens")


def _cut(batch: Batch, start: int, stop: int) -> Batch:
    columns = {name: values[start:stop] for name, values in batch.columns.items()}
    return Batch(batch.document[start:stop], batch.position[start:stop], columns)
