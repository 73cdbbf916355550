"""Scores of pairs of experts over groups of documents, and their divergence in bits."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routestat.inference.base.chunks import chunks
from routestat.inference.base.estimate import Estimate, sandwich_variance
from routestat.inference.base.jackknife import jackknife
from routestat.inference.base.tables import Floats
from routestat.structure.coactivation_null import PairBlocks

#: By how much smaller than elsewhere temporary arrays are: they are made and read a dozen times.
_IN_CACHE = 16


@dataclass(frozen=True, eq=False)
class PairScores:
    """Sums over all pairs; `kl` and `kl_without` ``[group]`` are in nats."""

    expected: Floats
    z: Floats
    gram: Floats
    kl: float
    kl_without: Floats


def pair_scores(cells: NDArray[np.integer], blocks: PairBlocks, share: Floats) -> PairScores:
    """Sum over the pairs of some experts at a time, because all pairs of many experts need too much memory."""
    groups, start = len(cells), 0
    gram, columns = np.zeros((groups, groups)), []
    # With and without each group: sums of o log(o/e), of o and of e, which give the divergences.
    parts = np.zeros((3, groups + 1))
    for e, own, variance in blocks:
        # In parts that stay in the processor's cache.
        for part in chunks(e.size, _IN_CACHE * groups):
            t = cells[:, start + part.start : start + part.stop].astype(np.float64)
            score = t - own[:, part]
            gram += _gram(score, e[part])
            total = score.sum(axis=0)
            spread = sandwich_variance(score - share[:, None] * total)
            columns.append(np.stack([e[part], total, spread, variance[part]]))
            parts += _divergence_sums(t, e[part], own[:, part])
        start += e.size
    kl = np.maximum(parts[0] / parts[1] - np.log(parts[1] / parts[2]), 0.0)
    expected, total, spread, variance = np.concatenate(columns, axis=1)
    return PairScores(expected, _moderated(total, spread, variance), gram, float(kl[0]), kl[1:])


def _gram(score: Floats, expected: Floats) -> Floats:
    w = score / np.sqrt(np.where(expected > 0, expected, np.inf))
    return w @ w.T


def _divergence_sums(t: Floats, expected: Floats, own: Floats) -> Floats:
    """Sum o log(o/e), o and e ``[sum, 1 + group]`` over pairs, of all groups together and without each."""
    total = t.sum(axis=0)
    o, e = np.vstack([total, total - t]), np.vstack([expected, np.maximum(expected - own, 0.0)])
    ratio = np.divide(o, e, out=np.ones_like(o), where=(o > 0) & (e > 0))
    return np.stack([(o * np.log(ratio)).sum(axis=1), o.sum(axis=1), e.sum(axis=1)])


def _moderated(total: Floats, spread: Floats, variance: Floats) -> Floats:
    """Return scores `[pair]` in standard errors; NaN where they cannot vary.

    Half of the squared error is the pair's own spread over groups, half that of independent tokens times the
    design effect that the pairs have on average, as in Smyth's moderated t. By its own spread alone
    a rare pair reaches p < 0.001 ten times too often, because most of its groups agree on zero.
    """
    known = variance > 1e-12
    if not known.any():
        return np.full(total.shape, np.nan)
    effect = float((spread[known] / variance[known]).mean())
    known &= (error := np.sqrt((spread + effect * variance) / 2.0)) > 1e-9
    return np.divide(total, error, out=np.full(total.shape, np.nan), where=known)


def divergence_interval(scores: PairScores, size: Floats, level: float) -> Estimate:
    """Estimate the divergence in bits by the delete-group jackknife."""
    unit = math.log(2.0)
    return jackknife(scores.kl / unit, scores.kl_without / unit, size, level)
