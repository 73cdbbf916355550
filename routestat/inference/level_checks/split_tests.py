"""Do two samples of documents have the same loads in one layer? Three tests, for many splits of the same documents.

Everything about the documents is in the Gram matrix of their scores, which is made once; a split then costs a few
products with it.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import special

from routestat.inference.base.chunks import chunks
from routestat.inference.base.clustered_score_test import log10_score_ps
from routestat.inference.base.tables import Floats, read_only
from routestat.inference.base.units import log10_relabelling_floor

#: Leading directions of the scores from which the third moment of a split is taken: all of 28 states. What wider
#: tables have beyond them moves p-values below 0.1 by 0.0015 at most (256 groups, 64 and 256 experts).
DIRECTIONS = 32


@dataclass(frozen=True, slots=True, eq=False)
class LoadScores:
    """How the groups' loads of one layer vary; see `load_scores`.

    Attributes
    ----------
    gram
        K_gh = z_g . z_h `[group, group]` with z_g = (T_g - n_g p) / sqrt(n p); rows sum to zero.
    leading
        Coordinates of the z_g in their leading directions `[group, direction]`.
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
    leading: Floats
    share: Floats
    own: Floats
    dof: int
    scale: float
    design_effect: float


def load_scores(table: NDArray[np.integer], tokens: Floats) -> LoadScores | None:
    """Compute the groups' scores under one distribution for all, as their Gram matrix.

    Parameters
    ----------
    table
        `[group, state]`: how many of the group's tokens had each state, or included each expert. Groups are
        independent, tokens within one need not be.
    tokens
        n_g `[group]`; groups without any take no part.

    Returns
    -------
    LoadScores, or None where there is nothing to test: fewer than two states, all experts with every token,
    or one group with half of the tokens or more, whose variance nothing else can give.

    Notes
    -----
    With y_g the scores around the true distribution, z_g = y_g - w_g sum of y_h, so E K_gg = (1 - 2 w_g) v_g +
    w_g**2 V with v_g the group's variance and V their sum. `own` solves this for v_g, for any lengths and
    distributions.
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
    if z.shape[1] > min(DIRECTIONS, z.shape[0]):
        # The groups span no more directions than there are groups.
        values, vectors = np.linalg.eigh(gram)
        z = vectors[:, -DIRECTIONS:] * np.sqrt(np.maximum(values[-DIRECTIONS:], 0.0))
    kept = 1.0 - 2.0 * share
    total = float((np.diag(gram) / kept).sum() / (1.0 + (share**2 / kept).sum()))
    own = (np.diag(gram) - share**2 * total) / kept
    dof = counts.shape[1] - 1
    gram, z, share, own = (read_only(part) for part in (gram, z, share, own))
    return LoadScores(gram, z, share, own, dof, simple / dof, total / simple)


def split_tests(scores: LoadScores, first: NDArray[np.bool_]) -> tuple[Floats, Floats, Floats]:
    """Test that two samples have one distribution, `[split]`: i.i.d., clustered of first and of second order.

    A group of the first sample has the coefficient c_g = sqrt(r_2 / r_1), one of the second -sqrt(r_1 / r_2),
    with r the samples' shares of the tokens. Pearson's X2 of the table `[sample, state]` is c'Kc, and the
    scores of `clustered_scores` with the sample as the source are c_g z_g: each group lies wholly in one
    sample. The test of second order is `score_test` of these scores with U_c = c'Kc - sum of c_g**2 v_g. The
    general routine's bias takes all groups' margins as equally noisy, which is too much for short documents.

    Parameters
    ----------
    scores
        Of all groups of both samples.
    first
        `[split, group]`: which groups are in the first sample. A split with a sample of no tokens has p 1.

    Returns
    -------
    P-values.
    """
    one = first @ scores.share
    empty = ~((one > 0.0) & (one < 1.0 - 1e-12))
    one = np.where(empty, 0.5, one)[:, None]
    c = np.where(first, np.sqrt((1.0 - one) / one), -np.sqrt(one / (1.0 - one)))
    chi2, square, diagonal = ((c @ scores.gram) * c).sum(axis=1), c * c, np.diag(scores.gram)
    trace, expected = square @ diagonal, square @ scores.own
    off = ((square @ scores.gram**2) * square).sum(axis=1) - square**2 @ diagonal**2
    # Groups that all have the same shares have scores of zero, or of rounding; they do not differ.
    empty |= ~((off > 1e-24 * trace**2) & (expected > 1e-12 * trace) & (trace > 1e-18))
    effect = np.where(empty, 1.0, expected / scores.dof)
    iid = special.gammaincc(scores.dof / 2.0, np.maximum(chi2, 0.0) / scores.scale / 2.0)
    order_one = special.gammaincc(scores.dof / 2.0, np.maximum(chi2, 0.0) / effect / 2.0)
    order_two = np.ones(len(first))
    cubes, members = _cubes(scores.leading, square), first.sum(axis=1)
    tested = np.flatnonzero(~empty)
    sizes, which = np.unique(members[tested], return_inverse=True)
    floors = np.array([log10_relabelling_floor(int(m), len(diagonal) - int(m)) for m in sizes])[which]
    cross = chi2[tested] - expected[tested]
    order_two[tested] = 10.0 ** log10_score_ps(cross, off[tested], cubes[tested], floors)
    return np.where(empty, 1.0, iid), np.where(empty, 1.0, order_one), order_two


def _cubes(z: Floats, square: Floats) -> Floats:
    """Sum M_gh M_hl M_lg over different g, h and l, with M_gh = c_g c_h z_g . z_h, `[split]`.

    With F = diag(c**2), K = z z' and D its diagonal: tr (F (K - D))**3 = tr (z'Fz)**3 - 3 sum of c_g**4 D_g K_gh**2
    c_h**2 + 2 sum of (c_g**2 D_g)**3, so that a split needs no product of matrices as wide as there are groups.
    """
    diagonal = (z**2).sum(axis=1)
    mixed = ((square**2 * diagonal) @ (z @ z.T) ** 2 * square).sum(axis=1)
    rest = 2.0 * square**3 @ diagonal**3 - 3.0 * mixed
    first, second = np.triu_indices(z.shape[1])
    products, found = z[:, first] * z[:, second], np.empty(len(square))
    for part in chunks(len(square), z.shape[1] ** 2):
        inner = np.empty((len(square[part]), z.shape[1], z.shape[1]))
        inner[:, first, second] = inner[:, second, first] = square[part] @ products
        found[part] = np.einsum("sij,sij->s", inner @ inner, inner)
    return found + rest
