"""The order in which a replay goes through steps, and where it is cut into blocks."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from routestat.serving.steps import Steps

#: Tokens of a block: a replay can be interrupted between blocks, and knows of one when each expert is needed next.
BLOCK = 4096


def passes(steps: Steps, start: str) -> Iterator[tuple[NDArray[np.int64], int]]:
    """Yield the orders in which steps are replayed, and the place from which each is counted.

    Parameters
    ----------
    steps : Steps
    start : str
        One of `routestat.serving.settings.STARTS`.

    Yields
    ------
    int array ``[place]``
        Steps.
    int
    """
    if start != "warm" or steps.n_units == 1:
        yield np.arange(len(steps)), 0
        return
    odd, even = np.flatnonzero(steps.unit % 2 == 1), np.flatnonzero(steps.unit % 2 == 0)
    yield np.concatenate([odd, even]), len(odd)
    yield np.concatenate([even, odd]), len(even)


def cut_into_blocks(
    steps: Steps, order: NDArray[np.int64], block: int | None = None
) -> tuple[list[int], int]:
    """Cut an order of steps into blocks of about as many tokens.

    Returns
    -------
    list of int
        Places of the order at which blocks begin, and its length.
    int
        Most tokens of a block.
    """
    block = block or BLOCK
    end = np.cumsum(np.diff(steps.start)[order])
    whole = end // block
    cuts = sorted({0, len(order), *(np.flatnonzero(whole[1:] != whole[:-1]) + 1).tolist()})
    return cuts, int(np.diff(np.append(0, end)[cuts]).max())
