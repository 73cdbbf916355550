"""How much of a dependence any two functions of a small vocabulary would share by themselves.

Layers that both follow the token's type are dependent whatever else they do. What that alone brings is found by
giving each type the target choices of another type of like frequency.
"""

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from routestat.counting.strata import Strata
from routestat.errors import RoutestatError
from routestat.inference.base.chunks import chunks
from routestat.inference.base.estimate import Estimate, effective_dof, without_interval
from routestat.inference.base.jackknife import jackknife
from routestat.inference.base.special import log10_t_tail
from routestat.inference.base.tables import Floats
from routestat.inference.base.units import log10_sign_floor, too_few
from routestat.inference.information.mutual_information import batch_information

BIN = 8
BUNDLES = 32
BYTES = 1 << 28
# How many of the swaps are repeated without each bundle: the error of their mean hardly depends on more.
SWAPS_LEFT_OUT = 4


@dataclass(frozen=True, slots=True)
class BeyondTokenTypes:
    """Mutual information beyond what token types alone bring; see `beyond_token_types`.

    Attributes
    ----------
    kept, beyond
        Mean information after swaps, and the total minus that, in bits: jackknife estimates over documents.
    swap_sd_bits
        Standard deviation of the information over random permutations within the bins.
    p, log10_p
        One-sided: would a pair of layers that share nothing but frequencies show so much?
    n_swaps, n_types, n_tokens
        Permutations tried, token types with known ids, and tokens.
    reason
        Why there is no figure, or None.
    """

    kept: Estimate
    beyond: Estimate
    swap_sd_bits: float
    p: float
    log10_p: float
    n_swaps: int
    n_types: int
    n_tokens: int
    reason: str | None = None

    @property
    def kept_bits(self) -> float:
        """Mean information after swaps, in bits."""
        return self.kept.value

    @property
    def kept_low(self) -> float:
        """Lower limit of `kept_bits`."""
        return self.kept.low

    @property
    def kept_high(self) -> float:
        """Upper limit of `kept_bits`."""
        return self.kept.high

    @property
    def beyond_bits(self) -> float:
        """Information beyond the token types, in bits."""
        return self.beyond.value

    @property
    def low(self) -> float:
        """Lower limit of `beyond_bits`."""
        return self.beyond.low

    @property
    def high(self) -> float:
        """Upper limit of `beyond_bits`."""
        return self.beyond.high

    @property
    def standard_error(self) -> float:
        """Standard error of `beyond_bits`."""
        return self.beyond.standard_error


def beyond_token_types(
    strata: Strata, rng: np.random.Generator, n_swaps: int = 50, level: float = 0.95
) -> BeyondTokenTypes:
    """Compare mutual information with what is left when token types exchange their target choices.

    Types are put in order of frequency and swapped in a circle, in random order, within bins of 8: each type of
    tokens keeps its source choices and gets the target distribution of another type of like frequency. What
    information is left is due to the vocabulary being small and uneven. For `p` the types of a bin are permuted at
    random: if the layers' distributions of a type were unrelated, the real pairing would be one more such
    permutation. Its distance from their mean is measured by their variance plus the documents', and referred to
    Student's t with as many degrees of freedom as the scarcer of the two leaves, so that p goes on below 1 /
    n_swaps.

    Parameters
    ----------
    strata
        Counted by token id.
    rng
    n_swaps
        Two or more.
    level
        Of confidence; Student's t over bundles of groups.

    Raises
    ------
    RoutestatError
        For fewer than 2 swaps, or a level outside (0, 1).
    """
    if n_swaps < 2 or not 0 < level < 1:
        raise RoutestatError(
            f"expected 2 swaps or more and a level between 0 and 1, got {n_swaps} and {level}"
        )
    nan, seen = math.nan, strata.n_strata
    if seen < 4:
        why = f"{seen} token types with known ids: swapping types needs at least 4"
        none = without_interval(nan, 0, why)
        return BeyondTokenTypes(none, none, nan, nan, nan, 0, seen, strata.n_tokens, why)
    sides = _sides(strata)
    order = np.argsort(-sides.tokens.sum, kind="stable")
    swaps = [_swap(order, rng) for _ in range(n_swaps)]
    total, kept = sides.total(), sides.kept(swaps)
    chance = sides.kept([_permutation(order, rng) for _ in range(n_swaps)])
    spread, counts = float(chance.std(ddof=1)), (n_swaps, seen, strata.n_tokens)
    bundles = np.flatnonzero(sides.tokens.parts.any(axis=1)).tolist()
    size = sides.tokens.parts.sum(axis=1)[bundles]
    few = too_few(np.bincount(strata.group, strata.count)) or too_few(size, "as bundled for memory")
    if few:
        mean = float(kept.mean())
        after, beyond = (without_interval(value, len(bundles), few) for value in (mean, total - mean))
        return BeyondTokenTypes(after, beyond, spread, nan, nan, *counts, few)
    after, beyond = _estimates(sides, swaps, kept, bundles, size, level)
    error = math.hypot(beyond.standard_error, spread)
    # Types alike in everything swap without a trace: what is left beyond rounding is certain.
    t = (beyond.value + float(kept.mean() - chance.mean())) / max(error, 1e-12)
    tail = log10_t_tail(t, min(effective_dof(size), n_swaps - 1.0))
    log10_p = max(tail, log10_sign_floor(np.unique(strata.group).size))
    return BeyondTokenTypes(after, beyond, spread, 10.0**log10_p, log10_p, *counts)


def _estimates(
    sides: "_Sides",
    swaps: list[NDArray[np.intp]],
    kept: Floats,
    bundles: list[int],
    size: Floats,
    level: float,
) -> tuple[Estimate, Estimate]:
    """Estimate what is kept after swaps, and what is beyond it, by the jackknife over bundles of groups."""
    few, total = swaps[:SWAPS_LEFT_OUT], sides.total()
    left = np.array([[sides.total(b), sides.kept(few, b).mean()] for b in bundles])
    # The few swaps stand for all when it comes to what a bundle changes, not for their mean.
    left[:, 1] += kept.mean() - kept[:SWAPS_LEFT_OUT].mean()
    mean = float(kept.mean())
    after = jackknife(mean, left[:, 1], size, level)
    return after, jackknife(total - mean, left[:, 0] - left[:, 1], size, level)


def _swap(order: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.intp]:
    """Whose target choices each type gets: a circle through each bin, so that none keeps its own."""
    partner = np.empty(len(order), np.intp)
    for bins in _bins(order):
        circles = rng.permuted(bins, axis=1)
        partner[circles] = np.roll(circles, 1, axis=1)
    return partner


def _permutation(order: NDArray[np.intp], rng: np.random.Generator) -> NDArray[np.intp]:
    """Permute the types of each bin, with every order equally likely, the present one too."""
    partner = np.empty(len(order), np.intp)
    for bins in _bins(order):
        partner[bins] = rng.permuted(bins, axis=1)
    return partner


def _bins(order: NDArray[np.intp]) -> list[NDArray[np.intp]]:
    """Types ``[bin, type]`` in bins of eight; the last bin, of another size, as an array of its own."""
    whole = len(order) // BIN * BIN
    # A type alone in the last bin would have nobody to swap with.
    if len(order) - whole == 1:
        whole -= BIN
    parts = [order[:whole].reshape(-1, BIN), order[None, whole:]]
    return [part for part in parts if part.size]


class _Sides:
    """Dense counts by bundle of groups: `[bundle, type, state]`, tokens `[bundle, type]`, joint `[bundle, s, t]`."""

    def __init__(self, source: Floats, target: Floats, tokens: Floats, joint: Floats) -> None:
        self.source, self.target, self.tokens, self.joint = (
            _Parts(a) for a in (source, target, tokens, joint)
        )

    def total(self, without: int | None = None) -> float:
        """Information in bits of the true pairing, of all bundles but one."""
        return float(_information(self.joint.rest(without)[None])[0])

    def kept(self, swaps: list[NDArray[np.intp]], without: int | None = None) -> Floats:
        """Information in bits after each swap, of all bundles but one."""
        source, target = self.source.rest(without), self.target.rest(without)
        tokens = self.tokens.rest(without)[:, None]
        distributions = np.divide(target, tokens, out=np.zeros_like(target), where=tokens > 0)
        found = np.empty(len(swaps))
        for part in chunks(len(swaps), 4 * source.shape[1] * target.shape[1]):
            found[part] = _information(np.array([source.T @ distributions[swap] for swap in swaps[part]]))
        return found


@dataclass(frozen=True)
class _Parts:
    """Parts ``[bundle, …]`` and their sum."""

    parts: Floats

    @cached_property
    def sum(self) -> Floats:
        total: Floats = self.parts.sum(axis=0)
        return total

    def rest(self, without: int | None) -> Floats:
        return self.sum if without is None else self.sum - self.parts[without]


def _information(tables: Floats) -> Floats:
    """Plug-in mutual information in bits of expected or observed counts, `[table]`; 0 of an empty table."""
    return np.nan_to_num(batch_information(tables)[0], nan=0.0) / math.log(2.0)


def _sides(strata: Strata) -> _Sides:
    wide = max(strata.n_source, strata.n_target)
    bundles = int(np.clip(BYTES // (16 * strata.n_strata * wide), 2, BUNDLES))
    bundle = strata.group % bundles
    k_source, k_target = strata.slots

    def dense(place: NDArray[np.int64], shape: tuple[int, ...], slots: int) -> Floats:
        flat = np.bincount(place, strata.count / slots, int(np.prod((bundles, *shape))))
        return np.asarray(flat.reshape(bundles, *shape), np.float64)

    at = bundle * strata.n_strata + strata.stratum
    cell = (bundle * strata.n_source + strata.source) * strata.n_target + strata.target
    return _Sides(
        dense(at * strata.n_source + strata.source, (strata.n_strata, strata.n_source), k_target),
        dense(at * strata.n_target + strata.target, (strata.n_strata, strata.n_target), k_source),
        dense(at, (strata.n_strata,), k_source * k_target),
        dense(cell, (strata.n_source, strata.n_target), 1),
    )
