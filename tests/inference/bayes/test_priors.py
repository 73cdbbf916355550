"""The prior of strengths with mu integrated out, against scipy's normal distribution."""

import numpy as np
import pytest
from scipy import stats

from routestat.inference.bayes.priors import MU_SD, draw_mu, log_density


def test_density_is_that_of_a_joint_normal_distribution():
    u, centre = np.array([0.3, 2.0, 1.1, -0.4]), 1.2
    exact, found = [], []
    for sigma in (0.2, 0.9, 3.0):
        distribution = stats.multivariate_normal(np.full(4, centre), sigma**2 * np.eye(4) + MU_SD**2)
        exact.append(distribution.logpdf(u))
        found.append(log_density(u, sigma, 4, centre))
    assert np.diff(found) == pytest.approx(np.diff(exact))


def test_mu_given_the_strengths_is_that_of_a_grid():
    u, sigma, centre = np.array([0.3, 2.0, 1.1]), 0.7, 1.2
    grid = np.linspace(-5, 8, 4001)
    weight = stats.norm.pdf(grid, centre, MU_SD) * stats.norm.pdf(u[:, None], grid, sigma).prod(axis=0)
    weight /= weight.sum()
    mean = weight @ grid
    sd = np.sqrt(weight @ (grid - mean) ** 2)
    draws = draw_mu(
        np.broadcast_to(u, (2, 5000, 3)), np.full((2, 5000), sigma), centre, np.random.default_rng(0)
    )
    assert abs(draws.mean() - mean) < 4 * sd / 100
    assert draws.std() == pytest.approx(sd, rel=0.03)
