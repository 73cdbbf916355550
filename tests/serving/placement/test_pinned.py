"""Lists of experts to pin."""

import numpy as np
import pytest

from routestat.errors import RoutestatError
from routestat.serving.placement.pinned import pinned_hits, pinned_lists

LOADS = [np.array([3, 9, 3, 1]), np.array([0, 5])]


def test_the_most_used_come_first_and_ties_by_id():
    assert [own.tolist() for own in pinned_lists(LOADS, 3)] == [[1, 0, 2], [1, 0]]


def test_hits_are_the_choices_of_pinned_experts():
    assert int(pinned_hits(LOADS, pinned_lists(LOADS, 1))) == 9 + 5
    of_units = [np.array([[1, 2, 0, 0], [2, 7, 3, 1]]), np.array([[0, 0], [0, 5]])]
    assert pinned_hits(of_units, pinned_lists(LOADS, 1)).tolist() == [2, 12]


@pytest.mark.parametrize("capacity", [0, 5])
def test_more_than_there_are_or_none_is_refused(capacity):
    with pytest.raises(RoutestatError, match=f"expected 1 to 4 experts per layer to pin, got {capacity}"):
        pinned_lists(LOADS, capacity)
