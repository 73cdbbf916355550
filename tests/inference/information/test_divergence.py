"""The Jensen-Shannon divergence against scipy."""

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon

from routestat.inference.information.divergence import jensen_shannon


def test_jensen_shannon_against_scipy_and_at_its_ends() -> None:
    p, q = np.array([10, 0, 5, 2]), np.array([0.1, 0.2, 0.3, 0.4])
    assert jensen_shannon(p, q) == pytest.approx(jensenshannon(p, q, base=2) ** 2, rel=1e-12)
    assert jensen_shannon([1, 0], [0, 3]) == 1.0
    assert jensen_shannon([0.2, 0.8], [1, 4]) == pytest.approx(0.0, abs=1e-15)
