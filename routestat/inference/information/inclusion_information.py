"""Mutual information of what two routers include: tables of experts, in which a token counts in k·k cells.

Such tables are wide and their cells nearly empty, so that the plug-in and its jackknife, which removes the leading
bias only, are off by many standard errors. Three things are different here.

*Logarithms of small counts.* A cell's count is binomial whatever the other cells of its tokens are, and with λ
expected E[X ψ(X)] = λ (log λ + E₁(λ)) for a Poisson count, where X log X exceeds λ log λ by 1/2 + 1/(12 λ) + … . So
X ψ(X), ψ being the digamma function (Grassberger 1988), leaves a bias that falls exponentially with λ; that is
subtracted, and where it is large there is no number.

*Bias of second order.* Tokens of one group are dependent, which the jackknife removes to the first order in 1/G. The
second order is what a jackknife by halves (balanced repeated replications) differs by from the one by single groups.

*Error at independence.* There the estimate is a sum over pairs of groups, to which the jackknife's variance gives
twice their share. That share is known from the products of the groups' scores and taken off once; what more there is
counts as far as it is more than that variance's own noise.

References
----------
Grassberger (1988), Finite sample corrections to entropy and dimension estimates. Phys. Lett. A 128.
Efron & Stein (1981), The jackknife estimate of variance. Ann. Stat. 9.
McCarthy (1969), Pseudo-replication: half samples. Rev. Int. Stat. Inst. 37.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from routestat.errors import RoutestatError
from routestat.inference.base.chunks import chunks
from routestat.inference.base.clustered_score_test import clustered_scores
from routestat.inference.base.estimate import (
    effective_dof,
    sandwich_variance,
    with_interval,
    without_interval,
)
from routestat.inference.base.jackknife import jackknife_value
from routestat.inference.base.tables import Floats, read_only
from routestat.inference.base.units import too_few
from routestat.inference.information.mutual_information import (
    InformationInterval,
    grouped_table,
    plugin_information,
)

#: The number is withheld where a bias that was taken out of it is more than so many standard errors.
MOST_BIAS = 0.5
# Half-samples: enough that which ones are taken makes no difference next to the error.
MOST_HALVES = 64
LISTED = 1 << 16


def inclusion_information(
    tables: ArrayLike, source_k: int, target_k: int, level: float = 0.95
) -> InformationInterval:
    """Mutual information in bits per pair of slots, with an interval that is right on wide, nearly empty tables.

    Where the figure cannot be given, `mi_bits` and the interval are NaN and `reason` says why: too few tokens for so
    many cells, or too few groups for how much they differ.

    Parameters
    ----------
    tables
        How many of the group's tokens included i at the source and j at the target, `[group, source, target]`;
        groups are independent, tokens within one need not be.
    source_k, target_k
        How many experts a token includes at either end.
    level
        Of confidence, between 0 and 1; the quantile is Student's with Satterthwaite's degrees of freedom.

    Raises
    ------
    RoutestatError
        For anything but such tables, or a level outside (0, 1).
    """
    table, parts = grouped_table(tables, level)
    cells = source_k * target_k
    counts = parts.sum(axis=(1, 2), dtype=np.int64)
    if (counts % cells).any():
        raise RoutestatError(
            f"tables: expected {cells} cells of every token, got {int(counts.sum())} in all; check source_k, target_k"
        )
    n, groups = int(counts.sum()) // cells, len(counts)
    if n == 0:
        return InformationInterval(without_interval(math.nan, 0, "no tokens"), level, 0)
    plugin = plugin_information(table.total) / math.log(2.0)
    if why := too_few(counts):
        return InformationInterval(without_interval(math.nan, groups, why, plugin), level, n)
    if (largest := counts.max() / counts.sum()) >= 0.5:
        why = (
            f"one group of documents holds {largest:.0%} of the tokens: expected less than half, for an error"
        )
        return InformationInterval(without_interval(math.nan, groups, why, plugin), level, n)
    estimate = _estimate(_Inclusions.of(parts, source_k, target_k))
    if reason := estimate.reason:
        return InformationInterval(without_interval(math.nan, groups, reason, plugin), level, n)
    value, error = estimate.nats / math.log(2.0), estimate.error / math.log(2.0)
    return InformationInterval(with_interval(value, error, estimate.dof, groups, level, plugin), level, n)


@dataclass(frozen=True, slots=True)
class _Estimate:
    """In nats: the estimate, its error and the error's degrees of freedom, the biases that were taken out of it."""

    nats: float
    error: float
    dof: float
    hidden: float
    left: float

    @property
    def reason(self) -> str | None:
        # The same words for all pairs of layers, so that a report says them once.
        most = f"more than {MOST_BIAS:g} standard errors"
        if abs(self.hidden) > MOST_BIAS * self.error:
            return f"too few tokens for so many cells: nearly empty ones bias information by {most}; record more tokens"
        if abs(self.left) > MOST_BIAS * self.error:
            return (
                "too few groups of documents for how much they differ: that biases information by "
                f"{most} even after the jackknife; record more documents"
            )
        return None


@dataclass(frozen=True, slots=True)
class _Inclusions:
    """Counts of the groups: pairs ``[group, source, target]``, inclusions ``[group, source]``, ``[group, target]``."""

    pairs: NDArray[np.integer]
    sources: Floats
    targets: Floats
    tokens: Floats
    source_k: int
    target_k: int

    @classmethod
    def of(cls, pairs: NDArray[np.integer], source_k: int, target_k: int) -> "_Inclusions":
        # Every expert of a token's source meets all k of its target, so margins hold each inclusion k times.
        sources, targets = pairs.sum(axis=2) / target_k, pairs.sum(axis=1) / source_k
        return cls(pairs, sources, targets, sources.sum(axis=1) / source_k, source_k, target_k)

    @property
    def cells(self) -> int:
        """Of every token."""
        return self.source_k * self.target_k

    def blocks(self, rows: int) -> list[slice]:
        """Return the sources to take at once, where so many tables are in memory together."""
        return list(chunks(self.sources.shape[1], rows * self.targets.shape[1]))

    def information(self, sums: Callable[[Floats], Floats]) -> Floats:
        """Estimate from each of some sums over groups, which take `[group, …]` to `[sum, …]`, in nats `[sum]`."""
        n = sums(self.tokens)
        found = np.log(n) - _log_product(sums(self.sources)).sum(axis=1) / (n * self.source_k)
        found -= _log_product(sums(self.targets)).sum(axis=1) / (n * self.target_k)
        for part in self.blocks(2 * len(self.tokens)):
            block = self.pairs[:, part, :].reshape(len(self.tokens), -1).astype(np.float64)
            found += _log_product(sums(block)).sum(axis=1) / (n * self.cells)
        return np.asarray(found)

    def gram(self, weight: Floats) -> Floats:
        """Second derivatives of n times the information by two groups' weights ``[group, group]``.

        Groups are taken about their mean; `weight` ``[source, target]`` are the counts that each cell is taken to
        have. Products of different groups are then rid of what the common mean ties them together by.
        """
        share = self.tokens / self.tokens.sum()

        def products(counts: Floats, by: Floats) -> Floats:
            about = (counts - share[:, None] * counts.sum(axis=0)) / np.sqrt(by)
            return np.asarray(about @ about.T)

        found = -products(self.sources, self.sources.sum(axis=0)) / self.source_k
        found -= products(self.targets, self.targets.sum(axis=0)) / self.target_k
        for part in self.blocks(2 * len(self.tokens)):
            block = self.pairs[:, part, :].reshape(len(self.tokens), -1).astype(np.float64)
            found += products(block, weight[part].ravel()) / self.cells
        rest = 1.0 - 2.0 * share
        whole = (np.diag(found) / rest).sum() / (1.0 + (share**2 / rest).sum())
        own = (np.diag(found) - share**2 * whole) / rest
        found += np.outer(share, own) + np.outer(own, share) - np.outer(share, share) * whole
        return found


def _estimate(of: _Inclusions) -> _Estimate:
    n = of.tokens.sum()
    share = of.tokens / n
    whole = float(of.information(lambda x: x.sum(axis=0, keepdims=True))[0])
    left_out = of.information(lambda x: x.sum(axis=0) - x)
    jackknife = jackknife_value(whole, left_out, of.tokens)
    total = of.pairs.sum(axis=0, dtype=np.int64).astype(np.float64)
    expectation = np.outer(of.sources.sum(axis=0), of.targets.sum(axis=0)) / n
    scores = clustered_scores(of.pairs, of.sources, of.targets, of.tokens)
    # Cells as they would be with more tokens: between independence and what was counted, by how much of the
    # table's distance from independence is not noise.
    distance = float(((total - expectation) ** 2 / expectation).sum())
    signal = max(0.0, 1.0 - float(np.trace(scores.gram)) / distance) if distance > 0 else 0.0
    smooth = expectation + signal * (total - expectation)
    hidden, hidden_halves = _hidden(smooth)
    # What estimated margins add to the products of different groups.
    margins = float(scores.bias.sum() - np.trace(scores.bias)) / (2.0 * n * of.cells)
    left = _by_halves(of, whole) - hidden_halves - (jackknife - hidden)
    nats = jackknife - hidden - margins - left
    # What leaving a group out moves, and of that the products with every other group: pairs count twice in the sum.
    # With (1 - w)**2 as weight, what is in proportion to a group's tokens goes out with the mean, whatever their sizes.
    gram, rest = of.gram(smooth) / n, 1.0 - share
    moved = (whole - nats) - rest**2 * (left_out - nats) - np.diag(gram) / 2.0
    moved = (moved - share * moved.sum()) / rest
    variance = float(sandwich_variance(moved))
    squares = (gram**2).sum(axis=1) - np.diag(gram) ** 2
    pairs, twice = float(squares.sum()), float((squares / rest**2).sum())
    # What is above that is the groups' own, shrunk as Breiman's garrote does: to nothing where it is noise, hardly
    # where it is large. `noise` squared is half the variance that a sum of so many squares has at independence.
    uneven = float(share @ share)
    more, noise = variance - twice, twice * math.sqrt(uneven)
    single = more - noise**2 / more if more > noise else 0.0
    error = math.sqrt(pairs / 2.0 + single)
    # Satterthwaite: the part of single groups is known no better than a sum of so many squares, less what is taken off.
    dof = error**4 / (uneven * (pairs + single) ** 2) if single > 0 else math.inf
    dof = min(dof, effective_dof(of.tokens))
    return _Estimate(nats, error, max(1.0, dof), hidden, margins + left)


def _log_product(counts: Floats) -> Floats:
    """X ψ(X), and 0 at 0: nearly without bias for λ log λ."""
    if counts.max(initial=0.0) < LISTED:
        return _listed()[counts.astype(np.intp)]
    return np.where(counts > 0, counts * special.psi(np.maximum(counts, 1.0)), 0.0)


@cache
def _listed() -> Floats:
    """Tabulate x ψ(x) of the whole numbers below `LISTED`, which most counts of cells are."""
    x = np.arange(1.0, LISTED)
    return read_only(np.concatenate([[0.0], x * special.psi(x)]))


def _hidden(expected: Floats) -> tuple[float, float]:
    """Compute the bias that X ψ(X) leaves in the jackknife by groups, and in that by halves, of Poisson counts."""
    weight = expected / expected.sum()

    def bias(share: float) -> float:
        return float((weight * special.exp1(np.maximum(share * expected, 1e-300))).sum())

    single = bias(1.0) - float((weight * np.exp(-expected)).sum())
    return single, 2.0 * bias(1.0) - bias(0.5)


def _by_halves(of: _Inclusions, whole: float) -> float:
    """Estimate by halves: groups of like size are paired, and every half holds one of each pair."""
    groups = len(of.tokens)
    pairs = (groups + 1) // 2
    halves = min(MOST_HALVES, 1 << pairs.bit_length())
    order = np.argsort(-of.tokens, kind="stable")
    # Columns of a Hadamard matrix but the first, which has no minus.
    column = np.arange(pairs) % (halves - 1) + 1
    sign = np.array([[bin(row & int(at)).count("1") % 2 for at in column] for row in range(halves)])
    first = np.empty((halves, groups))
    first[:, order] = np.stack([sign, 1 - sign], axis=2).reshape(halves, -1)[:, :groups]
    one = of.information(lambda x: first @ x)
    other = of.information(lambda x: x.sum(axis=0) - first @ x)
    share = first @ of.tokens / of.tokens.sum()
    gained = whole - share**2 * one - (1.0 - share) ** 2 * other
    return float(gained.sum() / (1.0 - share**2 - (1.0 - share) ** 2).sum())
