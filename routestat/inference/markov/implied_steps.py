"""The law that one-step tables imply several layers on (Chapman and Kolmogorov), group by group."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routestat.inference.base.special import x_log_x
from routestat.inference.base.tables import Floats


@dataclass(frozen=True, slots=True, eq=False)
class ImpliedSteps:
    """The law of one or more steps, how each group moves it, and the law without each group.

    Attributes
    ----------
    law
        P `[source, target]`, the product of the steps' own; a row that was never seen is zero.
    moved
        dP^(g) `[source, group, target]`, the derivative of P as group g gets more weight; over all groups it sums
        to zero.
    left_out
        P without group g, `[group, source, target]`.
    """

    distribution: Floats
    moved: Floats
    left_out: Floats


def one_step(tables: NDArray[np.integer]) -> ImpliedSteps:
    """The walk of one step from its counts `[group, source, target]`."""
    total = tables.sum(axis=0, dtype=np.float64)
    rows, own = total.sum(axis=1), tables.sum(axis=2, dtype=np.float64)
    distribution = total * _inverse(rows)[:, None]
    moved = np.ascontiguousarray(tables.transpose(1, 0, 2), dtype=np.float64)
    moved -= own.T[:, :, None] * distribution[:, None, :]
    moved *= _inverse(rows)[:, None, None]
    left_out = total - tables
    left_out *= _inverse(rows - own)[:, :, None]
    return ImpliedSteps(distribution, moved, left_out)


def followed_by(walk: ImpliedSteps, step: ImpliedSteps) -> ImpliedSteps:
    """The walk that goes on by `step`: d(PQ) = dP Q + P dQ, so a step costs the same however long the walk."""
    start, groups, middle = walk.moved.shape
    end = step.distribution.shape[1]
    # Both products are one large matrix product each: that is what the order of the axes is for.
    moved = (walk.moved.reshape(-1, middle) @ step.distribution).reshape(start, groups, end)
    moved += (walk.distribution @ step.moved.reshape(middle, -1)).reshape(start, groups, end)
    return ImpliedSteps(walk.distribution @ step.distribution, moved, walk.left_out @ step.left_out)


@dataclass(frozen=True, slots=True, eq=False)
class ImpliedScores:
    """Groups' scores under the chain: Gram matrix `[group, group]`, and what estimated laws add to its sum.

    Both of several tables of the same groups add up to those of their scores side by side.
    """

    gram: Floats
    bias: float


def implied_scores(direct: NDArray[np.integer], walk: ImpliedSteps) -> ImpliedScores:
    """Scores of the groups under the null that the chain explains the table of a walk's two ends.

    Z_g = D_g - D_g(x.) P - n_x dP^(g), over the root of n_x P: the group's own residual, less what it did to the
    one-step laws. Up to the laws' own error that is the group's sum over tokens and steps of
    (1[start x] - P(start x | state before the step)) times the move of the step, whose mean is zero under the chain
    whatever the document's law of the first layer and however often its tokens repeat each other. The scores sum to
    the residual E = D - n_x P.

    Estimated laws tie the scores together. The sum U of Z_g . Z_h over g != h is off by 2A - B under the null: A is
    what each group's own tokens do to the scores of the others, B what the laws' error does to all scores at once.
    With many states, few tokens and documents of their own kind that is a sixth of the trace (64 states, 30 documents
    of 60 tokens), and every test rejects. The sum of Z_g . E_-g, E_-g being the residual of all other groups against
    *their* laws, is U but for a bias of A - B, and the two are nearly equal (they are where moments are those of
    independent tokens; where walks are repeated four times over, a third of A is left, which shows in wide tables: 120
    states and 60 documents of 400 tokens rejected 7 of 40 at 5 %). `bias` is U less that sum.

    Parameters
    ----------
    direct
        D, counts of the walk's ends `[group, source, target]`.
    walk
    """
    own = direct.sum(axis=2, dtype=np.float64)
    total = direct.sum(axis=0, dtype=np.float64)
    rows = own.sum(axis=0)
    expected = rows[:, None] * walk.distribution
    weight = np.sqrt(_inverse(expected))
    scores = direct.astype(np.float64)
    scores -= own[:, :, None] * walk.distribution
    scores -= (rows[:, None, None] * walk.moved).transpose(1, 0, 2)
    scores *= weight
    flat = scores.reshape(len(scores), -1)
    gram = flat @ flat.T
    scores *= weight
    others = (total - direct) - (rows - own)[:, :, None] * walk.left_out
    crossed = float((scores * others).sum())
    return ImpliedScores(gram, float(gram.sum() - np.trace(gram)) - crossed)


def implied_bits(direct: Floats, distribution: Floats) -> Floats:
    """Plug-in figures in bits, `[figure, batch]`: information counted and implied, their difference, discrepancy.

    With p the law of the source in `direct`, q(z|x) the counted and P(z|x) the implied law: I of p q, I of p P, the
    first less the second, and the sum of p(x) KL(q(.|x) || P(.|x)). Tokens that went where P is zero (a layer between
    them is missing) are left out of the last.

    Parameters
    ----------
    direct
        Counts `[batch, source, target]`, some in each.
    law
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
    # Rows of P sum to one, but for states that were never seen to go on.
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
