"""Is the memory longer than one layer, where only groups of documents are independent?"""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from routestat.counting.strata import Strata
from routestat.inference.association.stratified import StratifiedIndependence
from routestat.inference.base.chunks import chunks
from routestat.inference.base.pair_bias import MarginParts, pair_bias
from routestat.inference.base.score_test import caution, score_test
from routestat.inference.base.tables import Floats
from routestat.inference.markov.order_tests import TIE, check_strata, nothing_to_test

# The bias of U over the chance of the test itself. Measured at up to 120 states: up to 5 the level held, from 11 on
# the test rejected many times as often as it should.
MOST_BIAS = 8.0
_FEW = "few tokens for so many states: what estimated margins do to the test exceeds its own chance"


def clustered_order(strata: Strata) -> StratifiedIndependence:
    """Is the target independent of the source given the layer between? Tokens of a group may depend on each other.

    A token x, y, z adds to the score of its group, in every cell i, j of its own stratum y,
    (1[x = i] - p(i|y)) (1[z = j] - p(j|y)). The strata are not added up as in `stratified_independence`, so a
    dependence that points another way in every stratum is found too: where z is a function of x and y, though of
    neither alone, all of it cancels there. One that the strata share is found more easily there, in its fewer
    directions.

    Parameters
    ----------
    strata
        As in `order_tests`. Groups are independent, tokens within one need not be.

    Returns
    -------
    StratifiedIndependence. Where what estimated margins add to U exceeds the chance of the test itself `note` says
    so; where it does more than `MOST_BIAS` times, its own error decides, and `reason` stands for the p-value.

    Raises
    ------
    RoutestatError
        For strata of the expert view.
    """
    check_strata(strata)
    kept, nan, in_all = _testable(strata)[strata.stratum], math.nan, int(np.unique(strata.group).size)
    if not kept.any():
        why = nothing_to_test(strata, "two sources, two targets and two groups of documents")
        return StratifiedIndependence(nan, nan, nan, strata.n_tokens, in_all, 0, why)
    y, x, z = strata.stratum[kept], strata.source[kept], strata.target[kept]
    row, column = y * strata.n_source + x, y * strata.n_target + z
    keys = row * strata.n_target + z, row, column, y, strata.group[kept]
    cell, row, column, y, group = (np.unique(key, return_inverse=True)[1] for key in keys)
    count = strata.count[kept].astype(np.float64)
    of_row, of_column, of_stratum = (np.bincount(key, count)[key] for key in (row, column, y))
    # Z_g = T_g - r C_g' - R_g c' + n_g r c', weighed by 1 / (n r c): the products of the four parts fall together.
    gram = _products(cell, group, count * np.sqrt(of_stratum / (of_row * of_column)))
    largest = float(np.trace(gram))
    for key, total, sign in ((row, of_row, -1.0), (column, of_column, -1.0), (y, of_stratum, 1.0)):
        gram += sign * _products(key, group, count / np.sqrt(total))
    if np.trace(gram) < TIE * largest:
        gram[:] = 0.0
    bias, size = pair_bias(_parts(row, column, y, group, count), len(gram)), np.bincount(group, count)
    test, used = score_test(gram, bias, size=size), int(y.max()) + 1
    p, reason = (test.p, test.log10_p, test.nu), test.reason
    times = float(bias.sum()) * math.sqrt(test.nu / 2.0) / test.trace if test.nu > 0 else 0.0
    if times > MOST_BIAS:
        p, reason = (nan, nan, test.nu), f"too {_FEW} more than {MOST_BIAS:.0f} times"
    rough = f"{_FEW}, so the p-value is rough" if 1.0 < times <= MOST_BIAS else None
    note = "; ".join(text for text in (caution(len(gram), test), rough) if text) or None
    return StratifiedIndependence(*p, strata.n_tokens, in_all, used, reason, note)


def _testable(strata: Strata) -> NDArray[np.bool_]:
    """Strata with two or more sources, targets and groups: one that a single group met ties it to no other."""
    several = np.ones(strata.n_strata, np.bool_)
    for state, size in (
        (strata.source, strata.n_source),
        (strata.target, strata.n_target),
        (strata.group, strata.n_groups),
    ):
        met = np.unique(strata.stratum * size + state) // size
        several &= np.bincount(met, minlength=strata.n_strata) > 1
    return several


def _products(key: NDArray[np.int64], group: NDArray[np.int64], weight: Floats) -> Floats:
    """Sums over the keys of the product of two groups' weights, `[group, group]`."""
    shape = int(group.max()) + 1, int(key.max()) + 1
    weights = sparse.csc_array((weight, (group, key)), shape=shape)
    gram = np.zeros((shape[0], shape[0]))
    for at in chunks(shape[1], shape[0]):
        part = weights[:, at]
        # Crowded keys want a dense partner, empty ones a sparse one.
        gram += part.tocsr() @ np.ascontiguousarray(part.toarray().T)
    return gram


def _parts(
    row: NDArray[np.int64],
    column: NDArray[np.int64],
    stratum: NDArray[np.int64],
    group: NDArray[np.int64],
    count: Floats,
) -> MarginParts:
    """How the margins of the groups deviate inside every stratum, from the cells that were seen `[cell]`."""
    groups = int(group.max()) + 1
    # Parts are the tokens of one group in one stratum.
    names, part = np.unique(stratum * groups + group, return_inverse=True)
    tokens, of = np.bincount(part, count), names // groups
    n = np.bincount(of, tokens)
    lengths, pulls = [], []
    for key in (row, column):
        margins, place = np.unique(key * groups + group, return_inverse=True)
        mine, whole = np.bincount(place, count), np.bincount(key, count)[margins // groups]
        part_of = np.empty(len(margins), np.int64)
        part_of[place] = part
        lengths.append(np.bincount(part_of, mine**2 / whole) * n[of] - tokens**2)
        # A margin's deviation over its share, in every cell.
        pulls.append((mine * n[of[part_of]] / whole - tokens[part_of])[place])
    return MarginParts(
        group=names % groups,
        stratum=of,
        share=tokens / n[of],
        rows=lengths[0] / n[of] ** 1.5,
        columns=lengths[1] / n[of] ** 1.5,
        crossed=np.bincount(part, count * pulls[0] * pulls[1]) / n[of] ** 2,
    )
