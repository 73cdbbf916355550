"""The transitions that one-step tables imply several layers on (Chapman and Kolmogorov), group by group."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routestat.inference.base.special import x_log_x
from routestat.inference.base.tables import Floats


@dataclass(frozen=True, slots=True, eq=False)
class ImpliedSteps:
    """The transitions of one or more steps, their derivative in each group's weight, and those without each group.

    Attributes
    ----------
    distribution
        P `[source, target]`, the product of the steps' matrices; a row without tokens is zero.
    moved
        dP^(g) `[source, group, target]`, the derivative of P in the weight of group g; over all groups it sums to
        zero.
    left_out
        P without group g, `[group, source, target]`.
    """

    distribution: Floats
    moved: Floats
    left_out: Floats


def one_step(tables: NDArray[np.integer]) -> ImpliedSteps:
    """Compute the transitions of one step from its counts `[group, source, target]`."""
    total = tables.sum(axis=0, dtype=np.float64)
    rows, own = total.sum(axis=1), tables.sum(axis=2, dtype=np.float64)
    distribution = total * _inverse(rows)[:, None]
    moved = np.ascontiguousarray(tables.transpose(1, 0, 2), dtype=np.float64)
    moved -= own.T[:, :, None] * distribution[:, None, :]
    moved *= _inverse(rows)[:, None, None]
    left_out = total - tables
    left_out *= _inverse(rows - own)[:, :, None]
    return ImpliedSteps(distribution, moved, left_out)


def followed_by(steps: ImpliedSteps, step: ImpliedSteps) -> ImpliedSteps:
    """Append a step: d(PQ) = dP Q + P dQ, at a cost that does not depend on the number of steps."""
    start, groups, middle = steps.moved.shape
    end = step.distribution.shape[1]
    # Both products are one large matrix product each: that is what the order of the axes is for.
    moved = (steps.moved.reshape(-1, middle) @ step.distribution).reshape(start, groups, end)
    moved += (steps.distribution @ step.moved.reshape(middle, -1)).reshape(start, groups, end)
    return ImpliedSteps(steps.distribution @ step.distribution, moved, steps.left_out @ step.left_out)


@dataclass(frozen=True, slots=True, eq=False)
class ImpliedScores:
    """Groups' scores under the chain: Gram matrix `[group, group]`, and the bias of its sum by estimated transitions.

    Both of several tables of the same groups add up to those of their scores side by side.
    """

    gram: Floats
    bias: float


def implied_scores(direct: NDArray[np.integer], steps: ImpliedSteps) -> ImpliedScores:
    """Compute the groups' scores under the null that the chain explains the table of its two ends.

    Z_g = D_g - D_g(x.) P - n_x dP^(g), over the root of n_x P: the group's residual, less its influence on the one-step
    transitions. Up to the error of these that is the group's sum over tokens and steps of
    (1[start x] - P(start x | state before the step)) times the deviation of the step, whose mean is zero under the
    chain for any distribution of a document's first layer and any repetition of its tokens. The scores sum to the
    residual E = D - n_x P.

    Estimated transitions make the scores dependent. The sum U of Z_g . Z_h over g != h has bias 2A - B under the null:
    A is the effect of each group's tokens on the scores of the others, B that of the transitions' error on all scores.
    With many states, few tokens and unlike documents it is a sixth of the trace (64 states, 30 documents of 60
    tokens), and every test rejects. The sum of Z_g . E_-g, with E_-g the residual of all other groups against *their*
    transitions, equals U but for a bias of A - B, where the two terms are nearly equal (exactly for the moments of
    independent tokens; where tokens are repeated four times a third of A is left, which matters in wide tables: 120
    states and 60 documents of 400 tokens rejected 7 of 40 at 5 %). `bias` is U minus that sum.

    Parameters
    ----------
    direct
        D, counts of the two ends `[group, source, target]`.
    steps
    """
    own = direct.sum(axis=2, dtype=np.float64)
    total = direct.sum(axis=0, dtype=np.float64)
    rows = own.sum(axis=0)
    expected = rows[:, None] * steps.distribution
    weight = np.sqrt(_inverse(expected))
    scores = direct.astype(np.float64)
    scores -= own[:, :, None] * steps.distribution
    scores -= (rows[:, None, None] * steps.moved).transpose(1, 0, 2)
    scores *= weight
    flat = scores.reshape(len(scores), -1)
    gram = flat @ flat.T
    scores *= weight
    others = (total - direct) - (rows - own)[:, :, None] * steps.left_out
    crossed = float((scores * others).sum())
    return ImpliedScores(gram, float(gram.sum() - np.trace(gram)) - crossed)


def implied_bits(direct: Floats, distribution: Floats) -> Floats:
    """Compute in bits `[statistic, batch]` the information counted and implied, their difference, the discrepancy.

    With p the distribution of the source in `direct`, q(z|x) the counted and P(z|x) the implied transitions: I of p q,
    I of p P, the first minus the second, and the sum of p(x) KL(q(.|x) || P(.|x)). Tokens with a target where P is
    zero (a layer between is missing) are left out of the last.

    Parameters
    ----------
    direct
        Counts `[batch, source, target]`, some in each.
    distribution
        P `[batch, source, target]`.
    """
    rows, n = direct.sum(axis=2), direct.sum(axis=(1, 2))
    cells, ends = x_log_x(direct).sum(axis=(1, 2)), x_log_x(rows).sum(axis=1)
    counted = (cells - ends - x_log_x(direct.sum(axis=1)).sum(axis=1)) / n + np.log(n)

    logs = np.log(np.where(distribution > 0, distribution, 1.0))
    shares = rows / n[:, None]
    reached = (shares[:, None, :] @ distribution)[:, 0, :]
    arrive = distribution.sum(axis=2)
    total = reached.sum(axis=1)
    inside = np.einsum("gx,gxz,gxz->g", shares, distribution, logs)
    # Rows of P sum to one, except for states without a next layer.
    inside -= (shares * x_log_x(arrive)).sum(axis=1)
    total = np.where(total > 0, total, math.nan)
    implied = (inside - x_log_x(reached).sum(axis=1)) / total + np.log(total)

    lost = (direct > 0) & ~(distribution > 0)
    if lost.any():
        kept = np.where(lost, 0.0, direct)
        n = kept.sum(axis=(1, 2))
        cells, ends = x_log_x(kept).sum(axis=(1, 2)), x_log_x(kept.sum(axis=2)).sum(axis=1)
        direct, n = kept, np.where(n > 0, n, math.nan)
    apart = (cells - ends - np.einsum("gxz,gxz->g", direct, logs)) / n
    return np.stack([counted, implied, counted - implied, apart]) / math.log(2.0)


def _inverse(values: Floats) -> Floats:
    return np.divide(1.0, values, out=np.zeros_like(values), where=values > 0)
