"""k of E without replacement at given loads: the conditional-Bernoulli distribution, the null within one layer.

P(S) is proportional to the product of the weights of the experts in S. Of all distributions over subsets with the same
inclusion probabilities it has the largest entropy, so any deviation is association beyond the loads.

Weights are read as odds p/(1 - p) of independent draws N = sum of Bernoulli(p), scaled so that the p sum to k.
The elementary symmetric polynomial is then P(N = k) / prod(1 - p), and k is the mode of N: P(N = k) is at least
1/(E + 1) and nothing underflows.

References
----------
Chen, Dempster & Liu (1994), Weighted finite population sampling to maximize entropy. Biometrika 81;
Darroch (1964), On the distribution of the number of successes in independent trials. Ann. Math. Stat. 35 (the
mode).
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from routestat.counting.kernels.inclusion import inclusion_of_weights, pairs_of_weights
from routestat.errors import RoutestatError
from routestat.inference.base.tables import Floats
from routestat.inference.conditional_bernoulli.poisson_binomial import (
    successes_distribution,
    without,
    without_at,
)

_CLOSE, _STEPS, _NEWTON_STEPS = 4e-13, 80, 60


def fit_log_weights(inclusion: ArrayLike, top_k: int) -> Floats:
    """Fit the log weights to given inclusion probabilities.

    Parameters
    ----------
    inclusion
        Probabilities `[..., expert]` that sum to `top_k`; leading axes are separate distributions.
    top_k
        Experts per token.

    Returns
    -------
    Log weights `[..., expert]`, scaled so that the p sum to k; -inf where an expert is never included, +inf
    where always.

    Raises
    ------
    RoutestatError
        For anything outside [0, 1] or a sum that is not `top_k`.
    """
    target = np.asarray(inclusion, dtype=np.float64)
    inside = np.isfinite(target).all() and ((target >= 0) & (target <= 1)).all()
    if not (inside and target.ndim and (np.abs(target.sum(axis=-1) - top_k) < 1e-9 * max(1, top_k)).all()):
        raise RoutestatError(
            f"inclusion: expected probabilities [..., expert] that sum to top_k={top_k}; divide counts by tokens"
        )
    rows = target.reshape(-1, target.shape[-1])
    start = special.logit(rows)
    theta, free = start.copy(), np.isfinite(start)
    spread = np.where(free, rows * (1.0 - rows), 0.0)
    # An expert with most of the variance moves against its own step. With this damping the step is exactly Newton's
    # where loads are even, and where two experts share one slot.
    damping = 1.0 - spread / np.maximum(spread.sum(axis=1, keepdims=True), 1e-300)
    open_rows = np.flatnonzero(free.any(axis=1))
    for _ in range(_STEPS):
        now = inclusion_probabilities(theta[open_rows], top_k)
        want, loose = rows[open_rows], free[open_rows]
        still = ((np.abs(now - want) > _CLOSE * want) & loose).any(axis=1)
        if not still.any():
            open_rows = open_rows[:0]
            break
        with np.errstate(invalid="ignore", divide="ignore"):
            step = damping[open_rows] * (start[open_rows] - special.logit(now))
        theta[open_rows] += np.where(loose & np.isfinite(step), step, 0.0)
        open_rows = open_rows[still]
    for row in open_rows:
        theta[row] = _newton(rows[row], theta[row], top_k)
    return _scaled(theta, top_k)[0].reshape(target.shape)


def _newton(target: Floats, theta: Floats, top_k: int) -> Floats:
    """Fit where the fixed point converges slowly: ascent of the concave log likelihood with halved steps."""
    free = np.isfinite(theta)
    want, theta = target[free], np.where(free, special.logit(target), theta)

    def height(at: Floats) -> float:
        return float(want @ at[free] - log_normaliser(at, top_k))

    best = height(theta)
    for _ in range(_NEWTON_STEPS):
        pairs = pair_probabilities(theta, top_k)[np.ix_(free, free)]
        now = np.diag(pairs)
        if (np.abs(now - want) <= _CLOSE * want).all():
            break
        # Weights are known up to a factor: the covariance has the constant direction as its null space.
        covariance = pairs - np.outer(now, now) + 1.0 / free.sum()
        step, size = np.linalg.lstsq(covariance, want - now, rcond=None)[0], 1.0
        while size > 1e-9:
            trial = theta.copy()
            trial[free] += size * step
            if (after := height(trial)) >= best - 1e-14 * abs(best):
                theta, best = trial, after
                break
            size /= 2.0
        else:
            break
    return theta


def inclusion_probabilities(log_weights: ArrayLike, top_k: int) -> Floats:
    """P(expert included), `[..., expert]` for log weights `[..., expert]`."""
    theta = np.asarray(log_weights, np.float64)
    rows = theta.reshape(-1, theta.shape[-1] if theta.ndim else 1)
    fast = _within_doubles(rows, top_k)
    found = np.empty(rows.shape)
    if fast.any():
        inclusion = np.empty((int(fast.sum()), rows.shape[1]))
        inclusion_of_weights(np.exp(rows[fast]), top_k, inclusion)
        found[fast] = inclusion
    if not fast.all() or not theta.size or not theta.ndim:
        odds, _ = _scaled(rows[~fast] if theta.ndim else theta, top_k)
        p, distribution = successes_distribution(odds, top_k)
        here = distribution[..., top_k, None]
        others = without_at(distribution[..., None, :], p, top_k - 1) / here if top_k else np.zeros_like(p)
        found[~fast] = p * others
    return found.reshape(theta.shape)


def _within_doubles(rows: Floats, top_k: int) -> NDArray[np.bool_]:
    """Whether products of k weights of ``rows[row, expert]`` are doubles, and more than k of a row are not zero."""
    n, limit = rows.shape[1], _limit(top_k)
    if not 1 <= top_k < n:
        return np.zeros(len(rows), np.bool_)
    middle = np.partition(rows, n - top_k, axis=1)[:, n - top_k]
    found = (rows.max(axis=1) < limit) & (middle > -limit) & (np.isfinite(rows).sum(axis=1) > top_k)
    return np.asarray(found & ~np.isnan(rows).any(axis=1))


def _limit(top_k: int) -> float:
    return min(60.0, 650.0 / max(top_k, 1))


def pair_block(log_weights: ArrayLike, top_k: int, begin: int = 0, end: int | None = None) -> Floats:
    """P(i and j included) `[..., pair]` for begin <= i < end and all j > i, by default for all pairs.

    Pairs are in the order of `Alphabet(E, 2)`.
    """
    odds, _ = _scaled(log_weights, top_k)
    n = odds.shape[-1]
    last = n - 1 if end is None else min(end, n - 1)
    rows = odds.reshape(-1, n)
    found = np.zeros((len(rows), sum(n - 1 - i for i in range(begin, last))))
    fast = _within_doubles(rows, top_k) & (top_k >= 2)
    if fast.all():
        pairs_of_weights(np.exp(rows), top_k, begin, last, found)
    elif top_k >= 2:
        whole = np.zeros((int(fast.sum()), found.shape[1]))
        pairs_of_weights(np.exp(rows[fast]), top_k, begin, last, whole)
        found[fast] = whole
        for at in np.flatnonzero(~fast):
            found[at] = _pairs_of_free(rows[at], top_k)[begin:last][_upper(n, begin, last)]
    return found.reshape(*odds.shape[:-1], found.shape[1])


def _upper(n: int, begin: int, end: int) -> NDArray[np.bool_]:
    """Mark the pairs j > i of the rows i of a matrix of n experts."""
    return np.asarray(np.arange(n) > np.arange(begin, end)[:, None])


def _pairs_of_free(odds: Floats, top_k: int) -> Floats:
    """Compute P(i and j included) `[expert, expert]`, i not j, of one distribution from its free experts."""
    forced, free = np.flatnonzero(np.isposinf(odds)), np.flatnonzero(np.isfinite(odds))
    left, pairs = top_k - len(forced), np.zeros((len(odds), len(odds)))
    if left > 0 and len(free):
        own = odds[free]
        pairs[forced[:, None], free] = inclusion_probabilities(own, left)
        if left >= 2:
            near = _within_doubles(own[None], left)[0]
            inner = pair_block(own, left) if near else _pairs_by_division(own, left)
            first, second = np.triu_indices(len(free), 1)
            pairs[free[first], free[second]] = inner
    pairs[np.ix_(forced, forced)] = 1.0
    return np.maximum(pairs, pairs.T)


def _pairs_by_division(odds: Floats, top_k: int) -> Floats:
    """Compute P(i and j included) `[pair]` of log odds of any size."""
    p, distribution = successes_distribution(odds, top_k)
    found = []
    for i in range(len(odds) - 1):
        rest = without(distribution, p[i])
        both = without_at(np.broadcast_to(rest, (len(odds) - 1 - i, len(rest))), p[i + 1 :], top_k - 2)
        # Rounding may leave a probability of exactly zero slightly below it.
        found.append(np.maximum(p[i] * p[i + 1 :] * both / distribution[top_k], 0.0))
    return np.concatenate(found)


def pair_probabilities(log_weights: ArrayLike, top_k: int) -> Floats:
    """P(i and j included), `[..., expert, expert]`, symmetric; the diagonal is P(i included)."""
    theta = np.asarray(log_weights, dtype=np.float64)
    n = theta.shape[-1]
    pairs = np.zeros((*theta.shape, n))
    first, second = np.triu_indices(n, 1)
    pairs[..., first, second] = pairs[..., second, first] = pair_block(theta, top_k)
    pairs[..., np.arange(n), np.arange(n)] = inclusion_probabilities(theta, top_k)
    return pairs


def log_normaliser(log_weights: ArrayLike, top_k: int) -> Floats:
    """Natural log of the sum over subsets of the product of their weights, `[...]`.

    Experts with infinite weight belong to every subset and count as a factor of one.
    """
    theta = np.asarray(log_weights, dtype=np.float64)
    odds, shift = _scaled(theta, top_k)
    _, distribution = successes_distribution(odds, top_k)
    finite = np.isfinite(theta)
    taken = top_k - np.isposinf(theta).sum(axis=-1)
    # log(1 + w) is -log(1 - p), without a p that is one to the last digit.
    loose = finite & np.isfinite(odds)
    rest = np.where(loose, np.logaddexp(0.0, np.where(loose, odds, 0.0)), 0.0).sum(axis=-1)
    # As many finite weights as slots left: one subset, whose weight is all there is.
    all_in = np.where(np.isposinf(odds) & finite, theta, 0.0).sum(axis=-1)
    return np.asarray(np.log(distribution[..., top_k]) + rest - taken * shift + all_in)


def log_probability(experts: ArrayLike, log_weights: ArrayLike, top_k: int) -> Floats:
    """Natural log probability of subsets, `[...]` for experts `[..., slot]` of one distribution `[expert]`."""
    theta = np.asarray(log_weights, dtype=np.float64)
    chosen = theta[np.asarray(experts)]
    forced = np.isposinf(theta).sum()
    fits = (np.isposinf(chosen).sum(axis=-1) == forced) & ~np.isneginf(chosen).any(axis=-1)
    finite = np.where(np.isfinite(chosen), chosen, 0.0).sum(axis=-1)
    return np.where(fits, finite - log_normaliser(theta, top_k), -np.inf)


def _scaled(log_weights: ArrayLike, top_k: int) -> tuple[Floats, Floats]:
    """Log odds `[..., expert]` whose p sum to k, and what was added to the log weights `[...]` for that."""
    theta = np.asarray(log_weights, dtype=np.float64)
    if theta.ndim < 1 or np.isnan(theta).any():
        raise RoutestatError(
            "log_weights: expected numbers [..., expert], got NaN or no axis; fit them first"
        )
    finite = np.isfinite(theta)
    count, taken = finite.sum(axis=-1), top_k - np.isposinf(theta).sum(axis=-1)
    if ((taken < 0) | (taken > count)).any():
        raise RoutestatError(f"log_weights: top_k={top_k} experts cannot be chosen; check the infinite ones")
    inner = (taken > 0) & (taken < count)
    middle = special.logit(np.where(inner, taken / np.maximum(count, 1), 0.5))
    low = middle - np.where(finite, theta, -np.inf).max(axis=-1, initial=-1e300, where=finite)
    high = middle - np.where(finite, theta, np.inf).min(axis=-1, initial=1e300, where=finite)
    low, high = np.where(inner, low, 0.0), np.where(inner, high, 0.0)
    shift = np.clip(np.zeros_like(low), low, high)
    # Any shift gives the same distribution; a sum of p near k avoids underflow.
    for _ in range(200):
        p = special.expit(np.where(finite, theta + shift[..., None], -np.inf))
        over = np.where(inner, p.sum(axis=-1) - taken, 0.0)
        if (np.abs(over) < 1e-6).all():
            break
        low, high = np.where(over < 0, shift, low), np.where(over > 0, shift, high)
        step = shift - over / np.maximum((p * (1.0 - p)).sum(axis=-1), 1e-300)
        shift = np.where((step > low) & (step < high), step, (low + high) / 2.0)
    edge = np.where(taken == 0, -np.inf, np.where(taken == count, np.inf, 0.0))
    odds = np.where(finite & inner[..., None], theta + shift[..., None], theta)
    return np.where(finite & ~inner[..., None], edge[..., None], odds), shift
