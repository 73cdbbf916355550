"""Entropy of counts, by several estimators."""

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from routestat.errors import RoutestatError
from routestat.inference.base.special import log_rising, x_log_x
from routestat.inference.base.tables import Floats, whole_counts

ENOUGH_PER_CELL, SCARCE_PER_CELL = 30, 1


def _plugin(counts: Floats) -> float:
    n = counts.sum()
    return float(-x_log_x(counts / n).sum())


def _miller_madow(counts: Floats) -> float:
    return _plugin(counts) + float(np.count_nonzero(counts) - 1) / (2.0 * float(counts.sum()))


def _grassberger(counts: Floats) -> float:
    seen = counts[counts > 0]
    n = seen.sum()
    sign = np.where(seen % 2 == 0, 1.0, -1.0)
    g = special.psi(seen) + 0.5 * sign * (special.psi((seen + 1.0) / 2.0) - special.psi(seen / 2.0))
    return float(np.log(n) - (seen * g).sum() / n)


def _chao_shen(counts: Floats) -> float:
    seen = counts[counts > 0]
    n = seen.sum()
    singles = float(np.count_nonzero(seen == 1))
    # All singletons would put the coverage at zero and every share with it; one fewer is the usual convention.
    coverage = 1.0 - (singles - 1.0 if singles == n else singles) / n
    share = coverage * seen / n
    if seen.size == 1 and coverage == 1.0:
        return 0.0
    # The chance that a cell of this share is seen at all in n tokens (Horvitz-Thompson).
    inclusion = -np.expm1(n * np.log1p(-share))
    return float(-(share * np.log(share) / inclusion).sum())


def _james_stein(counts: Floats) -> float:
    n, cells = counts.sum(), counts.size
    share = counts / n
    spread = ((1.0 / cells - share) ** 2).sum()
    weight = 1.0
    if n > 1 and spread > 0:
        weight = min(1.0, max(0.0, float((1.0 - (share**2).sum()) / ((n - 1.0) * spread))))
    shrunk = weight / cells + (1.0 - weight) * share
    return float(-x_log_x(shrunk).sum())


class _NSB:
    """Evidence times prior, and the mean entropy, as functions of log(beta): see Nemenman et al. (2002)."""

    def __init__(self, counts: Floats) -> None:
        self.value, self.times = np.unique(counts, return_counts=True)
        self.n, self.cells = float(counts.sum()), float(counts.size)

    def log_weight(self, log_beta: Floats) -> Floats:
        """Log posterior density of log(beta), up to a constant."""
        beta = np.exp(log_beta)
        evidence = log_rising(beta[:, None], self.value) @ self.times - log_rising(self.cells * beta, self.n)
        return evidence + np.log(self._prior(beta)) + log_beta

    def _prior(self, beta: Floats) -> Floats:
        """Compute d xi / d beta, where xi is the prior mean of the entropy: flat in xi is nearly flat in entropy."""
        k, far = self.cells, np.maximum(beta, 1e3)
        near = np.minimum(beta, 1e3)
        # The two trigammas agree to all digits at large beta; their asymptotic series differ in the open.
        series = (1 - 1 / k) / (2 * far**2) - (1 - 1 / k**2) / (6 * far**3) + (1 - 1 / k**4) / (30 * far**5)
        exact = k * special.zeta(2.0, k * near + 1.0) - special.zeta(2.0, near + 1.0)
        return np.where(beta > 1e3, series, exact)

    def mean_entropy(self, log_beta: Floats) -> Floats:
        beta = np.exp(log_beta)[:, None]
        whole = self.n + self.cells * beta
        cells = (self.value + beta) / whole * special.psi(self.value + beta + 1.0)
        return special.psi(whole[:, 0] + 1.0) - cells @ self.times


def _nsb(counts: Floats) -> float:
    if counts.size == 1:
        return 0.0
    posterior = _NSB(counts)
    low, high = -40.0, 60.0
    # The peak can be as narrow as 1/sqrt(cells) in log(beta), so the grid closes in on it before it integrates.
    for _ in range(12):
        grid = np.linspace(low, high, 129)
        weight = posterior.log_weight(grid)
        weight -= weight.max()
        inside = np.flatnonzero(weight > -42.0)
        first, last = max(inside[0] - 1, 0), min(inside[-1] + 1, grid.size - 1)
        low, high = grid[first], grid[last]
        if last - first > 64:
            break
    grid = np.linspace(low, high, 513)
    weight = posterior.log_weight(grid)
    # Both ends are down by exp(-42), where the trapezoid rule converges exponentially; its step cancels.
    mass = np.exp(weight - weight.max())
    return float(mass @ posterior.mean_entropy(grid) / mass.sum())


ESTIMATORS: dict[str, Callable[[Floats], float]] = {
    "plugin": _plugin,
    "miller-madow": _miller_madow,
    "grassberger": _grassberger,
    "chao-shen": _chao_shen,
    "james-stein": _james_stein,
    "nsb": _nsb,
}


def estimator_of(name: str, n: float, cells: int) -> Callable[[Floats], float]:
    """Return the estimator of that name; "auto" is `default_estimator` of so many tokens and cells.

    Raises
    ------
    RoutestatError
        If there is none of that name.
    """
    if name == "auto":
        name = default_estimator(n, cells)[0]
    if name not in ESTIMATORS:
        known = ", ".join(("auto", *ESTIMATORS))
        raise RoutestatError(f"estimator: expected one of {known}, got {name!r}; pick one")
    return ESTIMATORS[name]


def default_estimator(n: float, cells: int) -> tuple[str, str]:
    """Which estimator independent tokens call for, and a caution where none can be relied on.

    Miller-Madow from 30 tokens a cell on, NSB below; below one token a cell NSB too, unreliable.

    Parameters
    ----------
    n
        Tokens.
    cells
        Rows in use times columns in use.
    """
    per_cell = n / max(cells, 1)
    if per_cell >= ENOUGH_PER_CELL:
        return "miller-madow", ""
    scarce = f"only {per_cell:.2g} tokens per cell: no estimate of information is reliable"
    return "nsb", scarce if per_cell < SCARCE_PER_CELL else ""


def nats_per_unit(base: float) -> float:
    """Return the nats of one unit of information of this base of the logarithm."""
    if not (math.isfinite(base) and base > 0 and base != 1):
        raise RoutestatError(f"base: expected a positive number other than 1, got {base}; use 2 for bits")
    return math.log(base)


def entropy(counts: ArrayLike, estimator: str = "miller-madow", base: float = 2) -> float:
    """Entropy of the distribution that the counts were drawn from, in bits unless `base` says otherwise.

    Parameters
    ----------
    counts
        Whole counts; an array of any shape is read as one alphabet.
    estimator
        "plugin"; "miller-madow" (plus (observed cells - 1) / 2n); "grassberger" (2003); "chao-shen";
        "james-stein" (shrinks towards uniform over all cells given); "nsb"; or "auto", which chooses by tokens
        per cell (see `default_estimator`). James-Stein and NSB take the zeros in `counts` as part of the
        alphabet; the others never look at them.
    base
        Of the logarithm.

    Returns
    -------
    The estimate; NaN where there is no token. Miller-Madow and Chao-Shen may exceed the log of the alphabet.

    Raises
    ------
    RoutestatError
        For counts that are not whole numbers of zero or more, an unknown estimator or an impossible base.

    References
    ----------
    Miller (1955); Grassberger (2003), arXiv physics/0307138; Chao & Shen (2003), Environ. Ecol. Stat. 10;
    Hausser & Strimmer (2009), JMLR 10; Nemenman, Shafee & Bialek (2002), NIPS 14.
    """
    unit = nats_per_unit(base)
    cells = whole_counts(counts).astype(np.float64).ravel()
    estimate = estimator_of(estimator, cells.sum(), int(np.count_nonzero(cells)))
    return estimate(cells) / unit + 0.0 if cells.any() else math.nan
