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
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from routestat.inference.base.estimate import (
    check_level,
    effective_dof,
    sandwich_variance,
    with_interval,
    without_interval,
)
from routestat.inference.base.jackknife import jackknife_value
from routestat.inference.base.special import exponential_integral
from routestat.inference.base.tables import Floats
from routestat.inference.base.units import too_few
from routestat.inference.information.inclusion_counts import InclusionCounts, inclusion_counts
from routestat.inference.information.mutual_information import InformationInterval

#: The number is withheld where a bias that was taken out of it is more than so many standard errors.
MOST_BIAS = 0.5
# Half-samples: enough that which ones are taken makes no difference next to the error.
MOST_HALVES = 64


def inclusion_information(
    tables: ArrayLike, source_k: int, target_k: int, level: float = 0.95
) -> InformationInterval:
    """Mutual information in bits per pair of slots, with an interval that is right on wide, nearly empty tables.

    Where the figure cannot be given, `mi_bits` and the interval are NaN and `reason` says why: too few tokens for so
    many cells, or too few groups for how much they differ. With less than one count a cell of the experts in use
    nothing is estimated.

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
    check_level(level)
    return information_of(inclusion_counts(tables, source_k, target_k), level)


def information_of(of: InclusionCounts, level: float = 0.95) -> InformationInterval:
    """Estimate as `inclusion_information` does, of tables that were checked and added up already.

    Parameters
    ----------
    of
    level
        Of confidence.
    """
    n, groups = int(of.tokens.sum()), len(of.tokens)
    if n == 0:
        return InformationInterval(without_interval(math.nan, 0, "no tokens"), level, 0)
    plugin = of.plugin / math.log(2.0)
    why = too_few(of.tokens)
    if not why and of.total.sum() < of.total.size:
        why = "too few tokens for so many cells: less than one count a cell; record more tokens"
    if not why and (largest := of.tokens.max() / n) >= 0.5:
        why = (
            f"one group of documents holds {largest:.0%} of the tokens: expected less than half, for an error"
        )
    if why:
        return InformationInterval(without_interval(math.nan, groups, why, plugin), level, n)
    estimate = _estimate(of)
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


def _estimate(of: InclusionCounts) -> _Estimate:
    n = int(of.tokens.sum())
    share = of.tokens / n
    whole, left_out = of.left_out()
    jackknife = jackknife_value(whole, left_out, of.tokens)
    total, scores = of.total, of.scores
    expectation = np.outer(of.sources.sum(axis=0), of.targets.sum(axis=0)) / n
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


def _hidden(expected: Floats) -> tuple[float, float]:
    """Compute the bias that X ψ(X) leaves in the jackknife by groups, and in that by halves, of Poisson counts."""
    weight, whole = expected / expected.sum(), np.maximum(expected, 1e-300)
    bias, of_half = (float((weight * exponential_integral(part * whole)).sum()) for part in (1.0, 0.5))
    return bias - float((weight * np.exp(-expected)).sum()), 2.0 * bias - of_half


def _by_halves(of: InclusionCounts, whole: float) -> float:
    """Estimate by halves: groups of like size are paired, and every half holds one of each pair."""
    groups = len(of.tokens)
    halves = min(MOST_HALVES, 1 << ((groups + 1) // 2).bit_length())
    order = np.argsort(-of.tokens, kind="stable")
    column, sign = np.empty(groups, np.int64), np.ones(groups, np.int64)
    # Columns of a Hadamard matrix but the first, which has no minus.
    column[order] = np.arange(groups) // 2 % (halves - 1) + 1
    sign[order[1::2]] = -1
    one, other, share = of.halves(column, sign, halves)
    gained = whole - share**2 * one - (1.0 - share) ** 2 * other
    return float(gained.sum() / (1.0 - share**2 - (1.0 - share) ** 2).sum())
