"""Do two samples of documents route alike in one layer? Three tests, for many ways to part the same documents.

Everything about the documents is in the Gram matrix of their scores, which is made once; a way to part them
then costs two products with it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from routestat.inference.base.tables import Floats, read_only


@dataclass(frozen=True, slots=True, eq=False)
class LoadSpread:
    """How the groups' loads of one layer vary; see `load_spread`.

    Attributes
    ----------
    gram
        K_gh = z_g . z_h `[group, group]` with z_g = (T_g - n_g p) / sqrt(n p); rows sum to zero.
    share
        n_g / n `[group]`.
    own
        What each group adds to the variance `[group]`: K_gg without the bias of an estimated p.
    dof
        States (or experts) in use less one.
    scale
        E[X2] / dof of independent tokens: 1, or (K - k) / (K - 1) where tokens take k of K experts.
    design_effect
        Variance of the loads over that of independent tokens, on average over the directions.
    """

    gram: Floats
    share: Floats
    own: Floats
    dof: int
    scale: float
    design_effect: float


def load_spread(table: NDArray[np.integer], tokens: Floats) -> LoadSpread | None:
    """Scores of the groups under one law for all, as their Gram matrix.

    Parameters
    ----------
    table
        `[group, state]`: how many of the group's tokens had each state, or included each expert. Groups are
        independent, tokens within one need not be.
    tokens
        n_g `[group]`; groups without any take no part.

    Returns
    -------
    LoadSpread, or None where there is nothing to test: fewer than two states, all experts with every token,
    or one group with half of the tokens or more, whose variance nothing else can tell.

    Notes
    -----
    With y_g the scores around the true law, z_g = y_g - w_g sum of y_h, so E K_gg = (1 - 2 w_g) v_g + w_g**2 V
    with v_g the group's variance and V their sum. `own` solves this for v_g; lengths and laws may be anything.
    """
    used = table.any(axis=0)
    counts, n = table[:, used].astype(np.float64), float(tokens.sum())
    if counts.shape[1] < 2 or not 2.0 * tokens.max() < n:
        return None
    share = tokens / n
    rate = counts.sum(axis=0) / n
    simple = counts.shape[1] - float(rate.sum())
    if not simple > 1e-9:
        return None
    z = (counts - tokens[:, None] * rate) / np.sqrt(n * rate)
    gram = z @ z.T
    kept = 1.0 - 2.0 * share
    total = float((np.diag(gram) / kept).sum() / (1.0 + (share**2 / kept).sum()))
    own = (np.diag(gram) - share**2 * total) / kept
    dof = counts.shape[1] - 1
    return LoadSpread(read_only(gram), read_only(share), read_only(own), dof, simple / dof, total / simple)


def split_tests(spread: LoadSpread, first: NDArray[np.bool_]) -> tuple[Floats, Floats, Floats]:
    """P-values that two samples have one law, `[split]` each: i.i.d., clustered of first and of second order.

    A group of the first sample has the coefficient c_g = sqrt(r_2 / r_1), one of the second -sqrt(r_1 / r_2),
    with r the samples' shares of the tokens. Pearson's X2 of the table `[sample, state]` is c'Kc, and the
    scores of `clustered_scores` with the sample as the source are c_g z_g: each group lies wholly in one
    sample. So tr = sum of c_g**2 K_gg, nu = tr**2 / sum over g != h of (c_g c_h K_gh)**2, and the expectation
    of X2 is the sum of c_g**2 v_g. Second order: P(chi2_nu > nu (1 + (X2 - sum of c_g**2 v_g) / tr)). The
    general routine's kappa takes all groups' margins as equally noisy, which is too much for short documents.

    Parameters
    ----------
    spread
        Of all groups of both samples.
    first
        `[split, group]`: which groups are in the first sample. A split with a sample of no tokens has p 1.
    """
    one = first @ spread.share
    empty = ~((one > 0.0) & (one < 1.0 - 1e-12))
    one = np.where(empty, 0.5, one)[:, None]
    c = np.where(first, np.sqrt((1.0 - one) / one), -np.sqrt(one / (1.0 - one)))
    chi2, square, diagonal = ((c @ spread.gram) * c).sum(axis=1), c * c, np.diag(spread.gram)
    trace, expected = square @ diagonal, square @ spread.own
    off = ((square @ spread.gram**2) * square).sum(axis=1) - square**2 @ diagonal**2
    # Groups that all have the same shares have scores of zero, or of rounding; they do not differ.
    empty |= ~((off > 1e-24 * trace**2) & (expected > 1e-12 * trace) & (trace > 1e-18))
    nu = np.divide(trace**2, off, out=np.ones_like(off), where=~empty)
    ratio = np.divide(chi2 - expected, trace, out=np.zeros_like(off), where=~empty)
    effect = np.where(empty, 1.0, expected / spread.dof)
    iid = special.gammaincc(spread.dof / 2.0, np.maximum(chi2, 0.0) / spread.scale / 2.0)
    order_one = special.gammaincc(spread.dof / 2.0, np.maximum(chi2, 0.0) / effect / 2.0)
    order_two = special.gammaincc(nu / 2.0, np.maximum(nu * (1.0 + ratio), 0.0) / 2.0)
    return np.where(empty, 1.0, iid), np.where(empty, 1.0, order_one), np.where(empty, 1.0, order_two)
