"""Implied transitions: derivatives in the groups' weights, and scores that sum to the residual."""

import numpy as np
import pytest

from routestat.inference.markov.implied_steps import followed_by, implied_scores, one_step
from tests.inference.markov.step_tables import neighbours
from tests.oracle import horizons_oracle as oracle


def test_scores_are_derivatives_and_sum_to_the_residual(small):
    table, layers = small
    steps = neighbours(table, layers)
    walk = followed_by(followed_by(one_step(steps[0]), one_step(steps[1])), one_step(steps[2]))
    assert walk.moved.sum(axis=1) == pytest.approx(0.0, abs=1e-14)
    for g in range(7):
        heavier = [step * np.where(np.arange(7) == g, 1 + 1e-6, 1.0)[:, None, None] for step in steps]
        numeric = (oracle.implied(heavier) - oracle.implied(steps)) / 1e-6
        assert walk.moved[:, g] == pytest.approx(numeric, abs=1e-6)
    direct = table(0, 3)
    assert oracle.scores(steps, direct).sum(axis=0) == pytest.approx(
        oracle.residual(steps, direct), abs=1e-12
    )
    expected = direct.sum(axis=(0, 2))[:, None] * walk.distribution
    x2 = float((oracle.residual(steps, direct) ** 2 / expected).sum())
    assert implied_scores(direct, walk).gram.sum() == pytest.approx(x2, rel=1e-12)
