"""Step tables that several tests of the chain share."""

import numpy as np
import pytest

from tests.inference.markov.order_cases import rng
from tests.inference.markov.step_tables import tables_of


@pytest.fixture
def small():
    """A few dependent tokens in 7 documents of very different length, layers of 3, 2, 3 and 4 states."""
    rng = np.random.default_rng(3)
    group = np.repeat(np.arange(7), [40, 3, 25, 9, 60, 14, 30])
    widths = [3, 2, 3, 4]
    states = [(rng.integers(0, k, len(group)) + (rng.random(len(group)) < 0.4) * group) % k for k in widths]
    states[2] = np.where(rng.random(len(group)) < 0.5, states[0], states[2])
    return tables_of(np.array(states), group, widths), 4


@pytest.fixture
def cube():
    """Counts `[group, stratum, source, target]` with states and groups that some strata have not met."""
    counts = rng().poisson(rng(1).gamma(0.6, 2.0, (9, 4, 3, 5)))
    counts[:, 1, 2], counts[:, 2, :, 4], counts[:3, 3] = 0, 0, 0
    return counts
