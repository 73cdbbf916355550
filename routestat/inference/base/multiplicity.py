"""P-values adjusted for the number of tests: Benjamini-Hochberg within a family, Benjamini-Yekutieli across."""

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.errors import RoutestatError
from routestat.inference.base.tables import Floats, numbers, read_only


def adjust(p_values: ArrayLike, method: str = "bh") -> Floats:
    """P-values adjusted for the false discovery rate, in the shape they came.

    Parameters
    ----------
    p_values
        Between 0 and 1, any shape, one family. NaN stays NaN and does not count as a test.
    method
        "bh" (Benjamini-Hochberg: independent or positively dependent tests) or "by" (Benjamini-Yekutieli: any
        dependence).

    Raises
    ------
    RoutestatError
        For a value outside [0, 1] or an unknown method.

    References
    ----------
    Benjamini & Hochberg (1995), JRSS B 57; Benjamini & Yekutieli (2001), Ann. Stat. 29.
    """
    _check_method(method)
    p = numbers(p_values, "p_values")
    known = ~np.isnan(p)
    if ((p[known] < 0) | (p[known] > 1)).any():
        raise RoutestatError("p_values: expected values from 0 to 1, got one outside; pass p, not its log")
    q = np.full(p.shape, np.nan)
    if known.any():
        # It takes half a second to import, and reports adjust logarithms.
        from scipy import stats  # noqa: PLC0415

        q[known] = stats.false_discovery_control(p[known], method=method)
    return read_only(q)


def adjust_log10(log10_p: ArrayLike, method: str = "bh") -> Floats:
    """Adjust log10 p-values, whose q-values stay finite and in order where p itself is 0.

    Parameters
    ----------
    log10_p
        Zero or less, any shape, one family. NaN stays NaN and does not count as a test.
    method
        "bh" or "by".

    Returns
    -------
    log10 of the adjusted p-values, in the shape they came.

    Raises
    ------
    RoutestatError
        For a value above 0 or an unknown method.
    """
    _check_method(method)
    logs = numbers(log10_p, "log10_p")
    known: NDArray[np.bool_] = ~np.isnan(logs)
    if (logs[known] > 0).any():
        raise RoutestatError("log10_p: expected values of 0 or less, got one above; pass log10 of p, not p")
    q = np.full(logs.shape, np.nan)
    p, m = logs[known], int(known.sum())
    if m:
        order = np.argsort(p, kind="stable")[::-1]
        ranks = np.arange(m, 0, -1)
        factor = m * (1.0 / np.arange(1, m + 1)).sum() if method == "by" else float(m)
        stepped = np.minimum.accumulate(p[order] + math.log10(factor) - np.log10(ranks))
        back = np.empty(m)
        back[order] = np.minimum(stepped, 0.0)
        q[known] = back
    return read_only(q)


def adjust_families(log10_p: Mapping[str, ArrayLike], method: str = "by") -> dict[str, Floats]:
    """`adjust_log10` over all families of tests together, given back family by family.

    Families share their data, in unknown ways: hence Benjamini and Yekutieli by default.
    """
    parts = {name: np.asarray(values, np.float64).ravel() for name, values in log10_p.items()}
    adjusted = adjust_log10(np.concatenate([*parts.values(), np.empty(0)]), method)
    ends = np.cumsum([part.size for part in parts.values()])[:-1]
    return dict(zip(parts, np.split(adjusted, ends), strict=True)) if parts else {}


def _check_method(method: str) -> None:
    if method not in ("bh", "by"):
        raise RoutestatError(f"method: expected 'bh' or 'by', got {method!r}; pick one")
