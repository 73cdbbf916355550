"""The order of the chain: the highest that predicts held-out documents clearly better than a lower one."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from routestat.errors import RoutestatError
from routestat.inference.base.estimate import Estimate, ratio

#: Gains below this, in bits per token, are attributed to smoothing and not to memory.
LEAST_BITS = 1e-4


@dataclass(frozen=True)
class OrderChoice:
    """Orders compared on the same tokens of held-out documents; see `choose_order`.

    Attributes
    ----------
    log_loss : tuple of Estimate
        Of each order, bits per token.
    gains : tuple of Estimate
        Of each order over the one below, bits per token, paired: the first is that of order 1 over order 0.
    chosen : int or None
        None where there are too few groups.
    """

    log_loss: tuple[Estimate, ...]
    gains: tuple[Estimate, ...]
    chosen: int | None


def is_clear(gain: Estimate) -> bool:
    """Whether the whole interval of a gain in bits is above zero, and the gain above `LEAST_BITS`."""
    return gain.low > 0 and gain.value > LEAST_BITS


def choose_order(bits: Sequence[ArrayLike], tokens: ArrayLike, level: float = 0.95) -> OrderChoice:
    """Choose the highest order whose gain over the order chosen below it has an interval above zero.

    Gains below `LEAST_BITS` count as none. Order 2 is compared with the order chosen below it, so that it is found
    also where order 1 gains nothing over order 0, as when a layer is a function of the two before it but independent
    of either alone.

    Parameters
    ----------
    bits : sequence of float arrays ``[group]``
        Held-out log loss of each order from 0 on, the same tokens in each (see `held_out`).
    tokens : float array ``[group]``
    level : float
        Of the intervals; groups are taken as independent, tokens within a group need not be.

    Raises
    ------
    RoutestatError
        If there is no order.
    """
    if not bits:
        raise RoutestatError("bits: expected the log loss of one order at least, got none")
    sums = [np.asarray(one, np.float64) for one in bits]
    chosen = 0
    for order in range(1, len(sums)):
        gain = ratio(sums[chosen] - sums[order], tokens, level)
        if is_clear(gain):
            chosen = order
    losses = tuple(ratio(one, tokens, level) for one in sums)
    gains = tuple(ratio(a - b, tokens, level) for a, b in itertools.pairwise(sums))
    known = len(sums) == 1 or not np.isnan(gains[0].low)
    return OrderChoice(losses, gains, chosen if known else None)
