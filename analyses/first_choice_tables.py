"""The dependence of two layers in tables of tokens by their first choices, with and without documents."""

from dataclasses import dataclass
from itertools import combinations
from math import log

import numpy as np
from numpy.typing import NDArray

import routestat as rs
from routestat.counting.document_sample import Sample
from routestat.inference.base.tables import expected_counts

RENUMBERINGS = 999
FITTING_STEPS = 200


@dataclass(frozen=True)
class Dependence:
    """The dependence of two layers in one table of first choices.

    Attributes
    ----------
    tokens
        Of the table.
    bits
        Plug-in mutual information.
    entropy
        Of the target, bits.
    share
        Theil's U: bits / entropy.
    busiest
        Largest share of the tokens that one source expert is the first choice of.
    needed
        Design effect at which independent layers would give so many bits on average.
    bias
        Bits of independent layers at a design effect of 1.
    """

    tokens: int
    bits: float
    entropy: float
    share: float
    busiest: float
    needed: float
    bias: float


def dependence(counts: NDArray[np.int64]) -> Dependence:
    """Measure one table `[source, target]`.

    With independent layers the plug-in is delta df / (2 n) nats on average, delta being the design effect.
    """
    found = rs.independence(counts)
    bias = found.dof / (2 * found.n) / log(2)
    entropy = rs.entropy(counts.sum(axis=0), estimator="plugin")
    busiest = float(counts.sum(axis=1).max() / found.n)
    return Dependence(found.n, found.mi_bits, entropy, found.theils_u, busiest, found.mi_bits / bias, bias)


def deviations(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Pearson residuals `[source, target]` scaled to a sum of squares of one; zero in empty rows and columns."""
    expected = expected_counts(counts.astype(np.float64))
    found = np.divide(counts - expected, np.sqrt(expected), out=np.zeros_like(expected), where=expected > 0)
    return found / np.sqrt((found**2).sum())


def from_other_texts(own: NDArray[np.int64], others: list[NDArray[np.int64]]) -> float:
    """Bits about the target that the source gives in one text, by what was learned from the others.

    A joint distribution with the text's own margins and half the log lifts of the other texts (within each of them,
    one token per cell added) predicts the target given the source. The mean gain in log probability over the margin
    is a lower bound of the mutual information, whatever tokens of one text have to do with each other: the texts
    have none in common. It may be below zero.

    References
    ----------
    Barber & Agakov (2003), The IM algorithm: a variational approach to information maximization. NIPS 16. Deming &
    Stephan (1940), Ann. Math. Stat. 11 (the fit to the margins).
    """
    expected = sum(expected_counts(one.astype(np.float64)) for one in others)
    lift = np.sqrt((sum(others) + 1.0) / (expected + 1.0))
    share = own / own.sum()
    kept = np.ix_(share.sum(axis=1) > 0, share.sum(axis=0) > 0)
    share, fitted = share[kept], lift[kept]
    source, target = share.sum(axis=1), share.sum(axis=0)
    for _ in range(FITTING_STEPS):
        fitted *= (target / fitted.sum(axis=0))[None, :]
        fitted *= (source / fitted.sum(axis=1))[:, None]
    return float((share * np.log2(fitted / np.outer(source, target))).sum())


@dataclass(frozen=True)
class Likeness:
    """How alike the deviations from independence are in different texts.

    Attributes
    ----------
    cosines
        Of each two texts, 1 where they deviate in the same way and about 0 for noise.
    renumbered
        The largest mean cosine after renumbering.
    p
        Share of renumberings whose mean cosine is at least as large, the tables' own included.
    """

    cosines: tuple[float, ...]
    renumbered: float
    p: float


def likeness(
    tables: list[NDArray[np.int64]], rng: np.random.Generator, draws: int = RENUMBERINGS
) -> Likeness:
    """Compare the deviations of all texts `[source, target]`; experts of each text are renumbered for the null."""
    found = np.stack([deviations(one) for one in tables])
    pairs = list(combinations(range(len(found)), 2))

    def cosines(of: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.array([(of[a] * of[b]).sum() for a, b in pairs])

    own = cosines(found)
    _, source, target = found.shape
    means = [
        cosines(np.stack([one[rng.permutation(source)][:, rng.permutation(target)] for one in found])).mean()
        for _ in range(draws)
    ]
    at_least = sum(mean >= own.mean() for mean in means)
    return Likeness(tuple(own.tolist()), float(max(means)), (1 + at_least) / (1 + draws))


def first_choices(sample: Sample, source: int, target: int) -> NDArray[np.int64]:
    """Tables of first choices `[group, source, target]` of two layers of a trace with documents."""
    one, other = (router for layer in (source, target) for router in sample.routers if router.layer == layer)
    counts = np.zeros((sample.groups, one.n_experts, other.n_experts), np.int64)
    columns = [sample.columns[f"{router.name}.top1"].astype(np.int64) for router in (one, other)]
    np.add.at(counts, (sample.group, *columns), 1)
    return counts
