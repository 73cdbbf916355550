"""The Jensen-Shannon divergence of two distributions."""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from routestat.errors import RoutestatError
from routestat.inference.base.tables import Floats
from routestat.inference.information.entropy import nats_per_unit


def jensen_shannon(p: ArrayLike, q: ArrayLike, base: float = 2) -> float:
    """Compute the Jensen-Shannon divergence (not its root) of two distributions, in bits unless `base` says otherwise.

    Zero where they are alike, one bit where they share no outcome.

    Parameters
    ----------
    p, q
        Counts or probabilities of equal shape, each divided by its sum.

    Raises
    ------
    RoutestatError
        For shapes that differ, anything negative or not finite, or a sum of zero.

    References
    ----------
    Lin (1991), Divergence measures based on the Shannon entropy. IEEE Trans. Inf. Theory 37.
    """
    unit = nats_per_unit(base)
    shares = []
    for name, given in (("p", p), ("q", q)):
        try:
            array = np.asarray(given, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise RoutestatError(
                f"{name}: expected numbers, got something else; pass counts or shares"
            ) from error
        if not (np.isfinite(array).all() and (array >= 0).all() and array.sum() > 0):
            raise RoutestatError(
                f"{name}: expected finite numbers of zero or more with a sum above zero; check it"
            )
        shares.append(array / array.sum())
    first, second = shares
    if first.shape != second.shape:
        raise RoutestatError(
            f"p and q: expected equal shapes, got {first.shape} and {second.shape}; align them"
        )
    return min(max(0.0, float(batch_divergence(first.ravel(), second.ravel()))), math.log(2.0)) / unit


def batch_divergence(p: Floats, q: Floats) -> NDArray[np.float64]:
    """Compute the Jensen-Shannon divergences of probabilities `[..., outcome]`, in nats `[...]`."""
    middle = (p + q) / 2.0
    return np.asarray((special.rel_entr(p, middle) + special.rel_entr(q, middle)).sum(axis=-1) / 2.0)
