"""Independence of two routers in the expert view, where a token counts in k * k cells."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from routestat.errors import RoutestatError
from routestat.inference.base.clustered_score_test import (
    ClusteredScores,
    ScoreTest,
    caution,
    clustered_scores,
    score_test,
)
from routestat.inference.base.tables import Floats, Integers, read_only, whole_counts
from routestat.inference.information.inclusion_counts import InclusionCounts
from routestat.inference.information.mutual_information import mutual_information


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ExpertIndependence:
    """The clustered test of one table of experts; see `independence_experts`.

    Attributes
    ----------
    n, n_groups
        Tokens, and groups that held any.
    p_clustered, log10_p_clustered, nu
        The second-order test with groups as the independent units, and its degrees of freedom.
    mi_bits_plugin
        Plug-in mutual information in bits of a random source slot and a random target slot of one token.
    lift
        P(i and j included) / (P(i included) P(j included)), `[source, target]` over those kept.
    rows, columns
        Which source and target experts were kept: those that some token included.
    reason, note
        Why there is no p-value, and a caution about it; or None.
    """

    n: int
    n_groups: int
    p_clustered: float
    log10_p_clustered: float
    nu: float
    mi_bits_plugin: float
    lift: Floats
    rows: Integers
    columns: Integers
    reason: str | None = None
    note: str | None = None

    def summary(self) -> str:
        """Return the results as a table of text, one line each."""
        lines = [
            ("tokens, groups", f"{self.n}, {self.n_groups}"),
            ("experts in use", f"{self.rows.size} x {self.columns.size}"),
            (
                "clustered",
                f"p {self.p_clustered:.4g}, log10 p {self.log10_p_clustered:.4g}, nu {self.nu:.4g}",
            ),
            ("mutual information", f"{self.mi_bits_plugin:.6g} bits per pair of slots (plug-in)"),
        ]
        lines += [(name, text) for name, text in (("reason", self.reason), ("note", self.note)) if text]
        return "\n".join(f"{name:<24}{text}" for name, text in lines)


def independence_experts(
    tables: ArrayLike, source_inclusions: ArrayLike, target_inclusions: ArrayLike, tokens: ArrayLike
) -> ExpertIndependence:
    """Test whether the experts of a token at the target depend on those at the source.

    A token with k experts at each end counts in k * k cells, so the total is no sample size and no chi-square
    distribution of independent tokens applies. The scores of `clustered_scores` need none: a token adds
    (1[i included] - r_i)(1[j included] - c_j) to cell i, j, with mean zero when the two sets are independent,
    r and c being the rates of inclusion. There is hence no dof, design effect or first-order form.

    Parameters
    ----------
    tables
        `[group, source, target]`: how many of the group's tokens included i at the source and j at the target.
    source_inclusions, target_inclusions
        `[group, source]` and `[group, target]`: how many of the group's tokens included each.
    tokens
        `[group]`. Groups are taken as independent, tokens within one are not. Groups without tokens and experts
        that no token included are dropped first.

    Raises
    ------
    RoutestatError
        For counts that are not whole, shapes that do not fit, or more inclusions than tokens.
    """
    cells, rows, columns, size = _expert_counts(tables, source_inclusions, target_inclusions, tokens)
    groups = np.flatnonzero(size)
    kept_i, kept_j = np.flatnonzero(rows.any(axis=0)), np.flatnonzero(columns.any(axis=0))
    cells = cells[np.ix_(groups, kept_i, kept_j)]
    rows, columns, size = rows[np.ix_(groups, kept_i)], columns[np.ix_(groups, kept_j)], size[groups]
    scores = clustered_scores(cells, rows, columns, size) if kept_i.size and kept_j.size else None
    total = cells.sum(axis=0, dtype=np.int64).astype(np.float64)
    information = mutual_information(total) if total.any() else math.nan
    expectation = np.outer(rows.sum(axis=0), columns.sum(axis=0)) / max(size.sum(), 1.0)
    return _result(scores, size, total, expectation, information, (kept_i, kept_j))


def independence_of_inclusions(of: InclusionCounts) -> ExpertIndependence:
    """Test as `independence_experts` does, of tables that were checked and added up already."""
    scores = of.scores if of.total.size else None
    bits = of.plugin / math.log(2.0) if of.total.size else math.nan
    expectation = np.outer(of.sources.sum(axis=0), of.targets.sum(axis=0)) / max(int(of.tokens.sum()), 1)
    return _result(scores, of.tokens, of.total, expectation, bits, (of.rows, of.columns))


def _result(
    scores: ClusteredScores | None,
    size: NDArray[np.number],
    total: Floats,
    expectation: Floats,
    information: float,
    kept: tuple[Integers, Integers],
) -> ExpertIndependence:
    if scores is None:
        test = ScoreTest(math.nan, math.nan, math.nan, math.nan, math.nan, "no token included any expert")
    else:
        test = score_test(scores.gram, scores.bias, size=size)
    return ExpertIndependence(
        n=int(size.sum()),
        n_groups=int(size.size),
        p_clustered=test.p,
        log10_p_clustered=test.log10_p,
        nu=test.nu,
        mi_bits_plugin=information,
        lift=read_only(total / expectation),
        rows=read_only(kept[0]),
        columns=read_only(kept[1]),
        reason=test.reason,
        note=caution(int(size.size), test),
    )


def _expert_counts(
    tables: ArrayLike, source: ArrayLike, target: ArrayLike, tokens: ArrayLike
) -> tuple[NDArray[np.integer], Floats, Floats, Floats]:
    cells = whole_counts(tables, "tables")
    rows = whole_counts(source, "source_inclusions").astype(np.float64)
    columns = whole_counts(target, "target_inclusions").astype(np.float64)
    size = whole_counts(tokens, "tokens").astype(np.float64)
    if cells.ndim != 3 or (rows.shape, columns.shape, size.shape) != (
        cells.shape[:2],
        (cells.shape[0], cells.shape[2]),
        cells.shape[:1],
    ):
        raise RoutestatError(
            "tables: expected [group, source, target] with inclusions [group, source], [group, target] and tokens "
            f"[group], got {cells.shape}, {rows.shape}, {columns.shape} and {size.shape}; align them"
        )
    if (rows > size[:, None]).any() or (columns > size[:, None]).any():
        raise RoutestatError(
            "inclusions: expected at most one per token, got more; count each expert once a token"
        )
    if (cells > rows[:, :, None]).any() or (cells > columns[:, None, :]).any():
        raise RoutestatError(
            "tables: expected no cell above its expert's inclusions, got one; count the same tokens"
        )
    return cells, rows, columns, size
