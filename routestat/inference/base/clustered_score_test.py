"""Scores of groups of whole documents: the tests that need no model of what goes on inside a document.

Each group gives one score, and only the groups are taken as independent.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from routestat.counting.kernels.pair_tables import centred_block
from routestat.inference.base.chunks import MULTIPLIED, chunks
from routestat.inference.base.estimate import group_correction
from routestat.inference.base.pair_bias import MarginParts, pair_bias
from routestat.inference.base.special import log10_chi2_tail
from routestat.inference.base.tables import Floats, for_loops, read_only
from routestat.inference.base.units import FEW_UNITS, LEAST_UNITS, log10_sign_floor, shown_power, too_few

FEW_GROUPS = FEW_UNITS
_LN10 = math.log(10.0)
# Below it the chi-square distribution of three moments is the normal one for all that matters.
LEAST_SKEWNESS = 0.01


@dataclass(frozen=True, slots=True)
class ScoreTest:
    """The clustered test of second order on scores of independent groups; see `score_test`.

    Attributes
    ----------
    p, log10_p, nu
        The p-value, its log10 (finite) and the effective number of directions, trace**2 / sum of products**2.
    trace, cross
        tr, the sum of the scores' squares, and U_c, the centred sum of products of different groups' scores.
    reason
        Why there is no p-value, or None.
    log10_floor
        log10 of the least p-value that so many units can show.
    """

    p: float
    log10_p: float
    nu: float
    trace: float
    cross: float
    reason: str | None = None
    log10_floor: float = math.nan

    @property
    def at_floor(self) -> bool:
        """Whether the p-value is the least that the units can show."""
        return self.log10_p <= self.log10_floor


def score_test(
    gram: Floats,
    bias: float | Floats = 0.0,
    *,
    size: ArrayLike | None = None,
    log10_floor: float | None = None,
) -> ScoreTest:
    """Test that scores of independent groups have mean zero, by the products of different groups' scores.

    With M the Gram matrix of the scores, the statistic is U_c, the sum of M_gh over g != h less its bias. The
    products have mean zero under the null whatever goes on inside a group, so U_c needs no model of that. It is
    referred to the distribution that random signs of the scores give it, of mean 0, variance 2 sum of M_gh**2 and
    third cumulant 8 sum of M_gh M_hl M_lg (g, h, l different), by the chi-square distribution of those three
    moments; by the normal one where the third is not positive. For scores of few directions and many groups that
    is P(chi2_nu > nu (1 + U_c / tr)) with nu = tr**2 / sum of M_gh**2. The p-value is never below the floor.

    Parameters
    ----------
    gram
        M `[group, group]`, products of the groups' scores *under the null*, not centred on their own mean
        (centred scores sum to zero, and U would be -tr whatever the data).
    bias
        What estimated margins add to U under the null; or to each product `[group, group]`, which then takes no
        part in the reference distribution either.
    size
        Tokens `[group]`, where they are known: very unequal units are worth fewer (see `too_few`).
    log10_floor
        log10 of the least p-value that the units can show; by default that of sign patterns, 1 in 2**(G - 1).

    References
    ----------
    Hall (1983), Biometrika 70; Buckley & Eagleson (1988), Austral. J. Statist. 30 (three moments of quadratic forms).
    """
    nan, groups = math.nan, gram.shape[0]
    if why := too_few(np.ones(groups) if size is None else size):
        return ScoreTest(nan, nan, nan, nan, nan, why)
    trace, pairs = float(np.trace(gram)), gram - bias if isinstance(bias, np.ndarray) else gram.copy()
    np.fill_diagonal(pairs, 0.0)
    cross = float(pairs.sum()) - (0.0 if isinstance(bias, np.ndarray) else bias)
    off = float((pairs**2).sum())
    # Scores of exact independence are rounding left over from counts; their Gram matrix is that squared.
    if not trace > 1e-18:
        return ScoreTest(1.0, 0.0, nan, trace, cross, "every group's table equals its expectation exactly")
    if not off > 1e-24 * trace * trace:
        why = "no two groups have scores in common, so the spread of their products is unknown"
        return ScoreTest(nan, nan, nan, trace, cross, why)
    # Pairs are symmetric; their product with the transpose takes half the work.
    floor = log10_sign_floor(groups) if log10_floor is None else log10_floor
    log10_p = log10_score_p(cross, off, float(((pairs @ pairs.T) * pairs).sum()), floor)
    return ScoreTest(10.0**log10_p, log10_p, trace * trace / off, trace, cross, None, floor)


def log10_score_p(cross: float, squares: float, cubes: float, log10_floor: float) -> float:
    """Compute log10 p of a score test from the sums over different groups that define it; see `score_test`.

    Parameters
    ----------
    cross, squares, cubes
        U_c, the sum of M_gh**2 and that of M_gh M_hl M_lg.
    log10_floor
        log10 of the least p-value that the units can show.
    """
    skewness = 8.0 * cubes / (2.0 * squares) ** 1.5
    return max(log10_tail(cross / math.sqrt(2.0 * squares), skewness), log10_floor)


def log10_tail(z: float, skewness: float) -> float:
    """log10 P(Z > z) of a standardised chi-square distribution of this skewness; normal where that is not above 0.01.

    A quadratic form in signs can have a negative skewness, and its right tail is then lighter than the normal one.
    """
    if skewness < LEAST_SKEWNESS:
        return float(special.log_ndtr(-z)) / _LN10
    dof = 8.0 / skewness**2
    return log10_chi2_tail(dof + z * math.sqrt(2.0 * dof), dof)


def log10_score_ps(cross: Floats, squares: Floats, cubes: Floats, log10_floors: Floats) -> Floats:
    """Compute `log10_score_p` of many tests, element by element."""
    z, skewness = cross / np.sqrt(2.0 * squares), 8.0 * cubes / (2.0 * squares) ** 1.5
    found = special.log_ndtr(-z) / _LN10
    skewed = np.flatnonzero(skewness >= LEAST_SKEWNESS)
    dof = 8.0 / skewness[skewed] ** 2
    statistic = dof + z[skewed] * np.sqrt(2.0 * dof)
    tail = np.where(statistic > 0, special.gammaincc(dof / 2.0, np.maximum(statistic, 0.0) / 2.0), 1.0)
    found[skewed] = np.log10(np.maximum(tail, 1e-290))
    for at in np.flatnonzero(tail <= 1e-290).tolist():
        found[skewed[at]] = log10_chi2_tail(float(statistic[at]), float(dof[at]))
    return np.asarray(np.maximum(found, log10_floors))


@dataclass(frozen=True, slots=True, eq=False)
class ClusteredScores:
    """What the groups' scores under independence come to; see `clustered_scores`.

    Attributes
    ----------
    gram
        M_gh = W_g . W_h `[group, group]`; all its entries sum to Pearson's X2.
    bias
        What the estimated margins add to each M_gh with g != h under the null `[group, group]`; see `pair_bias`.
    spread
        tr of the scores centred on their mean, times G/(G-1): the linearised variance of the table in units of
        its expectation, from which the design effect. NaN with one group.
    """

    gram: Floats
    bias: Floats
    spread: float


def clustered_scores(
    tables: NDArray[np.integer], source: ArrayLike, target: ArrayLike, tokens: ArrayLike
) -> ClusteredScores:
    """Scores of the groups under independence of source and target, as their Gram matrix.

    Z_g = T_g - r C_g' - R_g c' + n_g r c', W_g = Z_g / sqrt(n r c'): the group's sum over its tokens of
    (1[source i] - r_i)(1[target j] - c_j). That is the same whether a token has one state or includes k
    experts, so both views of a layer come here. The scores under the null sum to T - n r c'; those centred on
    their mean, Z_g - n_g/n (T - n r c') = T_g - r C_g' - R_g c' + n_g (2 r c' - T/n), give the spread.

    Parameters
    ----------
    tables
        Counts `[group, source, target]`, without empty groups, rows or columns.
    source, target
        How many of the group's tokens had (or included) each, R `[group, source]` and C `[group, target]`.
    tokens
        n_g `[group]`, above zero.
    """
    rows, columns = np.asarray(source, dtype=np.float64), np.asarray(target, dtype=np.float64)
    size = np.asarray(tokens, dtype=np.float64)
    n = size.sum()
    r, c = rows.sum(axis=0) / n, columns.sum(axis=0) / n
    own_r, own_c = rows - size[:, None] * r, columns - size[:, None] * c
    gram, crossed = np.zeros((size.size, size.size)), np.zeros(size.size)
    cells = for_loops(tables)
    scales, pulls = 1.0 / np.sqrt(n * np.outer(r, c)), (own_r / r, own_c / c)
    for part in chunks(r.size, size.size * c.size, MULTIPLIED):
        # T - r C' - R c' + n r c' with one product fewer: R c' - n r c' = (R - n r) c'.
        w = np.empty((size.size, len(r[part]), c.size))
        centred_block(cells, part.start, r, c, own_r, columns, *pulls, scales, crossed, w)
        flat = w.reshape(size.size, -1)
        gram += flat @ flat.T
    share = size / n
    balance = (share**2).sum()
    if size.size < 2:
        return ClusteredScores(read_only(gram), np.zeros((size.size, size.size)), math.nan)
    parts = MarginParts(
        group=np.arange(size.size),
        stratum=np.zeros(size.size, np.int64),
        share=share,
        rows=(own_r**2 / r).sum(axis=1) / n**1.5,
        columns=(own_c**2 / c).sum(axis=1) / n**1.5,
        crossed=crossed / n**2,
    )
    spread = float(np.trace(gram) - 2.0 * share @ gram.sum(axis=1) + balance * gram.sum())
    # Groups in equal proportions have no spread; what the subtraction leaves then is rounding.
    spread = spread * group_correction(size.size) if spread > 1e-12 * np.trace(gram) else 0.0
    return ClusteredScores(read_only(gram), read_only(pair_bias(parts, size.size)), spread)


def few_groups(groups: int, log10_floor: float = math.nan) -> str | None:
    """Return a caution where there are few units, with the least p-value they can show if a test has one."""
    if not LEAST_UNITS <= groups < FEW_UNITS:
        return None
    least = f" and p cannot be below {shown_power(log10_floor)}" if math.isfinite(log10_floor) else ""
    return f"only {groups} groups of documents: the clustered figures are approximate{least}"


def caution(groups: int, test: ScoreTest) -> str | None:
    """Return what to note beside a test: that its units are few, and that its p-value is the least they can show."""
    if not math.isfinite(test.log10_p):
        return None
    few = few_groups(groups, test.log10_floor)
    if not test.at_floor:
        return few
    floor = f"p is at its floor: {groups} units cannot give less than {shown_power(test.log10_floor)}"
    return f"{few}; {floor}" if few else floor
