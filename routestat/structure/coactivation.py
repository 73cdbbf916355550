"""Co-activation: experts of one layer that are chosen together more often than their loads imply.

A token has k experts without replacement, so experts of one layer are never independent: at even loads two of them
occur together (k-1)/k * E/(E-1) times as often as p_i p_j. The null is the conditional-Bernoulli distribution at the
loads.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.errors import RoutestatError
from routestat.inference.association.within_documents import ONE_TOKEN
from routestat.inference.base.clustered_score_test import caution, score_test
from routestat.inference.base.estimate import Estimate, effective_dof
from routestat.inference.base.multiplicity import adjust_log10
from routestat.inference.base.special import log10_t_tails
from routestat.inference.base.tables import Floats, Integers, read_only, whole_counts
from routestat.inference.base.units import log10_sign_floor, too_few
from routestat.inference.conditional_bernoulli.distribution import fit_log_weights, pair_block
from routestat.structure.coactivation_null import pooled_pairs, within_pairs
from routestat.structure.coactivation_scores import divergence_interval, pair_scores
from routestat.traces.alphabet import Alphabet

NULLS = ("pooled", "documents")
# Counts per pair from which the jackknife of the divergence is good.
ENOUGH_PER_PAIR = 30


@dataclass(frozen=True, eq=False, kw_only=True)
class Coactivation:
    """How often two experts of one layer are chosen together, against the expectation at their loads.

    Arrays are over pairs i < j in the order of `Alphabet(E, 2)`.

    Attributes
    ----------
    null : {"pooled", "documents"}
        The null hypothesis; see `coactivation`.
    n_tokens, n_groups, n_experts, top_k : int
    experts : int array ``[pair, 2]``
    observed, expected : float arrays ``[pair]``
        P(i and j), as shares of the tokens; they sum to k(k-1)/2.
    lift, difference : float arrays ``[pair]``
        observed / expected and observed - expected. Lift is NaN where nothing is expected.
    z, log10_p, log10_q : float arrays ``[pair]``
        Clustered score of the pair (its variance moderated, see `_moderated`), two-sided p-value by Student's t
        with `effective_dof` degrees of freedom, and that adjusted over all pairs after Benjamini and Yekutieli. NaN
        for a pair that cannot vary.
    p_clustered, log10_p_clustered, nu : float
        The second-order test of all pairs together.
    bits_plugin : float
        KL divergence of the observed distribution of pairs (a random two of a token's experts) from the expected, in
        bits. For k = 2 this is all the information of a state beyond the loads.
    bits : Estimate
        The same without its bias by the delete-group jackknife, with its interval.
    reason, note : str or None
        Why values are NaN, and a caution about them.
    """

    null: str
    n_tokens: int
    n_groups: int
    n_experts: int
    top_k: int
    experts: Integers
    observed: Floats
    expected: Floats
    lift: Floats
    difference: Floats
    z: Floats
    log10_p: Floats
    log10_q: Floats
    p_clustered: float
    log10_p_clustered: float
    nu: float
    bits_plugin: float
    bits: Estimate
    reason: str | None = None
    note: str | None = None


def coactivation(
    pairs: ArrayLike,
    inclusions: ArrayLike,
    tokens: ArrayLike,
    top_k: int,
    null: str = "pooled",
    level: float = 0.95,
    *,
    documents: int | None = None,
) -> Coactivation:
    """Test the co-activations of one layer against k of E without replacement at the observed loads.

    A group's score is its own pairs minus its part of the expected table: the expectation fitted with it minus that
    fitted without it. To first order this is the influence function, T_g - n_g pi_ij - (d pi_ij /
    d loads)(R_g - n_g loads); unlike it the sum has no bias by the fitted loads.

    Parameters
    ----------
    pairs : array_like ``[group, pair]``
        Tokens of the group that include both i and j, i < j, in the order of `Alphabet(E, 2)`. For k = 2 these
        are the states themselves; `pairs_of_states` makes them of any states, `count_pairs` of a trace.
    inclusions : array_like ``[group, expert]``
        Tokens of the group that include the expert.
    tokens : array_like ``[group]``
        Groups are taken as independent, tokens within a group are not. Groups without tokens are dropped.
    top_k : int
    null : {"pooled", "documents"}
        "pooled": the tokens of all documents together follow one conditional-Bernoulli distribution. Documents of
        different topics violate it even where each follows such a distribution itself: experts whose loads vary
        together co-occur too often. "documents": each group has its own distribution, sum of n_g pi_ij(loads_g), so
        that co-activation is measured within groups. In a group of several documents some of their differences
        count as co-activation. The correction for the loads fitted in each group takes its tokens as independent
        given its loads, and is of order 1/n_g; at 5 % the test rejects 3 to 5 %, also with 40 % of the tokens
        repeated and in groups of 12 tokens.
    level : float
        Of the interval of `bits`.
    documents : int, optional
        Number of documents. Where each has one token there is no "documents" null.

    Returns
    -------
    Coactivation
        With NaN and a `reason` where loads fix the pairs (k = 1 or k >= E - 1 in use), or below `LEAST_UNITS` groups.

    Raises
    ------
    RoutestatError
        For counts that are not whole or do not agree with one another, or an unknown null.

    References
    ----------
    Chen, Dempster & Liu (1994), Biometrika 81; Efron & Stein (1981), Ann. Stat. 9; Smyth (2004), SAGMB 3.
    """
    if null not in NULLS:
        raise RoutestatError(f"null: expected 'pooled' or 'documents', got {null!r}; pick one")
    cells, loads, size = _checked(pairs, inclusions, tokens, top_k)
    total, n, n_experts = cells.sum(axis=0, dtype=np.int64), int(size.sum()), loads.shape[1]
    reason = _why_untestable(loads, size, top_k)
    if null == "documents" and documents is not None and n <= documents:
        reason = ONE_TOKEN
    if reason:
        return _untested(null, total, loads, size, top_k, reason)
    blocks = (pooled_pairs if null == "pooled" else within_pairs)(loads, size, top_k)
    sums = pair_scores(cells, blocks, size / n)
    test = score_test(sums.gram, size=size)
    log10_p = np.maximum(log10_t_tails(sums.z, effective_dof(size)), log10_sign_floor(size.size))
    return Coactivation(
        **_described(null, total / n, sums.expected / n, n, size.size, n_experts, top_k),
        z=read_only(sums.z),
        log10_p=read_only(log10_p),
        log10_q=adjust_log10(np.minimum(log10_p, 0.0), "by"),
        p_clustered=test.p,
        log10_p_clustered=test.log10_p,
        nu=test.nu,
        bits_plugin=sums.kl / math.log(2.0),
        bits=divergence_interval(sums, size, level),
        reason=test.reason,
        note="; ".join(filter(None, [caution(size.size, test), _few_counts(total, sums.expected)])) or None,
    )


def pairs_of_states(states: ArrayLike, alphabet: Alphabet) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Compute pairs ``[group, pair]`` and inclusions ``[group, expert]`` from counts ``[group, state]``."""
    counts = whole_counts(states, "states").astype(np.int64)
    if counts.ndim != 2 or counts.shape[1] != alphabet.size:
        raise RoutestatError(f"states: expected [group, {alphabet.size} states], got shape {counts.shape}")
    member = alphabet.membership.astype(np.int64)
    first, second = np.triu_indices(alphabet.n_experts, 1)
    return counts @ (member[:, first] * member[:, second]), counts @ member


def _described(
    null: str, observed: Floats, expected: Floats, n: int, groups: int, n_experts: int, top_k: int
) -> dict[str, Any]:
    lift = np.divide(observed, expected, out=np.full(expected.shape, np.nan), where=expected > 0)
    return {
        "null": null,
        "n_tokens": n,
        "n_groups": groups,
        "n_experts": n_experts,
        "top_k": top_k,
        "experts": read_only(np.stack(np.triu_indices(n_experts, 1), axis=1)),
        "observed": read_only(observed),
        "expected": read_only(expected),
        "lift": read_only(lift),
        "difference": read_only(observed - expected),
    }


def _few_counts(total: Floats, expected: Floats) -> str | None:
    """Return a caution where the jackknife no longer removes the bias of `bits`."""
    each = total.sum() / max(int(np.count_nonzero(expected > 0)), 1)
    if each >= ENOUGH_PER_PAIR:
        return None
    return f"only {each:.3g} counts per pair: below {ENOUGH_PER_PAIR} the bits are biased upwards"


def _untested(null: str, total: Floats, loads: Floats, size: Floats, top_k: int, reason: str) -> Coactivation:
    n, nan, none = int(size.sum()), math.nan, np.full(total.shape, math.nan)
    expected = none
    if n:
        weights = fit_log_weights(loads.sum(axis=0) / n, top_k)
        expected = pair_block(weights, top_k)
    return Coactivation(
        **_described(null, total / n if n else none, expected, n, size.size, loads.shape[1], top_k),
        z=read_only(none.copy()), log10_p=read_only(none.copy()), log10_q=read_only(none.copy()),
        p_clustered=nan, log10_p_clustered=nan, nu=nan, bits_plugin=nan,
        bits=Estimate(nan, nan, nan, nan, size.size, reason), reason=reason,
    )  # fmt: skip


def _why_untestable(loads: Floats, size: Floats, top_k: int) -> str | None:
    if why := too_few(size):
        return why
    share = loads.sum(axis=0) / size.sum()
    free, taken = int(((share > 0) & (share < 1)).sum()), top_k - int((share == 1).sum())
    # One of them in, or one of them out: who meets whom follows from the loads.
    if min(taken, free - taken) < 2:
        return f"{taken} of {free} experts in use is no choice of pairs: the loads determine the pairs"
    return None


def _checked(
    pairs: ArrayLike, inclusions: ArrayLike, tokens: ArrayLike, top_k: int
) -> tuple[NDArray[np.integer], Floats, Floats]:
    """Return the input without groups that hold no tokens, if its parts agree."""
    cells, loads = whole_counts(pairs, "pairs"), whole_counts(inclusions, "inclusions").astype(np.int64)
    size = whole_counts(tokens, "tokens").astype(np.int64)
    n_experts = loads.shape[-1]
    shapes = (size.shape, (*size.shape, n_experts), (*size.shape, n_experts * (n_experts - 1) // 2))
    if size.ndim != 1 or (loads.shape, cells.shape) != shapes[1:]:
        raise RoutestatError(
            "pairs: expected [group, pair] with inclusions [group, expert] and tokens [group], got "
            f"{cells.shape}, {loads.shape} and {size.shape}; align them"
        )
    met, start = np.zeros_like(loads), 0
    for i in range(n_experts - 1):
        row = cells[:, start : (start := start + n_experts - 1 - i)]
        met[:, i] += row.sum(axis=1, dtype=np.int64)
        met[:, i + 1 :] += row
    if (loads.sum(axis=1) != top_k * size).any() or (met != (top_k - 1) * loads).any():
        raise RoutestatError(
            f"pairs: a token of {top_k} experts holds each with {top_k - 1} others, but pairs, inclusions and "
            "tokens do not add up so; count all three from the same tokens"
        )
    kept = size > 0
    return cells[kept], loads[kept].astype(np.float64), size[kept].astype(np.float64)
