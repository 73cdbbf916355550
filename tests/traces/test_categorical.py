"""Draws from categorical distributions at their edges."""

import numpy as np
import pytest

from routestat.traces.categorical import categorical
from tests.traces.agreement import close_to, rng


def test_states_of_probability_zero_are_never_drawn():
    probabilities = np.array([[0, 0.3, 0, 0.7, 0], [1e-300, 0, 0, 0, 1.0], [0, 0, 1.0, 0, 0]])
    rows = np.repeat(np.arange(3), 20_000)
    drawn = categorical(probabilities, rows, rng())
    counts = np.zeros((3, 5), int)
    np.add.at(counts, (rows, drawn), 1)
    assert counts[probabilities < 1e-200].sum() == 0
    assert close_to(counts[0, 1] / 20_000, 0.3, np.sqrt(0.21), 20_000)


@pytest.mark.parametrize("uniform", [0.0, 1 - 2.0**-53])
@pytest.mark.parametrize("n_rows", [1, 3, 100_000])
def test_the_ends_of_the_unit_interval_stay_in_their_row(uniform, n_rows):
    class Extreme:
        def random(self, n):
            return np.full(n, uniform)

    probabilities = np.tile([0.0, 0.25, 0.0, 0.75, 0.0], (n_rows, 1))
    drawn = categorical(probabilities, np.arange(n_rows, dtype=np.int32), Extreme())
    assert set(drawn.tolist()) == {1 if uniform == 0 else 3}
