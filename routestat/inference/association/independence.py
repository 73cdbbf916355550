"""Independence of source and target, tested with whole documents as the independent units.

Chi-square tests that take every token as independent reject true independence on real traces nearly always. Here
each group of whole documents gives one score, and only the groups are taken as independent.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.inference.association.measures import (
    cramers_v,
    cramers_v_corrected,
    gk_lambda,
    gk_tau,
    theils_u,
)
from routestat.inference.base.clustered_score_test import caution, clustered_scores, score_test
from routestat.inference.base.special import chi2_tail, log10_chi2_tail
from routestat.inference.base.tables import (
    Contingency,
    Floats,
    Integers,
    contingency,
    expected_counts,
    pearson_residuals,
    read_only,
    standardised_residuals,
)
from routestat.inference.information.mutual_information import plugin_information

# Scores of all groups are made for this many cells at a time, so that wide tables need little memory beside them.
NO_GROUPS = "no groups were given; pass tables [group, source, target] for p-values that allow for documents"


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Independence:
    """Tests and effect sizes of one table of states; see `independence`.

    Attributes
    ----------
    n, dof
        Tokens, and degrees of freedom over the rows and columns in use.
    chi2, p_chi2, log10_p_chi2, g, p_g, log10_p_g
        Pearson's X2 and the likelihood ratio G2 without continuity correction, as if tokens were independent.
    mi_bits
        Plug-in mutual information in bits: G2 / (2 n ln 2).
    cramers_v, cramers_v_corrected
        Plain, and bias-corrected after Bergsma with n / design_effect tokens where groups were given.
    theils_u, gk_tau, gk_lambda
        Predicting the target from the source; `_reverse` the other way round.
    expected, residuals, adjusted_residuals
        `[source, target]` over the rows and columns kept.
    rows, columns
        Which rows and columns of the table were kept.
    n_groups
        Groups that held tokens; 0 where no groups were given.
    design_effect
        How many times the variance of independent tokens the table has, on average over its directions.
    p_clustered, log10_p_clustered, nu
        The second-order test with groups as the independent units, and its degrees of freedom.
    p_clustered_first_order, log10_p_clustered_first_order
        P(chi2_dof > chi2 / design_effect), not below the floor of the other. Too small where documents differ much
        in length.
    reason
        Why something is NaN that could have been a number, or None.
    note
        A caution about what was computed, or None.
    """

    n: int
    dof: int
    chi2: float
    p_chi2: float
    log10_p_chi2: float
    g: float
    p_g: float
    log10_p_g: float
    mi_bits: float
    cramers_v: float
    cramers_v_corrected: float
    theils_u: float
    theils_u_reverse: float
    gk_tau: float
    gk_tau_reverse: float
    gk_lambda: float
    gk_lambda_reverse: float
    expected: Floats
    residuals: Floats
    adjusted_residuals: Floats
    rows: Integers
    columns: Integers
    n_groups: int = 0
    design_effect: float = math.nan
    p_clustered: float = math.nan
    p_clustered_first_order: float = math.nan
    log10_p_clustered_first_order: float = math.nan
    log10_p_clustered: float = math.nan
    nu: float = math.nan
    reason: str | None = None
    note: str | None = None

    def summary(self) -> str:
        """Return the results as a table of text, one line each."""
        lines = [
            ("tokens, groups", f"{self.n}, {self.n_groups}"),
            ("rows x columns in use", f"{self.rows.size} x {self.columns.size}"),
            ("X2 i.i.d.", f"{self.chi2:.6g} on {self.dof} df, log10 p {self.log10_p_chi2:.4g}"),
            ("G2 i.i.d.", f"{self.g:.6g} on {self.dof} df, log10 p {self.log10_p_g:.4g}"),
            (
                "clustered",
                f"p {self.p_clustered:.4g}, log10 p {self.log10_p_clustered:.4g}, nu {self.nu:.4g}",
            ),
            ("clustered, first order", f"p {self.p_clustered_first_order:.4g}"),
            ("design effect", f"{self.design_effect:.4g}"),
            ("mutual information", f"{self.mi_bits:.6g} bits (plug-in)"),
            ("Cramer's V", f"{self.cramers_v:.4g}, corrected {self.cramers_v_corrected:.4g}"),
            ("Theil's U", f"{self.theils_u:.4g}, reverse {self.theils_u_reverse:.4g}"),
            ("Goodman-Kruskal tau", f"{self.gk_tau:.4g}, reverse {self.gk_tau_reverse:.4g}"),
            ("Goodman-Kruskal lambda", f"{self.gk_lambda:.4g}, reverse {self.gk_lambda_reverse:.4g}"),
        ]
        lines += [(name, text) for name, text in (("reason", self.reason), ("note", self.note)) if text]
        return "\n".join(f"{name:<24}{text}" for name, text in lines)


def independence(table: ArrayLike) -> Independence:
    """Measure and test the dependence of target on source in one table, i.i.d. and, given groups, clustered.

    Parameters
    ----------
    table
        Whole counts `[source, target]`, or `[group, source, target]` with groups of whole documents. Groups
        are taken as independent, tokens within one are not; the figures labelled i.i.d. take tokens as
        independent too. Empty rows, columns and groups are dropped before anything.

    Returns
    -------
    Independence. One row or column in use: dof 0, chi2 and g 0, p 1, and NaN for what would divide by zero
    (V; U, tau and lambda towards the side with one state). No tokens: NaN throughout. Without groups the
    clustered p-values are NaN, and so they are below `LEAST_UNITS` groups; with fewer than 2 so is the corrected V;
    `reason` says so.

    Raises
    ------
    RoutestatError
        For anything but such a table of whole counts.

    References
    ----------
    Rao & Scott (1984), Ann. Stat. 12; Bergsma (2013); Goodman & Kruskal (1954); Theil (1970).
    """
    kept = contingency(table)
    total, n = kept.total, int(kept.total.sum())
    dof = (kept.rows.size - 1) * (kept.columns.size - 1) if n else 0
    expectation = expected_counts(total)
    pearson = pearson_residuals(total, expectation)
    trivial = dof == 0
    chi2 = math.nan if n == 0 else 0.0 if trivial else float((pearson**2).sum())
    information = math.nan if n == 0 else 0.0 if trivial else plugin_information(total)
    g = 2.0 * n * information
    clustered: dict[str, Any] = {"reason": NO_GROUPS if n else "no tokens"}
    if kept.tables is not None and n:
        clustered = _clustered(kept, kept.tables, chi2, dof)
    effect = clustered.get("design_effect", math.nan) if kept.tables is not None and n else 1.0
    corrected = cramers_v_corrected(chi2, n, total.shape, effect)
    if math.isnan(corrected) and clustered["reason"] is None:
        clustered["reason"] = (
            "V is not corrected: the table is too large for so few tokens beside the design effect"
        )
    return Independence(
        n=n,
        dof=dof,
        chi2=chi2,
        p_chi2=chi2_tail(chi2, dof),
        log10_p_chi2=log10_chi2_tail(chi2, dof),
        g=g,
        p_g=chi2_tail(g, dof),
        log10_p_g=log10_chi2_tail(g, dof),
        mi_bits=information / math.log(2.0),
        cramers_v=cramers_v(chi2, n, total.shape),
        cramers_v_corrected=corrected,
        theils_u=theils_u(total, information),
        theils_u_reverse=theils_u(total.T, information),
        gk_tau=gk_tau(total),
        gk_tau_reverse=gk_tau(total.T),
        gk_lambda=gk_lambda(total),
        gk_lambda_reverse=gk_lambda(total.T),
        expected=read_only(expectation),
        residuals=read_only(pearson),
        adjusted_residuals=read_only(standardised_residuals(total, expectation)),
        rows=kept.rows,
        columns=kept.columns,
        n_groups=int(kept.groups.size),
        **clustered,
    )


def _clustered(kept: Contingency, tables: NDArray[np.integer], chi2: float, dof: int) -> dict[str, Any]:
    """Compute the fields of `Independence` that groups make possible."""
    groups, size = tables.shape[0], kept.sources.sum(axis=1)
    if dof == 0:
        why = "one row or one column is in use, so there is nothing to test"
        return {
            "design_effect": math.nan, "p_clustered": 1.0, "p_clustered_first_order": 1.0, "log10_p_clustered": 0.0,
            "log10_p_clustered_first_order": 0.0,
            "reason": why,
        }  # fmt: skip
    scores = clustered_scores(tables, kept.sources, kept.targets, size)
    test = score_test(scores.gram, scores.bias, size=size)
    effect = scores.spread / dof
    # No variance between groups at all: the first-order statistic is 0/0 or infinite, and has no meaning.
    scaled = chi2 / effect if effect > 0 else math.nan
    first = math.nan
    if math.isfinite(test.log10_floor) and effect > 0:
        first = max(log10_chi2_tail(scaled, dof), test.log10_floor)
    still = (
        "the groups' tables are in equal proportions, so there is no variance to scale by"
        if effect == 0
        else None
    )
    return {
        "design_effect": effect,
        "p_clustered": test.p,
        "p_clustered_first_order": 10.0**first,
        "log10_p_clustered_first_order": first,
        "log10_p_clustered": test.log10_p,
        "nu": test.nu,
        "reason": test.reason or still,
        "note": caution(groups, test),
    }
