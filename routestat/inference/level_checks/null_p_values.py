"""P-values of the tests of independence and order where there is no effect, in the user's own documents.

The cases are made documents whose layers come from different documents (`routestat.counting.recombined_documents`); the
tests are those that the report rests on.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from routestat.counting.document_sample import Sample
from routestat.counting.experts import expert_rows
from routestat.counting.recombined_documents import group_tables, recombined_samples
from routestat.counting.strata import Strata, count_strata
from routestat.inference.association.expert_independence import independence_of_inclusions
from routestat.inference.association.independence import independence
from routestat.inference.base.special import chi2_tail
from routestat.inference.base.tables import Floats, read_only
from routestat.inference.information.inclusion_counts import inclusion_counts
from routestat.inference.markov.order_score_test import clustered_order
from routestat.traces.metadata import Router


@dataclass(frozen=True, slots=True, eq=False)
class PValues:
    """P-values of cases without an effect, one a draw.

    Attributes
    ----------
    clustered, iid
        Of the test with documents as units and of that with tokens as independent, `[draw]`; NaN where the test
        gave none.
    reasons
        Why there are none, one a draw that has none.
    """

    clustered: Floats
    iid: Floats
    reasons: tuple[str, ...] = ()


def independence_p_values(
    sample: Sample, source: Router, target: Router, rng: np.random.Generator, n: int, states: str = "subset"
) -> PValues:
    """P-values of independence, of `n` draws in which source and target are independent.

    Parameters
    ----------
    sample
        Whole documents.
    source, target
    rng
    n
    states
        "subset", tested by `independence`, or "expert", by `independence_of_inclusions`.
    """
    found = []
    if states == "expert":
        rows = {router.name: expert_rows(sample.columns[router.name], router) for router in (source, target)}
        sample = replace(sample, columns=rows)
    for made in recombined_samples(sample, source, target, rng, n):
        tables = group_tables(made, source, target, states)
        if states == "expert":
            wide = independence_of_inclusions(inclusion_counts(tables, source.top_k, target.top_k))
            found.append((wide.p_clustered, math.nan, wide.reason))
        else:
            test = independence(tables)
            found.append((test.p_clustered, test.p_chi2, test.reason))
    return _p_values(found)


def order_p_values(
    sample: Sample, source: Router, via: Router, target: Router, rng: np.random.Generator, n: int
) -> PValues:
    """P-values of order 2 against order 1, of `n` draws in which the target is independent of the source given `via`.

    Parameters
    ----------
    sample
        Whole documents, in the state view.
    source, via, target
        Three layers, in order of depth.
    rng
    n

    Notes
    -----
    The i.i.d. test is Pearson's X2, whose mean is right in sparse strata too. What the cases do not have: the two
    ends of one document repeat themselves at the same tokens; here each repeats itself at tokens of its own.
    """
    found: list[tuple[float, float, str | None]] = []
    for made in recombined_samples(sample, source, target, rng, n, via=via):
        strata = count_strata(made, source, target, via)
        if not strata.n_tokens:
            found.append((math.nan, math.nan, "no two documents make the same choice in the layer between"))
            continue
        test = clustered_order(strata)
        found.append((test.p_clustered, _pearson(strata), test.reason))
    return _p_values(found)


def _pearson(strata: Strata) -> float:
    """P-value of Pearson's X2 over all strata as if tokens were independent, that of `order_tests`; NaN without dof."""
    y, of_stratum = strata.stratum, np.bincount(strata.stratum, strata.count, strata.n_strata)
    keys = y * strata.n_source + strata.source, y * strata.n_target + strata.target
    rows, columns = (
        np.bincount(key, strata.count, strata.n_strata * size)
        for key, size in zip(keys, (strata.n_source, strata.n_target), strict=True)
    )
    used = [(side.reshape(strata.n_strata, -1) > 0).sum(axis=1) - 1 for side in (rows, columns)]
    dof = int((used[0] * used[1]).sum())
    if not dof:
        return math.nan
    cell = keys[0] * strata.n_target + strata.target
    first = np.flatnonzero(np.diff(cell, prepend=-1))
    observed = np.add.reduceat(strata.count, first)
    square = observed**2 * (of_stratum[y[first]] / (rows[keys[0][first]] * columns[keys[1][first]]))
    return chi2_tail(float(square.sum() - of_stratum.sum()), dof)


def _p_values(found: Sequence[tuple[float, float, str | None]]) -> PValues:
    clustered, iid = (np.array([case[side] for case in found], np.float64) for side in (0, 1))
    reasons = tuple(str(why) for p, _, why in found if not math.isfinite(p))
    return PValues(read_only(clustered), read_only(iid), reasons)
