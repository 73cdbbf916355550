"""The moderated squared error, counted by hand."""

import numpy as np
from numpy.testing import assert_allclose

from routestat.inference.base.moderated import moderated_square


def test_half_is_of_the_groups_and_half_of_independent_tokens_times_the_design_effect():
    square, effect = moderated_square(np.array([8.0, 0.0]), np.array([1.0, 3.0]))
    # (8 + 0) / (1 + 3): twice the variance of independent tokens.
    assert effect == 2.0
    assert_allclose(square, [(8.0 + 2.0) / 2.0, (0.0 + 6.0) / 2.0], rtol=0)


def test_cells_that_are_not_used_do_not_set_the_design_effect():
    clustered, independent = np.array([[8.0, 1000.0]]), np.array([[4.0, 1.0]])
    square, effect = moderated_square(clustered, independent, np.array([[True, False]]))
    assert effect == 2.0
    assert_allclose(square, [[8.0, 501.0]], rtol=0)


def test_without_any_variance_there_is_no_design_effect():
    square, effect = moderated_square(np.array([2.0]), np.array([0.0]))
    assert (square.tolist(), effect) == ([1.0], 0.0)
    assert moderated_square(np.array([2.0]), np.array([1.0]), np.array([False]))[1] == 0.0
