"""Which cells of a table depart from independence, with documents as the units and every cell a test."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from routestat.errors import RoutestatError
from routestat.inference.base.estimate import effective_dof, group_correction
from routestat.inference.base.moderated import moderated_square
from routestat.inference.base.multiplicity import adjust_log10
from routestat.inference.base.special import log10_t_tails
from routestat.inference.base.tables import Floats, Integers, contingency, expected_counts, read_only
from routestat.inference.base.units import log10_sign_floor, too_few


@dataclass(frozen=True, slots=True, eq=False)
class CellTests:
    """One clustered test per cell; see `cell_tests`.

    Attributes
    ----------
    z
        (observed - expected) in clustered standard errors (moderated), `[source, target]` over those kept.
    log10_p, log10_q
        Two-sided over Student's t with `effective_dof` degrees of freedom, never below 1 in 2**(G - 1), and
        adjusted after Benjamini and Yekutieli over all cells.
    rows, columns
        Which were kept.
    reason
        Why there is nothing, or None.
    """

    z: Floats
    log10_p: Floats
    log10_q: Floats
    rows: Integers
    columns: Integers
    reason: str | None = None


def cell_tests(tables: ArrayLike) -> CellTests:
    """Test every cell of a table against independence of source and target.

    A group's score in a cell is T_g - r C_g' - R_g c' + n_g (2 r c' - T/n), the linearised difference of the
    cell from its expectation; its variance comes from the groups. Adjusted residuals take tokens as independent
    instead, and are too large by the square root of the design effect. A cell that is seldom seen has groups that
    agree, on nothing: by its own spread alone every empty cell would be found. Half of the squared error is hence
    that of independent tokens, e (1 - r)(1 - c), times the design effect of all cells together.

    Parameters
    ----------
    tables
        Counts `[group, source, target]`; groups are independent, tokens within one need not be.

    Raises
    ------
    RoutestatError
        For tables without groups.

    References
    ----------
    Haberman (1973), Biometrics 29; Smyth (2004), SAGMB 3 (moderated t).
    """
    table = contingency(tables)
    if table.tables is None:
        raise RoutestatError(
            "tables: expected [group, source, target], got 2 axes; count per group of documents"
        )
    total, groups = table.total, int(table.groups.size)
    nothing = np.full(total.shape, np.nan)
    few = too_few(table.tables.sum(axis=(1, 2)))
    if few or min(total.shape, default=0) < 2:
        why = few or "one row or one column is in use, so there is nothing to test"
        return CellTests(read_only(nothing), nothing, nothing, table.rows, table.columns, why)
    n = total.sum()
    r, c = total.sum(axis=1) / n, total.sum(axis=0) / n
    square, sizes = np.zeros_like(total), 0.0
    for group in table.tables:
        size = group.sum()
        score = group - np.outer(r, group.sum(axis=0)) - np.outer(group.sum(axis=1), c)
        score = score + size * (2.0 * np.outer(r, c) - total / n)
        square += score**2
        sizes += float(size) ** 2
    expected = expected_counts(total)
    variance = expected * np.outer(n - total.sum(axis=1), n - total.sum(axis=0)) / n**2
    # Groups in equal proportions differ by rounding.
    if not square.sum() > 1e-24 * sizes:
        why = "the groups' tables are in equal proportions, so there is no variance to measure by"
        return CellTests(read_only(nothing), nothing, nothing, table.rows, table.columns, why)
    moderated, _ = moderated_square(square, variance)
    z = (total - expected) / np.sqrt(group_correction(groups) * moderated)
    log10_p = np.maximum(
        log10_t_tails(z, effective_dof(table.tables.sum(axis=(1, 2)))), log10_sign_floor(groups)
    )
    log10_q = adjust_log10(log10_p, "by")
    return CellTests(read_only(z), read_only(log10_p), log10_q, table.rows, table.columns)
