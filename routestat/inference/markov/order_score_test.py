"""The clustered test of order 2 against order 1: only groups of documents are taken as independent."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from routestat.counting.kernels.strata import pair_products
from routestat.counting.strata import Strata, numbered, places_of
from routestat.inference.association.stratified import StratifiedIndependence
from routestat.inference.base.clustered_score_test import caution, score_test
from routestat.inference.base.pair_bias import MarginParts, pair_bias
from routestat.inference.base.tables import Floats
from routestat.inference.markov.order_tests import TIE, check_strata, nothing_to_test

# The bias of U over the standard deviation of the test. Measured at up to 120 states: up to 5 the level held, from 11
# on the test rejected far too often.
MOST_BIAS = 8.0
_FEW = "few tokens for so many states: the bias of estimated margins exceeds the test's standard deviation"


def clustered_order(strata: Strata) -> StratifiedIndependence:
    """Test the independence of target and source given the layer between; tokens of a group may be dependent.

    A token x, y, z adds to the score of its group, in every cell i, j of its own stratum y,
    (1[x = i] - p(i|y)) (1[z = j] - p(j|y)). The strata are not summed as in `stratified_independence`, so
    that a dependence with another direction in every stratum is found too: where z is a function of x and y but
    independent of either alone, it cancels in the sum. A dependence that the strata share is found more easily there,
    with fewer degrees of freedom.

    Parameters
    ----------
    strata
        As in `order_tests`. Groups are taken as independent; tokens within a group need not be.

    Returns
    -------
    StratifiedIndependence
        With a `note` where the bias of U by estimated margins exceeds the standard deviation of the test, and a
        `reason` instead of a p-value where it does so more than `MOST_BIAS` times.

    Raises
    ------
    RoutestatError
        For strata of the expert view.
    """
    check_strata(strata)
    nan, in_all = math.nan, int(np.unique(strata.tokens.group).size)
    kept = _testable(strata)
    if not len(kept.count):
        why = nothing_to_test(strata, "two sources, two targets and two groups of documents")
        return StratifiedIndependence(nan, nan, nan, strata.n_tokens, in_all, 0, why)
    y, count = kept.stratum, kept.count.astype(np.float64)
    row, column = y * kept.n_source + kept.source, y * kept.n_target + kept.target
    margins = (kept.sources, kept.n_source), (kept.targets, kept.n_target), (kept.tokens, 1)
    of_row, of_column, of_stratum = totals = [
        np.bincount(margin.stratum * states + margin.state, margin.count, kept.n_strata * states).astype(
            np.float64
        )
        for margin, states in margins
    ]
    # Z_g = T_g - r C_g' - R_g c' + n_g r c', weighed by 1 / (n r c): the products of the four parts fall together.
    gram = np.zeros((kept.n_groups, kept.n_groups))
    weight = count * np.sqrt(of_stratum[y] / (of_row[row] * of_column[column]))
    pair_products(row * kept.n_target + kept.target, kept.group, weight, gram)
    largest = float(np.trace(gram))
    for (margin, states), total, sign in zip(margins, totals, (-1.0, -1.0, 1.0), strict=True):
        key, part = margin.stratum * states + margin.state, np.zeros_like(gram)
        pair_products(key, margin.group, margin.count / np.sqrt(total[key]), part)
        gram += sign * part
    if np.trace(gram) < TIE * largest:
        gram[:] = 0.0
    bias, size = pair_bias(_parts(kept, totals), len(gram)), np.bincount(kept.group, count)
    test, used = score_test(gram, bias, size=size), kept.n_strata
    p, reason = (test.p, test.log10_p, test.nu), test.reason
    times = float(bias.sum()) * math.sqrt(test.nu / 2.0) / test.trace if test.nu > 0 else 0.0
    if times > MOST_BIAS:
        p, reason = (nan, nan, test.nu), f"too {_FEW} more than {MOST_BIAS:.0f} times"
    rough = f"{_FEW}, so the p-value is approximate" if 1.0 < times <= MOST_BIAS else None
    note = "; ".join(text for text in (caution(len(gram), test), rough) if text) or None
    return StratifiedIndependence(*p, strata.n_tokens, in_all, used, reason, note)


def _testable(strata: Strata) -> Strata:
    """Strata with two or more sources, targets and groups; a stratum of a single group relates it to no other."""
    several = np.bincount(strata.tokens.stratum, minlength=strata.n_strata) > 1
    for margin in (strata.sources, strata.targets):
        fresh = (np.diff(margin.stratum, prepend=-1) != 0) | (np.diff(margin.state, prepend=-1) != 0)
        several &= np.bincount(margin.stratum[fresh], minlength=strata.n_strata) > 1
    kept = several[strata.stratum]
    (stratum, n_strata), (group, n_groups) = numbered(strata.stratum[kept]), numbered(strata.group[kept])
    return replace(
        strata,
        stratum=stratum.astype(np.int64),
        source=strata.source[kept],
        target=strata.target[kept],
        group=group.astype(np.int64),
        count=strata.count[kept],
        n_strata=n_strata,
        n_groups=n_groups,
    )


def _parts(kept: Strata, totals: Sequence[Floats]) -> MarginParts:
    """Compute the deviations of the groups' margins inside every stratum, where group and stratum meet `[part]`.

    `totals` are the tokens of each source of a stratum, of each target and of the stratum.
    """
    groups, of, tokens = kept.n_groups, kept.tokens.stratum, kept.tokens.count
    n = totals[2]
    known, n_parts = of * groups + kept.tokens.group, kept.n_strata * groups
    lengths, pulls = [], []
    for margin, states, total, own in (
        (kept.sources, kept.n_source, totals[0], kept.source),
        (kept.targets, kept.n_target, totals[1], kept.target),
    ):
        key = margin.stratum * states + margin.state
        part = places_of(known, margin.stratum * groups + margin.group, n_parts)
        lengths.append(np.bincount(part, margin.count**2 / total[key]) * n[of] - tokens**2)
        # A margin's deviation over its share, in every cell.
        pull = margin.count * n[margin.stratum] / total[key] - tokens[part]
        cells = (kept.stratum * states + own) * groups + kept.group
        pulls.append(pull[places_of(key * groups + margin.group, cells, len(total) * groups)])
    part = places_of(known, kept.stratum * groups + kept.group, n_parts)
    return MarginParts(
        group=kept.tokens.group,
        stratum=of,
        share=tokens / n[of],
        rows=lengths[0] / n[of] ** 1.5,
        columns=lengths[1] / n[of] ** 1.5,
        crossed=np.bincount(part, kept.count * pulls[0] * pulls[1]) / n[of] ** 2,
    )
