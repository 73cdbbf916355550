"""Correlations and divergences of profiles: rows of a transition, loads by domain, layers of a model.

A profile is a list of numbers whose places mean the same in all profiles: the targets of one transition, the experts
of one layer under different domains. Experts of two layers share no labels, so layers are compared by their sorted
loads, which are invariant to relabelling.
"""

import math
import warnings
from collections.abc import Callable, Iterable

import numpy as np
from numpy.typing import ArrayLike

from routestat.errors import RoutestatError
from routestat.inference.base.ranks import average_ranks, kendall_tau_b
from routestat.inference.base.tables import Floats, numbers, read_only
from routestat.inference.information.divergence import batch_divergence


def profile_matrix(profiles: ArrayLike, method: str = "pearson", diagonal: bool = True) -> Floats:
    """Compare every profile with every other, ``[profile, profile]``.

    Parameters
    ----------
    profiles : array_like ``[profile, place]``
        Finite numbers, two places or more; counts or shares for "jensen-shannon".
    method : {"pearson", "spearman", "kendall", "jensen-shannon"}
        Correlations (Kendall's is tau-b), or the divergence in bits: 0 equal, 1 disjoint.
    diagonal : bool
        Whether to keep the diagonal (1, or 0 bits); NaN if not.

    Returns
    -------
    ndarray
        Symmetric. NaN in the row and column of a profile that is constant (correlations) or all zero
        (divergence), its diagonal included.

    Raises
    ------
    RoutestatError
        For other shapes, NaN, infinity, an unknown method, or negative numbers where shares are wanted.
    """
    if method not in _METHODS:
        raise RoutestatError(f"method: expected one of {', '.join(_METHODS)}, got {method!r}; pick one")
    rows = _checked(profiles)
    if method == "jensen-shannon" and (rows < 0).any():
        raise RoutestatError("profiles: expected counts or shares of zero or more, got a negative number")
    defined = rows.any(axis=1) if method == "jensen-shannon" else np.ptp(rows, axis=1) > 0
    matrix = np.full((len(rows), len(rows)), np.nan)
    matrix[np.ix_(defined, defined)] = _METHODS[method](rows[defined])
    itself = np.where(defined & diagonal, 0.0 if method == "jensen-shannon" else 1.0, np.nan)
    np.fill_diagonal(matrix, itself)
    return read_only(matrix)


def sorted_loads(loads: Iterable[ArrayLike], places: int | None = None) -> Floats:
    """Sort the loads of layers ``[layer, expert]`` to profiles without labels ``[layer, place]``, largest first.

    Parameters
    ----------
    loads : array_like ``[layer, expert]``, or a list of layers of different widths
        Counts or shares; each layer's is divided by its sum.
    places : int, optional
        Places of the profile (the widest layer's); narrower layers end in zeros.
    """
    layers = [np.sort(np.asarray(layer, dtype=np.float64))[::-1] for layer in loads]
    width = max((len(layer) for layer in layers), default=0) if places is None else places
    out = np.zeros((len(layers), width))
    for row, layer in zip(out, layers, strict=True):
        kept = layer[:width]
        row[: kept.size] = kept / layer.sum() if layer.sum() > 0 else 0.0
    return out


def _pearson(rows: Floats) -> Floats:
    centred = rows - rows.mean(axis=1, keepdims=True)
    # Scaled first, so that squares of tiny or huge numbers do not overflow or underflow.
    centred /= np.abs(centred).max(axis=1, keepdims=True)
    centred /= np.sqrt((centred**2).sum(axis=1, keepdims=True))
    return np.clip(centred @ centred.T, -1.0, 1.0)


def _spearman(rows: Floats) -> Floats:
    return _pearson(average_ranks(rows))


def _jensen_shannon(rows: Floats) -> Floats:
    shares = rows / rows.sum(axis=1, keepdims=True)
    out = np.zeros((len(rows), len(rows)))
    for i, mine in enumerate(shares[:-1]):
        others = shares[i + 1 :]
        bits = batch_divergence(mine, others) / np.log(2.0)
        out[i, i + 1 :] = out[i + 1 :, i] = np.clip(bits, 0.0, 1.0)
    return out


_METHODS: dict[str, Callable[[Floats], Floats]] = {
    "pearson": _pearson,
    "spearman": _spearman,
    "kendall": kendall_tau_b,
    "jensen-shannon": _jensen_shannon,
}


def _checked(profiles: ArrayLike) -> Floats:
    try:
        rows = np.asarray(profiles, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise RoutestatError(
            "profiles: expected numbers [profile, place]; make rows of equal length"
        ) from error
    if rows.ndim != 2 or rows.shape[1] < 2:
        raise RoutestatError(
            f"profiles: expected [profile, place] of two places or more, got shape {rows.shape}"
        )
    if not np.isfinite(rows).all():
        raise RoutestatError(
            "profiles: expected finite numbers, got NaN or infinity; drop those places in all"
        )
    return rows


# Their functions in scipy.stats.
COEFFICIENTS = {"pearson": "pearsonr", "spearman": "spearmanr", "kendall": "kendalltau"}


def correlate(a: ArrayLike, b: ArrayLike, method: str = "pearson") -> float:
    """Correlate two profiles by Pearson's r, Spearman's rho or Kendall's tau-b.

    For measurements such as loads, rows of probabilities or layers; ids of experts or states are labels and
    have no correlation.

    Parameters
    ----------
    a, b
        Numbers `[n]` of equal length, two or more.
    method
        "pearson", "spearman" or "kendall" (tau-b, corrected for ties).

    Returns
    -------
    The coefficient; NaN where one side is constant.

    Raises
    ------
    RoutestatError
        For NaN or infinity, unequal lengths, fewer than two values or an unknown method.
    """
    if method not in COEFFICIENTS:
        raise RoutestatError(f"method: expected 'pearson', 'spearman' or 'kendall', got {method!r}; pick one")
    left, right = numbers(a, "a"), numbers(b, "b")
    if left.ndim != 1 or left.shape != right.shape or left.size < 2:
        raise RoutestatError(
            f"a and b: expected two equally long lists of two or more, got shapes {left.shape} and {right.shape}; "
            "flatten or align them"
        )
    if not (np.isfinite(left).all() and np.isfinite(right).all()):
        raise RoutestatError(
            "a and b: expected finite numbers, got NaN or infinity; drop those places in both"
        )
    if np.ptp(left) == 0 or np.ptp(right) == 0:
        return math.nan
    # It takes half a second to import, and no report needs it.
    from scipy import stats  # noqa: PLC0415

    with warnings.catch_warnings():
        # A nearly constant side still has a coefficient; scipy's warning is not for the caller to catch.
        warnings.simplefilter("ignore")
        return float(getattr(stats, COEFFICIENTS[method])(left, right).statistic)
