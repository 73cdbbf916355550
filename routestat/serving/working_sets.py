"""The working set: how many different experts of a layer consecutive tokens need."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routestat.counting.kernels.working_sets import distinct_in_windows
from routestat.errors import RoutestatError
from routestat.inference.base.estimate import Estimate
from routestat.serving.cache_estimates import share_of_units
from routestat.serving.pins import uses_of_experts
from routestat.serving.steps import Steps

#: Consecutive tokens that are looked at.
WIDTHS = (1, 2, 4, 8, 16, 32, 64, 128)


@dataclass(frozen=True)
class WorkingSet:
    """Different experts of a layer that consecutive tokens of a document need.

    Attributes
    ----------
    layer : int, optional
        None for the mean over layers.
    tokens : int
        Tokens of a block: any so many consecutive ones of a document.
    experts : Estimate
        Mean number of different experts.
    independent : float
        The same if every token chose anew by the load of the layer.
    """

    layer: int | None
    tokens: int
    experts: Estimate
    independent: float


def working_sets(steps: Steps, widths: Sequence[int] = WIDTHS) -> tuple[WorkingSet, ...]:
    """Measure the mean number of different experts in blocks of consecutive tokens of a document.

    Every place of a block counts, overlapping ones too. Documents that are shorter than a block do not count in it,
    nor do blocks with a token whose choice is missing; widths without any block are left out.

    Parameters
    ----------
    steps : Steps
    widths : sequence of int
        Tokens of a block.

    Returns
    -------
    tuple of WorkingSet
        By width, the mean over layers before the layers.

    Raises
    ------
    RoutestatError
        If a width is below one.
    """
    if min(widths) < 1:
        raise RoutestatError(f"tokens of a block: expected 1 or more, got {min(widths)}")
    order = np.argsort(steps.row, kind="stable")
    row = steps.row[order]
    follows = np.zeros(len(order), bool)
    follows[1:] = steps.next_row[order][:-1] == row[1:]
    unit = np.repeat(steps.unit, np.diff(steps.start))[order].astype(np.int64)
    sums, windows = distinct_in_windows(
        steps.choices, order, follows, unit, np.array(widths, np.int64),
        np.array([router.n_experts for router in steps.routers], np.int64), steps.n_units,
    )  # fmt: skip
    expected = _independent(steps, widths)
    found = []
    for place, width in enumerate(widths):
        blocks = windows[:, :, place]
        if not blocks.any():
            continue
        by_layer = blocks.sum(axis=0)
        mean = float((expected[:, place] * by_layer).sum() / by_layer.sum())
        found.append(
            WorkingSet(
                None,
                width,
                share_of_units(sums[:, :, place].sum(axis=1), blocks.sum(axis=1), bounded=False),
                mean,
            )
        )
        found += [
            WorkingSet(
                router.layer,
                width,
                share_of_units(sums[:, at, place], blocks[:, at], bounded=False),
                float(expected[at, place]),
            )
            for at, router in enumerate(steps.routers)
            if by_layer[at]
        ]
    return tuple(found)


def _independent(steps: Steps, widths: Sequence[int]) -> NDArray[np.float64]:
    """Return the mean number of different experts of independent tokens ``[layer, width]``.

    An expert that a token chooses with probability p is among the choices of w tokens with probability 1 − (1 − p)^w.
    """
    uses = uses_of_experts(steps).sum(axis=0)
    found = np.zeros((len(steps.routers), len(widths)))
    for place, (low, high) in enumerate(zip(steps.offsets[:-1], steps.offsets[1:], strict=True)):
        known = max(1, np.count_nonzero(steps.choices[:, place, 0] >= 0))
        chosen = uses[low:high] / known
        found[place] = (1 - (1 - chosen[:, None]) ** np.array(widths)).sum(axis=0)
    return found
