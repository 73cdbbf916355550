"""Differences of cells between two samples: shares with the error that dependent tokens call for."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.inference.base.chunks import chunks
from routestat.inference.base.multiplicity import adjust_log10
from routestat.inference.base.special import log10_t_tails
from routestat.inference.base.tables import Floats, Integers, read_only
from routestat.inference.two_sample.samples import TwoSamples, two_samples

LEVEL = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class ShareDifferences:
    """Shares of both samples and their difference a - b `[cell]`, with two errors of it.

    `standard_error` is that of the ratio sandwich, with its `dof`. `pooled_error` takes the spread of both samples
    together: one in which a cell never occurs shows none of its own, which is no proof that it has none.
    """

    share_a: Floats
    share_b: Floats
    difference: Floats
    standard_error: Floats
    dof: Floats
    pooled_error: Floats


@dataclass(frozen=True, slots=True, eq=False)
class CellDifferences:
    """Cells in use, largest absolute difference first; see `cell_differences`.

    Attributes
    ----------
    cell
        Flat index of the cell; the arrays below follow it.
    share_a, share_b, difference, standard_error
        Shares of the counts, a - b, and its clustered standard error.
    t, log10_p, log10_q
        The difference in standard errors, the two-sided log10 p of Student's t (never below what
        relabelling whole groups can show), and the same adjusted after
        Benjamini and Yekutieli over all cells given. NaN without an error.
    log2_ratio
        log2(share_a / share_b); NaN where either is zero.
    moved
        Whether q is 0.05 or less.
    reason
        Why there are no errors, or None.
    """

    cell: Integers
    share_a: Floats
    share_b: Floats
    difference: Floats
    standard_error: Floats
    t: Floats
    log10_p: Floats
    log10_q: Floats
    log2_ratio: Floats
    moved: NDArray[np.bool_]
    reason: str | None = None


def cell_differences(a: ArrayLike, b: ArrayLike, *, paired: bool = False) -> CellDifferences:
    """Compare shares cell by cell, with the ratio sandwich over groups, adjusted as one family.

    The score of a group is (T_g - n_g p) / n in each sample; unpaired the samples' variances add up, paired a
    group's two scores are subtracted first. Unpaired, t divides by the larger of that error and of the one with
    both samples' spread pooled, G/(G-2) sum (T_g - n_g p)**2 / (n_a n_b) with `pooled_dof` degrees: by its
    own spread a cell that a small sample happens to miss would always be significant. A cell that does not vary
    inside either sample has the error of its scores under one distribution for both.

    Parameters
    ----------
    a, b
        Whole counts `[group, cell]`; flatten the cells of a transition.
    paired
        Group g of `a` and group g of `b` are the same documents.

    Raises
    ------
    RoutestatError
        For counts that are not such tables, or paired samples with different groups.

    References
    ----------
    Cochran (1977), Sampling Techniques, section 6; Benjamini & Yekutieli (2001), Ann. Stat. 29.
    """
    samples = two_samples(a, b, paired, 2)
    used = np.flatnonzero(samples.a.any(axis=0) | samples.b.any(axis=0))
    found = share_differences(TwoSamples(samples.a[:, None, used], samples.b[:, None, used], paired))
    with np.errstate(divide="ignore", invalid="ignore"):
        larger = np.maximum(found.standard_error, found.pooled_error)
        apart = (larger == 0) & (found.difference != 0)
        if apart.any():
            larger[apart] = _error_of_none(samples, used[apart])
        t = found.difference / larger
        ratio = np.log2(found.share_a / found.share_b)
    ratio[~np.isfinite(ratio)] = np.nan
    # Cells that every group holds alike have neither a difference nor an error.
    t[(found.difference == 0) & (larger == 0)] = 0.0
    pooled = (larger > found.standard_error) & (not paired)
    dofs = np.where(pooled, samples.pooled_dof if samples.reason is None else math.nan, found.dof)
    log10_p = np.maximum(log10_t_tails(t, dofs), samples.log10_floor)
    log10_q = adjust_log10(log10_p, "by") if used.size else log10_p
    order = np.argsort(-np.abs(found.difference), kind="stable")
    columns = (
        found.share_a,
        found.share_b,
        found.difference,
        found.standard_error,
        t,
        log10_p,
        log10_q,
        ratio,
    )
    share_a, share_b, difference, error, t, log10_p, log10_q, ratio = (read_only(c[order]) for c in columns)
    return CellDifferences(
        cell=read_only(used[order]),
        share_a=share_a,
        share_b=share_b,
        difference=difference,
        standard_error=error,
        t=t,
        log10_p=log10_p,
        log10_q=log10_q,
        log2_ratio=ratio,
        moved=read_only(log10_q <= math.log10(LEVEL)),
        reason=samples.reason,
    )


def _error_of_none(samples: TwoSamples, cells: Integers) -> Floats:
    """Compute the error of cells that do not vary in either sample, but differ: that of scores under no difference.

    Groups that agree perfectly are as much evidence as there are groups, and no more.
    """
    a, b = (t[:, cells].astype(np.float64) for t in (samples.a, samples.b))
    size_a, size_b = (t.sum(axis=1, dtype=np.float64)[:, None] for t in (samples.a, samples.b))
    n_a, n_b = size_a.sum(), size_b.sum()
    if samples.paired:
        return np.sqrt(((a / n_a - b / n_b) ** 2).sum(axis=0))
    both = (a.sum(axis=0) + b.sum(axis=0)) / (n_a + n_b)
    squares = ((a - size_a * both) ** 2).sum(axis=0) + ((b - size_b * both) ** 2).sum(axis=0)
    groups = sum(samples.groups)
    return np.sqrt(groups / (groups - 2.0) * squares / n_a / n_b)


def share_differences(samples: TwoSamples) -> ShareDifferences:
    """Differences of shares, cell by cell, of counts `[group, 1, cell]`; NaN errors where the samples give none."""
    a, b = (total.ravel() for total in samples.totals())
    n_a, n_b = a.sum(), b.sum()
    with np.errstate(invalid="ignore"):
        p_a, p_b = a / n_a, b / n_b
    error, dof, pooled = np.full((3, a.size), np.nan)
    groups = sum(samples.groups)
    if samples.reason is None:
        sizes = [t.sum(axis=(1, 2), dtype=np.float64)[:, None] for t in (samples.a, samples.b)]
        for part in chunks(a.size, len(samples.a) + len(samples.b)):
            z_a = (samples.a[:, 0, part] - sizes[0] * p_a[part]) / n_a
            z_b = (samples.b[:, 0, part] - sizes[1] * p_b[part]) / n_b
            variance, dof[part] = samples.variance(z_a, -z_b)
            error[part] = np.sqrt(variance)
            if samples.paired:
                pooled[part] = 0.0
                continue
            squares = (n_a * z_a) ** 2, (n_b * z_b) ** 2
            both = squares[0].sum(axis=0) + squares[1].sum(axis=0)
            pooled[part] = np.sqrt(groups / (groups - 2.0) * both / n_a / n_b)
    difference = p_a - p_b
    # Equal shares leave rounding, which would look like an effect beside an error that is rounding too.
    error[error < 1e-13] = 0.0
    difference[np.abs(difference) < 1e-15] = 0.0
    return ShareDifferences(p_a, p_b, difference, error, dof, pooled)
