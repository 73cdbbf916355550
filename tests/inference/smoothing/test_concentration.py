"""The Dirichlet concentration by empirical Bayes, against plain optimisers and known truths."""

import math
import time

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import optimize

from routestat.inference.smoothing.concentration import fit_concentration
from routestat.inference.smoothing.posterior import log_evidence


def test_fit_finds_the_alpha_that_a_plain_optimiser_finds() -> None:
    rng = np.random.default_rng(2)
    truth = np.array([0.3, 1.0, 2.5, 0.8])
    rows = np.array([rng.multinomial(40, rng.dirichlet(truth)) for _ in range(60)])

    def loss(log_alpha: np.ndarray) -> float:
        return -float(np.sum(log_evidence(rows, np.exp(log_alpha))))

    slow = optimize.minimize(loss, np.zeros(4), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-10})
    np.testing.assert_allclose(fit_concentration(rows), np.exp(slow.x), rtol=1e-5)
    one = optimize.minimize_scalar(lambda u: loss(np.full(4, u)), bounds=(-5, 5), method="bounded")
    np.testing.assert_allclose(
        fit_concentration(rows, symmetric=True), np.full(4, math.exp(one.x)), rtol=1e-4
    )


@given(st.integers(0, 10_000))
# Along a flat ridge Newton's full step overshoots at every turn.
@example(9113)
@settings(max_examples=40, deadline=None)
def test_no_nearby_alpha_has_more_evidence(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.poisson(rng.gamma(0.3, rng.uniform(0.5, 20), (rng.integers(2, 8), rng.integers(2, 7))))
    if not rows.any():
        return
    for symmetric in (False, True):
        # A column never used is no part of the optimum: what it gets is a rule, tested elsewhere.
        used = rows if symmetric else rows[:, rows.any(axis=0)]
        alpha = fit_concentration(used, symmetric)
        assert (alpha > 0).all()
        best = np.sum(log_evidence(used, alpha))
        largest = alpha.sum() > 0.999e4 * used.sum(axis=1).max()
        smallest = alpha.sum() < 1.001e-4
        for factor in (0.97, 1.03):
            gain = np.sum(log_evidence(used, alpha * factor)) - best
            assert gain <= 1e-9 or (largest and factor > 1) or (smallest and factor < 1)
        for k in range(0 if symmetric else len(alpha)):
            for factor in (0.98, 1.02):
                nudged = alpha.copy()
                nudged[k] *= factor
                nudged *= alpha.sum() / nudged.sum()
                assert np.sum(log_evidence(used, nudged)) - best <= 1e-9 * max(1.0, abs(best))


def test_fit_recovers_the_concentration_that_made_the_rows() -> None:
    rng = np.random.default_rng(4)
    truth = rng.gamma(1.0, 1.0, 28)
    rows = np.array([rng.multinomial(3000, rng.dirichlet(truth)) for _ in range(400)])
    # Fisher information at 400 rows leaves a few per cent on each; the sum is known to about one.
    fitted = fit_concentration(rows)
    assert fitted.sum() == pytest.approx(truth.sum(), rel=0.04)
    assert np.corrcoef(fitted, truth)[0, 1] > 0.995


def test_fit_at_its_boundaries() -> None:
    unseen = fit_concentration(np.array([[5, 0, 2], [1, 0, 6]]))
    assert unseen[1] == 1e-6
    np.testing.assert_allclose(unseen[[0, 2]], fit_concentration(np.array([[5, 2], [1, 6]])), rtol=1e-12)
    # Each row uses one column: the sum goes to its least, in the proportions of the rows' first tokens.
    np.testing.assert_allclose(
        fit_concentration([[50, 0, 0], [0, 9, 0], [0, 2, 0]]), [1e-4 / 3, 2e-4 / 3, 1e-10], rtol=1e-4
    )
    alike = np.tile([60, 30, 10], (20, 1))
    np.testing.assert_allclose(fit_concentration(alike), 1e6 * np.array([0.6, 0.3, 0.1]), rtol=1e-9)
    # No row has two tokens: the evidence says nothing of the sum.
    np.testing.assert_allclose(fit_concentration([[1, 0], [1, 0], [1, 0], [0, 1]]), [1.5, 0.5])


def test_fitting_thirty_one_tables_takes_well_under_a_second() -> None:
    rng = np.random.default_rng(6)
    alphas = rng.gamma(0.7, 1.0, (31, 28))
    sizes = rng.integers(2, 20_000, (31, 28))
    tables = [
        np.array([rng.multinomial(n, rng.dirichlet(a)) for n in row])
        for a, row in zip(alphas, sizes, strict=True)
    ]
    tables[:10] = [rng.multinomial(5000, np.full(28, 1 / 28), 28) for _ in range(10)]
    start = time.process_time()
    for table in tables:
        fit_concentration(table)
    assert time.process_time() - start < 1.0
