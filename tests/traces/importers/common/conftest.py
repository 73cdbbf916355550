"""Fixtures of the tests beside."""

import numpy as np
import pytest

from tests.traces.importers.known import chosen


@pytest.fixture
def experts():
    return chosen(np.random.default_rng(3), 9, 3, 8, 2)
