"""Which windows of layers are more frequent than a chain explains, with documents as the units."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.inference.base.estimate import effective_dof, group_correction, t_quantile
from routestat.inference.base.multiplicity import adjust_log10
from routestat.inference.base.special import log10_t_tails
from routestat.inference.base.tables import Floats, read_only
from routestat.inference.base.units import log10_sign_floor, too_few

_HALF = float(np.log10(0.5))


@dataclass(frozen=True, slots=True, eq=False)
class WindowTests:
    """One clustered test per window; see `window_tests`.

    Attributes
    ----------
    z
        (tokens - expected) in clustered standard errors (moderated), `[window]`.
    log10_p, log10_q
        Of more tokens than expected, one-sided, over Student's t with `effective_dof` degrees of freedom; adjusted
        after Benjamini and Yekutieli over all windows.
    ratio, ratio_low, ratio_high
        Tokens over expected, with its 95 % interval; NaN where nothing is expected, no limits where no token takes
        the window.
    design_effect
        By how much the variance of a window exceeds that of independent tokens, of windows as frequent as this one.
    reason
        Why there is no test, or None.
    """

    z: Floats
    log10_p: Floats
    log10_q: Floats
    ratio: Floats
    ratio_low: Floats
    ratio_high: Floats
    design_effect: Floats
    reason: str | None = None


def window_tests(
    tokens: ArrayLike,
    expected: ArrayLike,
    square: ArrayLike,
    variance: ArrayLike,
    ratio_square: ArrayLike,
    groups: ArrayLike,
    group_tokens: ArrayLike,
) -> WindowTests:
    """Test windows of several layers against a chain whose steps were estimated from the same tokens.

    A chain expects E = n(w_1) prod_j n(w_{j-r} .. w_j) / n(w_{j-r} .. w_{j-1}) tokens. A group's score is the
    linearised difference, n_g(w) - E (n_g(w_1) / n(w_1) + sum_j (n_g(w_{j-r} .. w_j) / n(w_{j-r} .. w_j) -
    n_g(w_{j-r} .. w_{j-1}) / n(w_{j-r} .. w_{j-1}))) - n_g / n (n(w) - E). Half of the squared error comes from these
    scores; the other half is the variance of independent tokens times the design effect of the windows that are
    expected about as often (within a factor of two), because groups that seldom have a window agree by chance.
    The variances of Poisson counts and of Prum, Rodolphe and de Turckheim take tokens as independent.

    Windows must have been chosen on other documents: those that were listed because they are frequent are so by chance
    too.

    Parameters
    ----------
    tokens, expected
        n(w) and E, `[window]`.
    square, ratio_square
        Sums over the groups of squared scores, of tokens - expected and of log(tokens / expected), `[window]`.
    variance
        Of tokens - expected with independent tokens, `[window]`.
    groups
        Groups in which the window occurs, `[window]`: its p-value is not below 1 in 2**(groups - 1).
    group_tokens
        Tokens `[group]`.

    References
    ----------
    Prum, Rodolphe & de Turckheim (1995), JRSS B 57; Smyth (2004), SAGMB 3 (moderated t).
    """
    n, e, own, independent, of_ratio, occurs = (
        np.asarray(one, np.float64) for one in (tokens, expected, square, variance, ratio_square, groups)
    )
    sizes = np.asarray(group_tokens, np.float64)
    ratio = np.divide(n, e, out=np.full(n.shape, np.nan), where=e > 0)
    why = too_few(sizes)
    if why or not n.size:
        nothing = read_only(np.full(n.shape, np.nan))
        return WindowTests(nothing, nothing, nothing, read_only(ratio), nothing, nothing, nothing, why)
    correction = group_correction(int(np.count_nonzero(sizes)))
    effect = correction * _alike(own, independent, e)
    squared = (correction * own + effect * independent) / 2.0
    known = squared > 1e-18 * np.maximum(e, 1.0)
    z = np.divide(n - e, np.sqrt(squared), out=np.full(n.shape, np.nan), where=known)
    two_sided = np.asarray(log10_t_tails(z, effective_dof(sizes)))
    with np.errstate(invalid="ignore"):
        above = np.maximum(two_sided + _HALF, [log10_sign_floor(int(one)) for one in occurs])
        log10_p = np.where(z > 0, above, np.log1p(-0.5 * 10.0**two_sided) / np.log(10.0))
    log10_p = np.where(np.isnan(z), np.nan, np.minimum(log10_p, 0.0))
    reach = t_quantile(sizes, 0.95) * np.sqrt(correction * of_ratio)
    limits = n > 0
    return WindowTests(
        read_only(z),
        read_only(log10_p),
        adjust_log10(log10_p, "by"),
        read_only(ratio),
        read_only(np.where(limits, ratio * np.exp(-np.where(limits, reach, 0.0)), np.nan)),
        read_only(np.where(limits, ratio * np.exp(np.where(limits, reach, 0.0)), np.nan)),
        read_only(effect),
    )


def _alike(square: Floats, variance: Floats, expected: Floats) -> NDArray[np.float64]:
    """Compute the design effect `[window]` of the windows that are expected about as often."""
    place = np.floor(np.log2(np.maximum(expected, 1.0))).astype(np.int64)
    top, bottom = np.bincount(place, square), np.bincount(place, variance)
    whole = square.sum() / variance.sum() if variance.sum() > 0 else 1.0
    ratio = np.divide(top, bottom, out=np.full(top.shape, whole), where=bottom > 0)
    return np.asarray(ratio[place])
