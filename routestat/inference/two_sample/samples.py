"""Two samples of groups of whole documents, and the scores of their difference.

Groups are the independent units. Paired, a group's documents are in both samples and its two tables go together
as one unit; otherwise every table is a unit of its own.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.errors import RoutestatError
from routestat.inference.base.chunks import chunks
from routestat.inference.base.estimate import effective_dof, group_correction, sandwich_variance
from routestat.inference.base.tables import Floats, read_only, whole_counts
from routestat.inference.base.units import log10_relabelling_floor, log10_sign_floor, too_few

#: Of totals `[batch, …]` of both samples, a number for each of the batch.
Statistic = Callable[[Floats, Floats], Floats]


@dataclass(frozen=True, slots=True, eq=False)
class TwoSamples:
    """Checked counts `[group, …]` of both samples without empty groups.

    Paired, row g of `a` and row g of `b` are the same documents, and a group is kept where either has tokens.
    """

    a: NDArray[np.integer]
    b: NDArray[np.integer]
    paired: bool

    @property
    def groups(self) -> tuple[int, int]:
        """Groups with tokens in each sample."""
        first, second = (int(np.count_nonzero(_seen(t))) for t in (self.a, self.b))
        return first, second

    @property
    def sizes(self) -> tuple[Floats, Floats]:
        """Counts of each group in each sample, `[group]`."""
        first, second = (t.sum(axis=tuple(range(1, t.ndim)), dtype=np.float64) for t in (self.a, self.b))
        return first, second

    @property
    def dofs(self) -> tuple[float, float]:
        """Degrees of freedom of an error from either sample's groups."""
        first, second = (effective_dof(size) for size in self.sizes)
        return first, second

    @property
    def pooled_dof(self) -> float:
        """Degrees of freedom of an error from the groups of both samples together, less one for the second mean."""
        return max(1.0, effective_dof(np.concatenate(self.sizes)) - 1.0)

    @property
    def reason(self) -> str | None:
        """Why nothing can be said about errors, or None."""
        if min(self.groups) == 0:
            return "one of the two has no tokens"
        return next((why for size in self.sizes if (why := too_few(size, "in one of the two"))), None)

    @property
    def log10_floor(self) -> float:
        """log10 of the least p-value: one in the relabellings of whole units, or paired in the patterns of swaps."""
        if self.paired:
            return log10_sign_floor(len(self.a))
        return log10_relabelling_floor(*self.groups)

    def totals(self) -> tuple[Floats, Floats]:
        """Return the sums over the groups."""
        return self.a.sum(axis=0, dtype=np.float64), self.b.sum(axis=0, dtype=np.float64)

    def together(self, a: Floats, b: Floats) -> Floats:
        """One row per independent unit, of what each sample gives for its groups `[group, …]`."""
        return a + b if self.paired else np.concatenate([a, b])

    def variance(self, a: Floats, b: Floats) -> tuple[Floats, Floats]:
        """Variance of a sum over both samples, given scores that sum to zero in each; and Student's degrees.

        G/(G-1) times the sum of squares; unpaired that of each sample, with Welch and Satterthwaite's degrees of
        freedom. Paired, a group's two scores are added first, each corrected for its own sample's groups; the degrees
        of freedom are those of the sample with fewer groups.
        """
        n_a, n_b = self.groups
        if self.paired:
            corrected = math.sqrt(group_correction(n_a)) * a + math.sqrt(group_correction(n_b)) * b
            spread = np.asarray((corrected**2).sum(axis=0), np.float64)
            return spread, np.full(np.shape(spread), min(self.dofs))
        first, second = sandwich_variance(a, n_a), sandwich_variance(b, n_b)
        return first + second, welch(first, second, *self.dofs)


def welch(first: ArrayLike, second: ArrayLike, dof_a: float, dof_b: float) -> Floats:
    """Compute the degrees of freedom of a sum of two variances that have dof_a and dof_b (Welch, Satterthwaite)."""
    first, second = np.asarray(first, dtype=np.float64), np.asarray(second, dtype=np.float64)
    whole = first + second
    # Shares of the whole: squares of small variances would underflow.
    share = np.divide(first, whole, out=np.full(whole.shape, 0.5), where=whole > 0)
    return 1.0 / (share**2 / dof_a + (1.0 - share) ** 2 / dof_b)


def two_samples(a: ArrayLike, b: ArrayLike, paired: bool, axes: int, alike: bool = True) -> TwoSamples:
    """Check counts of two samples, `axes` axes with the groups first, and drop empty groups.

    Raises
    ------
    RoutestatError
        For counts that are not whole, another number of axes, shapes that differ (where they have to be
        `alike`), or paired samples with different numbers of groups.
    """
    first, second = whole_counts(a, "a"), whole_counts(b, "b")
    if first.ndim != axes or second.ndim != axes:
        raise RoutestatError(
            f"a and b: expected {axes} axes, groups first, got shapes {first.shape} and {second.shape}; reshape them"
        )
    if alike and first.shape[1:] != second.shape[1:]:
        raise RoutestatError(
            f"a and b: expected the same states, got shapes {first.shape} and {second.shape}; "
            "only routers of one alphabet can be compared"
        )
    if paired and len(first) != len(second):
        raise RoutestatError(
            f"a and b: paired samples have the same groups, got {len(first)} and {len(second)}; align them"
        )
    seen = _seen(first), _seen(second)
    if paired:
        either = seen[0] | seen[1]
        return TwoSamples(read_only(first[either]), read_only(second[either]), True)
    return TwoSamples(read_only(first[seen[0]]), read_only(second[seen[1]]), False)


@dataclass(frozen=True, slots=True, eq=False)
class DifferenceScores:
    """Scores of the groups for a difference of distributions; see `difference_scores`.

    Attributes
    ----------
    gram
        Products of the groups' scores under the null `[group, group]`; all entries sum to Pearson's X2.
    bias
        What the pooled estimate adds to the sum of products of different groups under the null.
    chi2, dof
        Pearson's X2 of homogeneity, row by row, and its degrees of freedom over the cells in use.
    spread
        The linearised variance of the differences in units of what is expected: its mean over dof is the design
        effect. NaN with too few groups.
    shared
        Share of all counts that lie in rows which both samples have.
    """

    gram: Floats
    bias: float
    chi2: float
    dof: int
    spread: float
    shared: float


def difference_scores(samples: TwoSamples) -> DifferenceScores:
    """Compute the groups' scores under one distribution of the columns in every row, as their Gram matrix.

    `samples` hold counts `[group, row, column]`: one row for one distribution, a row per source for conditional
    ones. With r_s the counts of a row in sample s, r = r_a + r_b and p the pooled distribution of the row, the
    residual of a group is e = T_g - r_g p and its score s_g = e_ga / r_a - e_gb / r_b, weighted by sqrt(r_a r_b /
    (r p)); the scores sum to the weighted difference of the two distributions. Rows that one sample lacks are left
    out.

    The bias, for one row: let e0 = T_g - r_g p0 be about the true distribution, independent between groups with
    mean zero, f_g = e0_ga / r_a - e0_gb / r_b, h_g = e0_ga + e0_gb and q_g = r_ga / r_a - r_gb / r_b. As p - p0 =
    sum h / r, the score is f_g - q_g sum(h) / r; as q sums to zero, the scores sum to sum(f), whose expected square
    is sum E f_g.f_g, while their squares sum to that less 2 q_g E f_g.h_g / r plus q_g**2 E|sum h|**2 / r**2. The
    products of different groups hence sum to sum(2 q_g f_g.h_g / r - q_g**2 sum(h.h) / r**2) under the null,
    estimated with s_g and e_g for f_g and h_g. It is about 1/G of the scores' squares for whole distributions, and
    far more where rows are rare; paired documents of equal length have q = 0 and none.
    """
    rows = [t.sum(axis=2, dtype=np.float64) for t in (samples.a, samples.b)]
    r_a, r_b = (r.sum(axis=0) for r in rows)
    both = np.flatnonzero((r_a > 0) & (r_b > 0))
    r_a, r_b, rows = r_a[both], r_b[both], [r[:, both] for r in rows]
    r, testable = r_a + r_b, samples.reason is None
    units = len(samples.a) if samples.paired else len(samples.a) + len(samples.b)
    gram, chi2, dof, spread = np.zeros((units, units)), 0.0, 0, 0.0
    own = cross = np.zeros((units, both.size))
    for part in chunks(samples.a.shape[2], both.size * (len(samples.a) + len(samples.b))):
        tables = [t[:, both, part].astype(np.float64) for t in (samples.a, samples.b)]
        each = [t.sum(axis=0) / n[:, None] for t, n in zip(tables, (r_a, r_b), strict=True)]
        p = (each[0] * r_a[:, None] + each[1] * r_b[:, None]) / r[:, None]
        weight = np.divide((r_a * r_b / r)[:, None], p, out=np.zeros_like(p), where=p > 0) ** 0.5
        dof += int(np.count_nonzero(p))
        e_a, e_b = ((t - n[:, :, None] * p) * weight for t, n in zip(tables, rows, strict=True))
        score, pooled = samples.together(e_a / r_a[:, None], -e_b / r_b[:, None]), samples.together(e_a, e_b)
        flat = score.reshape(units, -1)
        gram += flat @ flat.T
        chi2 += float((flat.sum(axis=0) ** 2).sum())
        own = own + (pooled**2).sum(axis=2)
        cross = cross + (score * pooled).sum(axis=2)
        if testable:
            z_a, z_b = (
                (t - n[:, :, None] * q) * (weight / total[:, None])
                for t, n, q, total in zip(tables, rows, each, (r_a, r_b), strict=True)
            )
            spread += float(samples.variance(z_a, -z_b)[0].sum())
    q = samples.together(rows[0] / r_a, -rows[1] / r_b)
    bias = float((2.0 * q * cross / r - q**2 * own.sum(axis=0) / r**2).sum())
    # What is left where groups are all alike is rounding.
    least = 1e-12 * max(float(np.trace(gram)), 1e-6)
    everything = float(samples.a.sum(dtype=np.float64) + samples.b.sum(dtype=np.float64))
    return DifferenceScores(
        gram=read_only(gram),
        bias=bias,
        chi2=chi2,
        dof=dof - both.size,
        spread=(spread if spread > least else 0.0) if testable else math.nan,
        shared=float(r.sum()) / everything if everything else math.nan,
    )


def _seen(tables: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Which groups have tokens."""
    return np.asarray(tables.any(axis=tuple(range(1, tables.ndim))))
