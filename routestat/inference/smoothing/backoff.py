"""Back-off: the distribution after a long context, smoothed towards that after a shorter one.

p(z | x, y) = (c_xyz + s m(z | y)) / (c_xy + s): rows of the longer context are Dirichlet(s m). The base m is the
distribution from which new rows are drawn, and is smoothed towards one without y in turn, down to the uniform one. It
is not the share c_yz / c_y of tokens, which a few frequent x dominate: of the c_xyz tokens only those count that were
drawn from m and not repeated from their own row, on average s m (psi(s m + c) - psi(s m)), which maximises the
evidence of m. The strengths s maximise the evidence, with tokens taken as independent.

Where rows hold one or two likely targets and many rare ones alike, no s fits. Then a discount d is subtracted from
every count and its mass given to the base, p = (c - d [c > 0] + (s + d u) m) / (n + s) with u the number of targets
seen, as in Pitman-Yor processes and interpolated Kneser-Ney smoothing. It is used only where the leave-one-token-out
likelihood clearly improves.

References
----------
MacKay & Peto (1995), A hierarchical Dirichlet language model. Natural Language Engineering 1;
Teh (2006), A hierarchical Bayesian language model based on Pitman-Yor processes. ACL 44;
Ney, Essen & Kneser (1994), On structuring probabilistic dependences in stochastic language modelling (leaving one
out). Computer Speech & Language 8.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from routestat.counting.kernels.draws import further_draws
from routestat.errors import RoutestatError
from routestat.inference.base.special import SMALLEST_ALPHA
from routestat.inference.base.tables import Floats, read_only, whole_counts
from routestat.inference.smoothing.backoff_strength import BackoffParameters, fit_backoff, fit_strength


def expected_draws(counts: ArrayLike, weight: ArrayLike) -> Floats:
    """Compute how many of `counts` tokens were drawn from the base and not repeated from their row ``[cell]``.

    Parameters
    ----------
    counts
        Of each cell, zero or more.
    weight
        s m of each cell, above zero.
    """
    c, a = np.broadcast_arrays(np.asarray(counts, np.float64), np.asarray(weight, np.float64))
    # Rounding aside, at least the first token was drawn, and at most all.
    return np.asarray(np.clip(draws_between(np.zeros(c.shape), c, a), np.minimum(c, 1.0), c))


def draws_between(counts: ArrayLike, further: ArrayLike, weight: ArrayLike) -> Floats:
    """Compute how many of `further` tokens of cells that hold `counts` already were drawn from the base ``[cell]``.

    That is `expected_draws` of both less that of `counts`, without cancellation: token k + 1 of a cell was drawn with
    probability s m / (s m + k).

    Parameters
    ----------
    counts, further
        Zero or more.
    weight
        s m of each cell, above zero.
    """
    c, m, a = np.broadcast_arrays(*(np.asarray(v, np.float64) for v in (counts, further, weight)))
    drawn = np.empty(c.shape)
    further_draws(c.ravel(), m.ravel(), a.ravel(), drawn.reshape(-1))
    return drawn


def backed_off(
    count: ArrayLike, total: ArrayLike, distinct: ArrayLike, base: ArrayLike, fitted: BackoffParameters
) -> Floats:
    """Compute the probability of targets after a context; arrays broadcast.

    Parameters
    ----------
    count
        Tokens with this target after this context.
    total, distinct
        Tokens after this context, and how many targets they had. A context without tokens has the base.
    base
        The shorter context's probability of this target.
    fitted : BackoffParameters
    """
    c, n, u = (np.asarray(a, np.float64) for a in (count, total, distinct))
    s, d = fitted.strength, fitted.discount
    return np.asarray((np.maximum(c - d, 0.0) + (s + d * u) * np.asarray(base, np.float64)) / (n + s))


@dataclass(frozen=True, slots=True, eq=False)
class BackOff:
    """The distribution of one order from one table; see `fit_distribution`.

    Attributes
    ----------
    distribution : float array ``[context…, target]``
        Rows sum to one.
    base : float array ``[shorter context…, target]``
        The distribution of a row without tokens.
    fitted : BackoffParameters
    """

    distribution: Floats
    base: Floats
    fitted: BackoffParameters

    @property
    def law(self) -> Floats:
        """Earlier name of `distribution`."""
        return self.distribution


def fit_distribution(counts: ArrayLike) -> BackOff:
    """Fit the distribution of a dense table by back-off, dropping the farthest source first.

    Parameters
    ----------
    counts : whole counts ``[context…, target]``
        Context axes from the farthest to the nearest; none for order 0, whose base is uniform.

    Raises
    ------
    RoutestatError
        If there is no target to count, or a count is not whole.
    """
    table = whole_counts(counts, "counts").astype(np.float64)
    if not table.ndim or not table.shape[-1]:
        raise RoutestatError(
            "counts: expected a table [context…, target], got no targets; pass one of counts"
        )
    base = _plain_distribution(table.sum(axis=0)) if table.ndim > 1 else _uniform(table)
    if table.ndim > 1:
        cells, flat = np.nonzero(table), np.broadcast_to(base, table.shape)
        weight = fit_strength(table[cells], flat[cells], table.sum(axis=-1)) * flat
        base = _plain_distribution(expected_draws(table, weight).sum(axis=0))
    fitted, distribution = _backed_off_table(table, base, discounted=True)
    return BackOff(read_only(distribution), read_only(base), fitted)


def hierarchical_alpha(rows: ArrayLike) -> Floats:
    """Fit the prior s m ``[target]`` of rows ``[row, target]`` that back off to the distribution m of all rows.

    A single row backs off to the uniform distribution.

    Raises
    ------
    RoutestatError
        If there is no token, or a count is not whole.
    """
    table = whole_counts(rows, "rows").astype(np.float64)
    if table.ndim != 2 or not table.any():
        raise RoutestatError(
            "rows: expected counts [row, target] with a token or more; give alpha as a number"
        )
    if np.count_nonzero(table.any(axis=1)) < 2:
        total = table.sum(axis=0)
        base, cells = _uniform(total), np.nonzero(total)
        return read_only(fit_strength(total[cells], base[cells], [total.sum()]) * base)
    cells, every = np.nonzero(table), np.broadcast_to(_plain_distribution(table.sum(axis=0)), table.shape)
    weight = fit_strength(table[cells], every[cells], table.sum(axis=1)) * every
    base = _plain_distribution(expected_draws(table, weight).sum(axis=0))
    strength = fit_strength(table[cells], np.broadcast_to(base, table.shape)[cells], table.sum(axis=1))
    return read_only(np.maximum(strength * base, SMALLEST_ALPHA))


def _plain_distribution(table: Floats) -> Floats:
    """Fit the distribution of a table of counts, whole or not, by back-off to the shares of the next shorter order."""
    base = _plain_distribution(table.sum(axis=0)) if table.ndim > 1 else _uniform(table)
    return _backed_off_table(table, base, discounted=False)[1]


def _uniform(table: Floats) -> Floats:
    return np.full(table.shape[-1], 1.0 / table.shape[-1])


def _backed_off_table(table: Floats, base: Floats, discounted: bool) -> tuple[BackoffParameters, Floats]:
    every = np.broadcast_to(base, table.shape)
    cells, total = np.nonzero(table), table.sum(axis=-1, keepdims=True)
    if discounted:
        rows = (
            np.ravel_multi_index(cells[:-1], table.shape[:-1]) if table.ndim > 1 else np.zeros_like(cells[0])
        )
        fitted = fit_backoff(table[cells], every[cells], np.unique(rows, return_inverse=True)[1])
    else:
        fitted = BackoffParameters(fit_strength(table[cells], every[cells], total))
    return fitted, backed_off(table, total, (table > 0).sum(axis=-1, keepdims=True), every, fitted)
