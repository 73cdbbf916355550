"""Joint counts of three routers, by hand and against the tokens one by one."""

from collections import Counter

import numpy as np
import pytest

from routestat.counting.three_layers import GroupedCells, count_three_layers
from routestat.errors import RoutestatError
from tests.counting.three_layer_traces import random_sample, sample_of, tokens_of
from tests.oracle import triples_oracle as oracle


def cells_of(layers):
    """Counts by (x, y, z) and group."""
    x, y, z = layers.choices(layers.cells.keys)
    return Counter(
        {
            ((a, b, c), g): n
            for a, b, c, g, n in zip(
                *(v.tolist() for v in (x, y, z, layers.cells.group, layers.cells.count)), strict=True
            )
        }
    )


def test_counted_by_hand():
    states = np.array([[0, 1, 2], [0, 1, 2], [0, 1, 3], [0, 1, 2], [3, 0, 0]])
    layers = count_three_layers(*_three(sample_of(states, [3, 2], 4, 1)), "subset")
    assert cells_of(layers) == {((0, 1, 2), 0): 2, ((0, 1, 3), 0): 1, ((0, 1, 2), 1): 1, ((3, 0, 0), 1): 1}
    assert layers.documents.tolist() == [1, 2, 1]
    assert layers.cells.total.tolist() == [1, 3, 1]
    assert (layers.n_tokens, layers.n_documents, layers.tokens.tolist()) == (5, 2, [3, 2])
    assert layers.first_middle.key.tolist() == [0 * 4 + 3, 1 * 4 + 0]
    assert layers.first_middle.total.tolist() == [1, 4]
    assert layers.middle_last.total.tolist() == [1, 3, 1]
    assert layers.first_last.key.tolist() == [2, 3, 12]
    assert layers.first_last.total.tolist() == [3, 1, 1]
    assert layers.first.key.tolist() == [0, 3]
    assert layers.middle.total.tolist() == [1, 4]
    assert layers.last.by_group(np.array([2, 1])).tolist() == [[2, 1], [0, 0]]


@pytest.mark.parametrize("states", ["subset", "expert"])
@pytest.mark.parametrize("groups", [3, 256])
def test_every_token_one_by_one(states: str, groups: int):
    sample = random_sample(1, [30, 1, 60, 25, 44], missing=0.1, groups=groups)
    layers = count_three_layers(*_three(sample), states)
    tokens = tokens_of(sample, states)
    cells, documents = oracle.count(tokens)
    names = sorted({token[1] for token in tokens})
    assert cells_of(layers) == {
        (cell, names.index(group)): n for cell, own in cells.items() for group, n in own.items()
    }
    x, y, z = (part.tolist() for part in layers.choices(layers.cells.key))
    assert dict(zip(zip(x, y, z, strict=True), layers.documents.tolist(), strict=True)) == documents
    assert layers.n_tokens == len(tokens)
    for part, at, size in (
        (layers.first_middle, (1, 0), layers.sizes[0]),
        (layers.middle_last, (1, 2), layers.sizes[2]),
        (layers.first_last, (0, 2), layers.sizes[2]),
    ):
        expected = Counter((a, b) for token in tokens for a in token[2 + at[0]] for b in token[2 + at[1]])
        pairs = (divmod(key, size) for key in part.key.tolist())
        assert dict(zip(pairs, part.total.tolist(), strict=True)) == expected
    for part, at in ((layers.first, 0), (layers.middle, 1), (layers.last, 2)):
        expected = Counter(a for token in tokens for a in token[2 + at])
        assert dict(zip(part.key.tolist(), part.total.tolist(), strict=True)) == expected


def test_a_shuffle_keeps_the_margins_of_every_middle_choice():
    layers = count_three_layers(*_three(random_sample(2, [50] * 8)), "subset")
    shuffled = layers.shuffled(np.random.default_rng(0))
    kept = [
        np.unique(np.repeat(s.stratum * 100 + s.target, s.count), return_counts=True)
        for s in (layers.strata, shuffled)
    ]
    np.testing.assert_array_equal(kept[0], kept[1])
    assert not np.array_equal(shuffled.target, layers.strata.target)
    assert shuffled.n_groups == layers.strata.n_groups == 8


def test_nothing_to_count():
    sample = random_sample(3, [10, 10], missing=1.0)
    for states in ("subset", "expert"):
        layers = count_three_layers(*_three(sample), states)
        assert (layers.n_tokens, len(layers.cells), len(layers.first), len(layers.first_last)) == (0, 0, 0, 0)
        assert layers.cells.counts(np.array([4])).tolist() == [0]
    with pytest.raises(RoutestatError, match="expected three"):
        count_three_layers(sample, sample.routers[:2], "subset")


def test_cells_by_group_are_gathered_from_any_order():
    cells = GroupedCells.unsorted(np.array([5, 2, 5, 5]), np.array([1, 0, 1, 0]), np.array([2, 3, 4, 1]), 2)
    assert cells.key.tolist() == [2, 5]
    assert cells.by_group(np.array([5, 3, 2])).tolist() == [[1, 6], [0, 0], [3, 0]]
    assert cells.counts(np.array([2, 9])).tolist() == [3, 0]


def _three(sample):
    return sample, sample.routers
