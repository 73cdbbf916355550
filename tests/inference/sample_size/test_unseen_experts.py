"""What was missed for want of documents."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from routestat.errors import RoutestatError
from routestat.inference.sample_size.unseen_experts import unseen


def test_unseen_by_hand():
    # Of 7 experts in 4 groups: one in all, two in one group, one in two, three never. U = 4 + 1 + 1 + 2 = 8.
    counts = [[9, 1, 0, 3, 0, 0, 0], [5, 0, 0, 2, 0, 0, 0], [1, 0, 0, 0, 0, 0, 0], [2, 0, 8, 0, 0, 0, 0]]
    found = unseen([*counts, [0] * 7])
    assert (found.n_groups, found.n_kinds, found.seen, found.once, found.twice) == (4, 7, 4, 2, 1)
    # 4 + 3/4 * 2 * 1 / (2 * 2); 1 - 2/8 * 3 * 2 / (3 * 2 + 2).
    assert found.at_least == pytest.approx(4.375)
    assert found.coverage == pytest.approx(1 - 0.25 * 6 / 8)
    assert unseen([[1, 1, 0], [2, 3, 0]]).coverage == 1.0
    assert unseen([[1, 0], [0, 1]]).at_least == 2.0
    assert "got 1" in unseen([[1, 2]]).reason
    with pytest.raises(RoutestatError, match="axes"):
        unseen([1, 2])


@given(seed=st.integers(0, 10**6))
@settings(max_examples=40, deadline=None)
def test_unseen_stays_in_bounds_and_knows_no_names(seed):
    rng = np.random.default_rng(seed)
    counts = rng.poisson(rng.gamma(0.2, 1, 30), (rng.integers(2, 12), 30))
    if np.count_nonzero(counts.any(axis=1)) < 2:
        return
    found, moved = unseen(counts), unseen(rng.permuted(counts, axis=0)[:, rng.permutation(30)])
    assert found.seen <= found.at_least <= 30
    assert 0 <= found.coverage <= 1
    assert moved.n_kinds == found.n_kinds
    assert unseen(counts[:, rng.permutation(30)]) == found


def test_unseen_finds_what_was_hidden():
    # 200 equally rare kinds, 40 groups that each show each with probability .03: 70 % are seen. As many
    # more cannot occur, so that the bound is not cut off at the kinds there are.
    rng = np.random.default_rng(10)
    found = [unseen(np.pad(rng.random((40, 200)) < 0.03, ((0, 0), (0, 200)))) for _ in range(200)]
    assert np.mean([f.at_least for f in found]) == pytest.approx(200, abs=6)
    # A new group shows an unseen kind as often as its occurrences are not covered.
    assert np.mean([f.coverage for f in found]) == pytest.approx(1 - 0.97**40, abs=0.01)
