"""Which cells of the joint table of three layers depart from independence, and from a chain of order 1.

The units are groups of whole documents, and every cell is a test.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from routestat.counting.three_layers import GroupedCells, ThreeLayers
from routestat.inference.base.chunks import chunks
from routestat.inference.base.estimate import effective_dof, group_correction
from routestat.inference.base.moderated import moderated_square
from routestat.inference.base.multiplicity import adjust_log10
from routestat.inference.base.special import log10_t_tails
from routestat.inference.base.tables import Floats, Integers, read_only
from routestat.inference.base.units import log10_sign_floor, too_few

#: Cells that are tested at most: those of which the chain expects most tokens.
MOST_TESTED = 1 << 15


@dataclass(frozen=True, slots=True, eq=False)
class CellDepartures:
    """Tests of cells against what a model expects of them, `[cell]`; NaN where a cell was not tested.

    Attributes
    ----------
    expected
        Tokens that the model expects.
    z
        (observed - expected) in clustered standard errors (moderated).
    log10_p, log10_q
        Two-sided over Student's t, never below the floor of sign patterns, and adjusted after Benjamini and Yekutieli
        over the cells that were tested.
    n_tested
        Cells that were.
    reason
        Why there is no test, or None.
    """

    expected: Floats
    z: Floats
    log10_p: Floats
    log10_q: Floats
    n_tested: int
    reason: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class ThreeLayerCells:
    """Tests of the cells of three layers; see `three_layer_cells`.

    Attributes
    ----------
    key
        Of the cells `[cell]`, as in `ThreeLayers.cells`; ascending.
    count
        Tokens in each.
    from_independence, from_chain
        Departures from P(x) P(y) P(z), and from P(x, y) P(y, z) / P(y).
    n_possible
        Cells whose first and middle, and middle and last choices both occur together.
    """

    key: Integers
    count: Integers
    from_independence: CellDepartures
    from_chain: CellDepartures
    n_possible: int


def three_layer_cells(layers: ThreeLayers, most: int = MOST_TESTED) -> ThreeLayerCells:
    """Test cells of the joint table of three layers x, y, z against independence and against the chain of order 1.

    Tested are the possible cells (those of x and y, and of y and z occur) of which the chain expects most tokens, at
    most `most` of them: which they are does not depend on how many tokens the cells hold. A group's score in a cell is
    the linearised difference of the cell from its expectation. Against the chain, which makes x and z independent given
    y, that is T(xyz) - p(z|y) T(xy) - p(x|y) T(yz) + T(y) (2 p(x|y) p(z|y) - p(xz|y)), and the groups are those with
    tokens in y. Half of the squared error is that of independent tokens times the design effect of all tested cells
    together, as in `cell_tests`. In the expert view tokens *include* x, y and z, and the chain makes the inclusion of
    x independent of that of z among the tokens that include y.

    Parameters
    ----------
    layers
        Groups are independent, tokens within one need not be.
    most
        Cells that are tested at most.

    References
    ----------
    Prum, Rodolphe & de Turckheim (1995), JRSS B 57 (words in Markov chains); Smyth (2004), SAGMB 3 (moderated t).
    """
    key, n_possible = _most_expected(layers, most)
    return ThreeLayerCells(
        key,
        layers.cells.counts(key),
        _from_independence(layers, key),
        _from_chain(layers, key),
        n_possible,
    )


def expected_of_chain(layers: ThreeLayers, key: Integers) -> Floats:
    """Compute the tokens that a chain of order 1 expects of these cells, n(x, y) n(y, z) / n(y), `[cell]`."""
    first, middle, last = layers.choices(key)
    of_pair = layers.first_middle.counts(middle * layers.sizes[0] + first)
    return np.asarray(
        of_pair / layers.middle.counts(middle) * layers.middle_last.counts(middle * layers.sizes[2] + last)
    )


def expected_of_independence(layers: ThreeLayers, key: Integers) -> Floats:
    """Compute the tokens that independent layers expect of these cells, n(x) n(y) n(z) / n**2, `[cell]`."""
    n = float(layers.n_tokens)
    shares = [part.counts(own) / n for part, own in _margins(layers, key)]
    return np.asarray(n * shares[0] * shares[1] * shares[2])


def _margins(layers: ThreeLayers, key: Integers) -> list[tuple[GroupedCells, Integers]]:
    parts = layers.first, layers.middle, layers.last
    return list(zip(parts, layers.choices(key), strict=True))


def _most_expected(layers: ThreeLayers, most: int) -> tuple[Integers, int]:
    """Return the keys of the possible cells of most expected tokens, ascending, and how many cells are possible."""
    kept, expected, possible = np.empty(0, np.int64), np.empty(0), 0
    pairs, steps, sizes = layers.first_middle, layers.middle_last, layers.sizes
    ends = [
        np.searchsorted(part.key // size, layers.middle.key, "right")
        for part, size in ((pairs, sizes[0]), (steps, sizes[2]))
    ]
    begins = [np.concatenate([[0], end[:-1]]) for end in ends]
    for place, (y, n) in enumerate(
        zip(layers.middle.key.tolist(), layers.middle.total.tolist(), strict=True)
    ):
        x, z = (slice(int(begin[place]), int(end[place])) for begin, end in zip(begins, ends, strict=True))
        cells = pairs.key[x][:, None] * sizes[2] + (steps.key[z] - y * sizes[2])[None, :]
        possible += cells.size
        kept = np.concatenate([kept, cells.ravel()])
        expected = np.concatenate([expected, np.outer(pairs.total[x] / n, steps.total[z]).ravel()])
        if len(kept) > 4 * most:
            best = np.sort(np.argsort(-expected, kind="stable")[:most])
            kept, expected = kept[best], expected[best]
    best = np.argsort(-expected, kind="stable")[:most]
    return np.sort(kept[best]), possible


def _from_independence(layers: ThreeLayers, key: Integers) -> CellDepartures:
    expected, size = expected_of_independence(layers, key), layers.tokens.astype(np.float64)
    if why := too_few(size):
        return _nothing(expected, why)
    n = size.sum()
    observed = layers.cells.counts(key)
    p, q, r = (part.counts(own) / n for part, own in _margins(layers, key))
    square = np.empty(len(key))
    for part in chunks(len(key), 4 * len(size)):
        score = layers.cells.by_group(key[part])
        shares = (q * r)[part], (p * r)[part], (p * q)[part]
        for (margin, own), share in zip(_margins(layers, key[part]), shares, strict=True):
            score -= share[:, None] * margin.by_group(own)
        score += np.outer(3.0 * expected[part] / n - observed[part] / n, size)
        square[part] = (score**2).sum(axis=1)
    # Of one token: the product of three indicators less its projections on each.
    variance = expected * (1.0 - p * q - p * r - q * r + 2.0 * p * q * r)
    used = variance > 1e-12 * np.maximum(expected, 1e-300)
    dof = np.full(len(key), effective_dof(size))
    return _tests(observed, expected, square, variance, used, np.full(len(key), len(size)), dof)


def _from_chain(layers: ThreeLayers, key: Integers) -> CellDepartures:
    expected, sizes = expected_of_chain(layers, key), layers.sizes
    if why := too_few(layers.tokens):
        return _nothing(expected, why)
    observed = layers.cells.counts(key)
    first, middle, last = layers.choices(key)
    in_middle = layers.middle.counts(middle)
    row = layers.first_middle.counts(middle * sizes[0] + first)
    column = layers.middle_last.counts(middle * sizes[2] + last)
    p, r = row / in_middle, column / in_middle
    strata = np.unique(middle)
    square, units, dof = np.empty(len(key)), np.zeros(len(key)), np.ones(len(key))
    usable = np.zeros(len(key), bool)
    for y, size in zip(strata.tolist(), layers.middle.by_group(strata), strict=True):
        own = np.flatnonzero(middle == y)
        there = size > 0
        if too_few(size) is None:
            usable[own], units[own], dof[own] = True, there.sum(), effective_dof(size)
    for part in chunks(len(key), 4 * len(layers.tokens)):
        score = layers.cells.by_group(key[part])
        score -= r[part, None] * layers.first_middle.by_group(middle[part] * sizes[0] + first[part])
        score -= p[part, None] * layers.middle_last.by_group(middle[part] * sizes[2] + last[part])
        pull = 2.0 * p[part] * r[part] - observed[part] / in_middle[part]
        score += pull[:, None] * layers.middle.by_group(middle[part])
        square[part] = (score**2).sum(axis=1)
    variance = expected * (1.0 - p) * (1.0 - r)
    # Where every token of y has one x, or one z, the cell can only equal its expectation.
    used = usable & (row < in_middle) & (column < in_middle)
    return _tests(observed, expected, square, variance, used, units, dof)


def _tests(
    observed: Integers,
    expected: Floats,
    square: Floats,
    variance: Floats,
    used: NDArray[np.bool_],
    units: NDArray[np.number],
    dof: Floats,
) -> CellDepartures:
    """Test the `used` cells by their groups' squared scores and the variances of independent tokens, `[cell]`."""
    if not used.any():
        return _nothing(expected, "no cell can differ from its expectation")
    moderated, effect = moderated_square(square, variance, used)
    if not effect > 1e-20:
        return _nothing(
            expected, "the groups' tables are in equal proportions, so there is no variance to measure by"
        )
    z = np.full(len(expected), math.nan)
    correction = np.array([group_correction(int(n)) for n in units[used]])
    z[used] = (observed - expected)[used] / np.sqrt(correction * moderated[used])
    floor = np.array([log10_sign_floor(int(n)) for n in units])
    log10_p = np.maximum(log10_t_tails(z, dof), floor)
    log10_p[~used] = math.nan
    return CellDepartures(
        read_only(expected),
        read_only(z),
        read_only(log10_p),
        adjust_log10(np.minimum(log10_p, 0.0), "by"),
        int(used.sum()),
    )


def _nothing(expected: Floats, why: str) -> CellDepartures:
    none = read_only(np.full(len(expected), math.nan))
    return CellDepartures(read_only(expected), none, none, none, 0, why)
