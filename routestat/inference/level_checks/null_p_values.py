"""P-values of the tests of independence and order where there is no effect, in the user's own documents.

The cases are made documents whose layers come from different documents (`routestat.counting.recombined_documents`); the
tests are those that the report rests on.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from routestat.counting.document_sample import Sample
from routestat.counting.recombined_documents import group_tables, recombined_samples
from routestat.counting.strata import count_strata
from routestat.inference.association.expert_independence import independence_experts
from routestat.inference.association.independence import independence
from routestat.inference.base.tables import Floats, read_only
from routestat.inference.markov.order_score_test import clustered_order
from routestat.inference.markov.order_tests import order_tests
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
        "subset", tested by `independence`, or "expert", by `independence_experts`.
    """
    found = []
    for made in recombined_samples(sample, source, target, rng, n):
        counted = group_tables(made, source, target, states)
        if states == "expert":
            wide = independence_experts(counted.tables, counted.sources, counted.targets, counted.tokens)
            found.append((wide.p_clustered, math.nan, wide.reason))
        else:
            test = independence(counted.tables)
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
        iid = 10.0 ** order_tests(strata, made.n_documents, rng, resamples=0).log10_p_chi2_iid
        found.append((test.p_clustered, iid, test.reason))
    return _p_values(found)


def _p_values(found: Sequence[tuple[float, float, str | None]]) -> PValues:
    clustered, iid = (np.array([case[side] for case in found], np.float64) for side in (0, 1))
    reasons = tuple(str(why) for p, _, why in found if not math.isfinite(p))
    return PValues(read_only(clustered), read_only(iid), reasons)
