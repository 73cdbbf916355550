"""The clustered test of survey statistics, as R's `svychisq` prints it: right for small tables and many documents.

For tables of states use `independence`, whose second-order test does not need fewer cells than documents.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg, special

from routestat.errors import RoutestatError
from routestat.inference.base.clustered_score_test import few_groups
from routestat.inference.base.estimate import group_correction
from routestat.inference.base.special import chi2_tail
from routestat.inference.base.tables import Floats, contingency, expected_counts, pearson_residuals, read_only


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class RaoScott:
    """Rao and Scott's tests of one table of states; see `rao_scott`.

    Attributes
    ----------
    n, n_groups, dof
        Tokens, groups that held any, and (rows - 1)(columns - 1) over those in use.
    chi2
        Pearson's X2 of the summed table.
    f, ndf, ddf, p
        The second-order test: f = chi2 / sum of eigenvalues, p = P(F_ndf,ddf > f).
    chi2_first_order, p_first_order
        chi2 over the mean eigenvalue, and its tail on dof degrees of freedom.
    eigenvalues
        The design effects of the table's own directions, falling, `[dof]`; all one for independent tokens.
    reason
        Why figures are NaN, or None.
    note
        A caution about what was computed, or None.
    """

    n: int
    n_groups: int
    dof: int
    chi2: float
    f: float = math.nan
    ndf: float = math.nan
    ddf: float = math.nan
    p: float = math.nan
    chi2_first_order: float = math.nan
    p_first_order: float = math.nan
    eigenvalues: Floats
    reason: str | None = None
    note: str | None = None

    def summary(self) -> str:
        """Return the results as a table of text, one line each."""
        lines = [
            ("tokens, groups", f"{self.n}, {self.n_groups}"),
            ("X2 i.i.d.", f"{self.chi2:.6g} on {self.dof} df"),
            ("second order", f"F {self.f:.6g} on {self.ndf:.5g} and {self.ddf:.5g} df, p {self.p:.4g}"),
            ("first order", f"X2 {self.chi2_first_order:.6g} on {self.dof} df, p {self.p_first_order:.4g}"),
        ]
        lines += [(name, text) for name, text in (("reason", self.reason), ("note", self.note)) if text]
        return "\n".join(f"{name:<24}{text}" for name, text in lines)


def rao_scott(tables: ArrayLike) -> RaoScott:
    """Rao and Scott's tests of independence with groups of documents as the clusters of a survey.

    The eigenvalues of (C' D^-1 C)^-1 (C' D^-1 V D^-1 C) n say how many times the variance of independent tokens
    the log odds of the table have, direction by direction: D holds the observed shares of the cells, V is their
    covariance G/(G-1) sum of psi_g psi_g' with psi_g = (T_g - n_g p) / n, and C spans the interactions. Second
    order: ndf = (sum of eigenvalues)**2 / sum of their squares, ddf = (G - 1) ndf.

    Parameters
    ----------
    tables
        Whole counts `[group, source, target]`; groups are independent, tokens within one need not be. Empty
        rows, columns and groups are dropped before anything.

    Returns
    -------
    RaoScott. Refused, with NaN and a `reason`, where dof >= G: V then has no full rank, its eigenvalues are
    those of the sample and not of the population, and the test rejects nothing at all.

    Raises
    ------
    RoutestatError
        For anything but such tables of whole counts.

    References
    ----------
    Rao & Scott (1984), On chi-squared tests for multiway contingency tables with cell proportions estimated
    from survey data. Ann. Stat. 12. Figures equal those of R's `survey::svychisq(statistic = "F")` and
    `"Chisq"` with one row per token.
    """
    kept = contingency(tables)
    if kept.tables is None:
        raise RoutestatError(
            "tables: expected [group, source, target], got 2 axes; count per group of documents"
        )
    n, groups = int(kept.total.sum()), int(kept.groups.size)
    dof = (kept.rows.size - 1) * (kept.columns.size - 1) if n else 0
    chi2 = float((pearson_residuals(kept.total, expected_counts(kept.total)) ** 2).sum()) if n else math.nan
    reason = _refusal(n, groups, dof)
    values = np.empty(0)
    if reason is None:
        values, reason = _design_effects(kept.tables, kept.total)
    if reason is not None:
        return RaoScott(
            n=n, n_groups=groups, dof=dof, chi2=chi2, eigenvalues=read_only(values[:0]), reason=reason
        )
    scale = float(values.sum())
    ndf = scale**2 / float(values @ values)
    ddf = ndf * (groups - 1)
    first = chi2 * dof / scale
    return RaoScott(
        n=n,
        n_groups=groups,
        dof=dof,
        chi2=chi2,
        f=chi2 / scale,
        ndf=ndf,
        ddf=ddf,
        p=float(special.fdtrc(ndf, ddf, chi2 / scale)),
        chi2_first_order=first,
        p_first_order=chi2_tail(first, dof),
        eigenvalues=read_only(values),
        note=few_groups(groups),
    )


def _refusal(n: int, groups: int, dof: int) -> str | None:
    if n == 0:
        return "no tokens"
    if dof == 0:
        return "one row or one column is in use, so there is nothing to test"
    if groups < 2:
        return f"a clustered test needs at least 2 groups of documents with tokens, got {groups}"
    if dof >= groups:
        return (
            f"{dof} degrees of freedom and only {groups} groups: the plug-in variance has not full rank and the "
            "test collapses; use independence"
        )
    return None


def _design_effects(tables: NDArray[np.integer], total: Floats) -> tuple[Floats, str | None]:
    """Eigenvalues `[dof]`, falling, or why there are none."""
    n, groups = total.sum(), tables.shape[0]
    # Cells that were never seen have neither a log nor a variance; R gives them weight zero as well.
    weight = np.divide(n, total, out=np.zeros_like(total), where=total > 0)
    rows, columns = (linalg.helmert(size) for size in total.shape)
    spread = np.einsum("ia,ka,ab,jb,lb->ijkl", rows, rows, weight, columns, columns, optimize=True)
    dof = rows.shape[0] * columns.shape[0]
    sizes = tables.sum(axis=(1, 2), keepdims=True)
    scores = rows @ ((tables - sizes * (total / n)) * weight) @ columns.T
    flat = scores.reshape(groups, dof)
    try:
        # spread is C' D^-1 C; the variance of n independent tokens' shares is that over n.
        values = linalg.eigh(flat.T @ flat, spread.reshape(dof, dof), eigvals_only=True)
    except linalg.LinAlgError:
        return np.empty(0), "too many empty cells: some interactions are not in the table at all"
    values = np.maximum(values[::-1], 0.0) * group_correction(groups) / n
    if not values[0] > 1e-15:
        return np.empty(0), "every group holds the same shares, so there is no variance to compare with"
    return values, None
