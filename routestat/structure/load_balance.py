"""How evenly the experts of one router are loaded, with intervals that allow for dependent tokens."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.errors import RoutestatError
from routestat.inference.base.estimate import proportions
from routestat.inference.base.tables import read_only, whole_counts
from routestat.inference.base.units import too_few
from routestat.inference.two_sample.summaries import entropy_bits, gini, max_over_mean

_LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class Balance:
    """The load of each expert of one router, and how uneven the loads are.

    Attributes
    ----------
    load : ndarray [expert]
        Share of tokens that use the expert; sums to `top_k`.
    share : ndarray [expert]
        Share of the routed slots, load / `top_k`; sums to 1.
    load_low, load_high : ndarray [expert]
        95 % interval of `load`; NaN where it is undefined (see `load_balance`).
    entropy_bits : float
        Plug-in entropy of `share` in bits; log2 of the number of experts when even.
    load_gini : float
        Σ|x_i − x_j| / (2 n² mean) over the loads: 0 when even, 1 − 1/n when one of n experts has all.
    load_max_over_mean : float
        The heaviest load over the mean load; 1 when even.
    coefficient_of_variation : float
        Standard deviation of the loads (divisor n: the experts are all there are) over their mean.
    dead_experts : tuple of int
        Experts with a count of zero in these tokens; a longer trace may use them. Empty when there were no tokens.
    n_tokens, n_groups, top_k : int
        Tokens; groups that hold at least one token; experts per token.
    reason : str or None
        Why values are NaN, if they are.
    """

    load: NDArray[np.float64]
    share: NDArray[np.float64]
    load_low: NDArray[np.float64]
    load_high: NDArray[np.float64]
    entropy_bits: float
    load_gini: float
    load_max_over_mean: float
    coefficient_of_variation: float
    dead_experts: tuple[int, ...]
    n_tokens: int
    n_groups: int
    top_k: int
    reason: str | None = None

    def __post_init__(self) -> None:
        """Make the arrays read-only."""
        for name in ("load", "share", "load_low", "load_high"):
            read_only(getattr(self, name))


def load_balance(counts: ArrayLike, tokens: ArrayLike, top_k: int) -> Balance:
    """Describe how evenly one router spreads its tokens over its experts.

    The interval is that of a ratio estimate over groups: with ψ_g = counts_g − load · tokens_g it is
    load ± t · √(G/(G−1) Σψ_g²) / n, t the Student quantile with `effective_dof`, cut to [0, 1].
    Groups are taken as independent; tokens inside a group are not. An expert that was never used, or always,
    has no variance to go by: its interval is NaN rather than of width zero.

    Parameters
    ----------
    counts : array_like [group, expert]
        Tokens of the group that use the expert.
    tokens : array_like [group]
        Tokens of the group.
    top_k : int
        Distinct experts per token.

    Returns
    -------
    Balance
        With NaN and a `reason` where there are no tokens, or fewer than two groups for the intervals.

    Raises
    ------
    RoutestatError
        If the counts are not whole numbers ≥ 0 that agree with `tokens` and `top_k`.

    References
    ----------
    Cochran, Sampling Techniques (1977), section 6: ratio estimates of cluster samples.
    """
    counts, tokens, top_k = _checked(counts, tokens, top_k)
    n_tokens, n_groups, n_experts = int(tokens.sum()), int(np.count_nonzero(tokens)), counts.shape[1]
    if n_tokens == 0:
        load, share, low, high = np.full((4, n_experts), np.nan)
        reason = "no tokens were counted"
        return Balance(load, share, low, high, np.nan, np.nan, np.nan, np.nan, (), 0, 0, top_k, reason)
    totals = counts.sum(axis=0)
    load = totals / n_tokens
    share = totals / (n_tokens * top_k)
    found = proportions(counts, tokens, _LEVEL)
    low, high = np.clip(found.low, 0.0, 1.0), np.clip(found.high, 0.0, 1.0)
    every = totals[None].astype(np.float64)
    return Balance(
        load=load,
        share=share,
        load_low=low,
        load_high=high,
        entropy_bits=max(0.0, float(entropy_bits(every)[0])),
        load_gini=float(gini(every)[0]),
        load_max_over_mean=float(max_over_mean(every)[0]),
        coefficient_of_variation=float(load.std() / load.mean()),
        dead_experts=tuple(np.flatnonzero(totals == 0).tolist()),
        n_tokens=n_tokens,
        n_groups=n_groups,
        top_k=top_k,
        reason=too_few(tokens),
    )


def _checked(
    counts: ArrayLike, tokens: ArrayLike, top_k: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    """Return the input as whole numbers that agree with one another."""
    counts, tokens = _whole(counts, "counts", 2), _whole(tokens, "tokens", 1)
    if len(counts) != len(tokens):
        raise RoutestatError(
            f"counts and tokens must have the same groups, got {len(counts)} and {len(tokens)}; "
            "count both from the same trace"
        )
    n_experts = counts.shape[1]
    if isinstance(top_k, bool) or not isinstance(top_k, int | np.integer) or not 1 <= top_k <= n_experts:
        raise RoutestatError(f"top_k must be a whole number from 1 to {n_experts} experts, got {top_k!r}")
    if (counts > tokens[:, None]).any():
        group, expert = np.argwhere(counts > tokens[:, None])[0]
        raise RoutestatError(
            f"a token uses an expert at most once, but group {group} counts {counts[group, expert]} uses of "
            f"expert {expert} in {tokens[group]} tokens; count tokens, not slots"
        )
    wrong = np.flatnonzero(counts.sum(axis=1) != top_k * tokens)
    if wrong.size:
        group = wrong[0]
        raise RoutestatError(
            f"each token must use {top_k} experts, but group {group} counts {counts[group].sum()} uses in "
            f"{tokens[group]} tokens; leave out tokens whose experts are missing"
        )
    return counts, tokens, int(top_k)


def _whole(values: ArrayLike, name: str, n_axes: int) -> NDArray[np.int64]:
    """Whole counts with `n_axes` axes."""
    counts = whole_counts(values, name)
    if counts.ndim != n_axes:
        raise RoutestatError(f"{name}: expected {n_axes} axes, got shape {counts.shape}; reshape it")
    return counts.astype(np.int64, copy=False)
