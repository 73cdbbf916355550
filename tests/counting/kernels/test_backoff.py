"""Compiled loops of back-off, by hand and against plain loops."""

import math

import numpy as np

from routestat.counting.kernels.backoff import (
    draws_of_entries,
    left_out_entries,
    probabilities_without,
    summed,
)
from routestat.counting.kernels.draws import further_draws


def test_left_out_entries_by_hand() -> None:
    # Context 0 has cell 0, of three groups with 1, 1 and 2 tokens, and cell 1, of the first group alone with 3. Parts
    # are (context, group). Without the first group's tokens the context has 3 tokens of 1 target, without the second's
    # 6 of 2, without the third's 5 of 2.
    cell, part = np.array([[0, 0, 0, 1], [0, 1, 2, 0]], np.int32)
    count = np.array([1.0, 1.0, 2.0, 3.0])
    of_part, beyond, met, new, alone = left_out_entries(
        cell,
        part,
        np.zeros(3, np.int32),
        count,
        np.array([4.0, 3.0]),
        np.array([7.0]),
        np.array([2.0]),
        np.array([0.7, 0.2]),
    )
    assert of_part.tolist() == [4.0, 1.0, 2.0]
    assert beyond.tolist() == [3.0, 6.0, 5.0]
    # Tokens, what others have, base and the others' targets.
    assert met.T.tolist() == [[1, 3, 0.7, 1], [1, 3, 0.7, 2], [2, 2, 0.7, 2]]
    assert new.tolist() == [0, 3, 0]
    assert alone == 3 * math.log(0.2)


def test_like_entries_of_a_cell_are_taken_together_and_those_of_others_are_not() -> None:
    # Two cells of one context, each of the same four groups with one token each: all entries of a cell are alike.
    cell, part = np.repeat([0, 1], 4).astype(np.int32), np.tile(np.arange(4), 2).astype(np.int32)
    tokens, context = np.full(2, 4.0), np.zeros(4, np.int32)
    *_, met, new, alone = left_out_entries(
        cell, part, context, np.ones(8), tokens, np.array([8.0]), np.array([2.0]), np.array([0.5, 0.4])
    )
    assert met.T.tolist() == [[4, 3, 0.5, 2], [4, 3, 0.4, 2]]
    assert (new.sum(), alone) == (0, 0)


def test_probabilities_and_draws_are_those_of_plain_loops() -> None:
    rng = np.random.default_rng(0)
    context = np.repeat(np.arange(3), 2).astype(np.int32)
    part = np.sort(rng.integers(0, 6, 40)).astype(np.int32)
    cell, at = rng.integers(0, 9, 40).astype(np.int32), rng.integers(0, 5, 40).astype(np.int32)
    tokens, totals = rng.integers(3, 9, 9).astype(float), rng.integers(50, 90, 3).astype(float)
    own, base = rng.integers(1, 4, 40).astype(float), rng.random(5)
    whole, to_base = summed(part, own, 6), rng.random(6) + 1.0
    assert whole.tolist() == [own[part == p].sum() for p in range(6)]
    found = probabilities_without(
        *(cell, part, context, tokens, totals, own, whole, base, at, to_base, 2.0, 0.5)
    )
    for e in range(40):
        left = max(max(tokens[cell[e]] - own[e], 0.0) - 0.5, 0.0)
        rest = totals[context[part[e]]] - whole[part[e]] + 2.0
        assert math.isclose(found[e], (left + to_base[part[e]] * base[at[e]]) / rest, rel_tol=1e-13)
    weight, drawn = rng.random(9) + 0.1, np.empty(40)
    # Also runs of entries that are alike.
    own, further = np.repeat(own[::4], 4), np.repeat(rng.integers(1, 30, 20), 2).astype(float)
    cell = np.repeat(cell[::4], 4)
    further_draws(np.maximum(tokens[cell] - own, 0.0), further, weight[cell], drawn)
    np.testing.assert_array_equal(draws_of_entries(cell, tokens, own, further, weight), drawn)
