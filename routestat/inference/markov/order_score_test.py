"""The clustered test of order 2 against order 1: only groups of documents are taken as independent."""

import math

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from routestat.counting.strata import Strata
from routestat.inference.association.stratified import StratifiedIndependence
from routestat.inference.base.chunks import chunks
from routestat.inference.base.clustered_score_test import caution, score_test
from routestat.inference.base.pair_bias import MarginParts, pair_bias
from routestat.inference.base.tables import Floats
from routestat.inference.markov.order_tests import TIE, check_strata, nothing_to_test

# The bias of U over the standard deviation of the test. Measured at up to 120 states: up to 5 the level held, from 11
# on the test rejected far too often.
MOST_BIAS = 8.0
# Up to so many possible keys for each one at hand, a table of all is faster than sorting.
SPARSE = 64
# A key met by one of so many groups is multiplied as a dense column.
FEW_OF = 16
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
    kept, nan, in_all = _testable(strata)[strata.stratum], math.nan, int(np.unique(strata.group).size)
    if not kept.any():
        why = nothing_to_test(strata, "two sources, two targets and two groups of documents")
        return StratifiedIndependence(nan, nan, nan, strata.n_tokens, in_all, 0, why)
    y, x, z = strata.stratum[kept], strata.source[kept], strata.target[kept]
    row, column = y * strata.n_source + x, y * strata.n_target + z
    cell = _numbered(row * strata.n_target + z)[1]
    row, column, y, group = (_numbered(key)[1] for key in (row, column, y, strata.group[kept]))
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
    rough = f"{_FEW}, so the p-value is approximate" if 1.0 < times <= MOST_BIAS else None
    note = "; ".join(text for text in (caution(len(gram), test), rough) if text) or None
    return StratifiedIndependence(*p, strata.n_tokens, in_all, used, reason, note)


def _testable(strata: Strata) -> NDArray[np.bool_]:
    """Strata with two or more sources, targets and groups; a stratum of a single group relates it to no other."""
    several = np.ones(strata.n_strata, np.bool_)
    for state, size in (
        (strata.source, strata.n_source),
        (strata.target, strata.n_target),
        (strata.group, strata.n_groups),
    ):
        met = _numbered(strata.stratum * size + state)[0] // size
        several &= np.bincount(met, minlength=strata.n_strata) > 1
    return several


def _numbered(key: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the distinct keys in order, and the place of each key among them."""
    size = int(key.max(initial=-1)) + 1
    if size > SPARSE * len(key):
        return np.unique(key, return_inverse=True)
    met = np.zeros(size, np.bool_)
    met[key] = True
    names = np.flatnonzero(met)
    number = np.empty(size, np.int64)
    number[names] = np.arange(len(names))
    return names, number[key]


def _products(key: NDArray[np.int64], group: NDArray[np.int64], weight: Floats) -> Floats:
    """Sum over the keys the product of two groups' weights, `[group, group]`."""
    groups, (met, place) = int(group.max()) + 1, _numbered(key * (int(group.max()) + 1) + group)
    weight, key, group = np.bincount(place, weight, len(met)), met // groups, met % groups
    # Keys of many groups are multiplied as dense columns, those of few as sparse ones.
    many = np.bincount(key) * FEW_OF >= groups
    gram, full = np.zeros((groups, groups)), many[key]
    number = np.cumsum(many) - 1
    for at in chunks(int(many.sum()), groups):
        here = np.flatnonzero(full)
        here = here[(number[key[here]] >= at.start) & (number[key[here]] < at.stop)]
        dense = np.zeros((groups, at.stop - at.start))
        dense[group[here], number[key[here]] - at.start] = weight[here]
        gram += dense @ dense.T
    if not full.all():
        part = weight[~full], (group[~full], key[~full])
        weights = sparse.csr_array(part, shape=(groups, len(many)))
        gram += (weights @ weights.T).toarray()
    return gram


def _parts(
    row: NDArray[np.int64],
    column: NDArray[np.int64],
    stratum: NDArray[np.int64],
    group: NDArray[np.int64],
    count: Floats,
) -> MarginParts:
    """Compute the deviations of the groups' margins inside every stratum from the observed cells `[cell]`."""
    groups = int(group.max()) + 1
    # Parts are the tokens of one group in one stratum.
    names, part = _numbered(stratum * groups + group)
    tokens, of = np.bincount(part, count), names // groups
    n = np.bincount(of, tokens)
    lengths, pulls = [], []
    for key in (row, column):
        margins, place = _numbered(key * groups + group)
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
