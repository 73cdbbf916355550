import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats
from scipy.special import gammaln

from routestat.errors import RoutestatError
from routestat.inference.base.special import log_rising
from routestat.inference.smoothing.concentration import fit_concentration
from routestat.inference.smoothing.design_effect import TOO_NARROW, transition_design_effect
from routestat.inference.smoothing.posterior import log_evidence, transition_posterior
from routestat.inference.smoothing.prior import RULES, resolve_alpha
from tests.oracle.inference_oracle import log_evidence_by_urn

ROWS = np.array([[3, 0, 1], [0, 2, 0], [5, 1, 1], [0, 0, 0]])


def test_evidence_by_hand() -> None:
    # Laplace's rule: the first token 1/2, the second alike 2/3, the third unlike 1/4.
    assert log_evidence([2, 1], 1.0) == pytest.approx(math.log(1 / 2 * 2 / 3 * 1 / 4), rel=1e-14)
    assert isinstance(log_evidence([2, 1], 1.0), float)
    assert log_evidence([0, 0], 3.0) == 0.0


def test_evidence_against_the_integral_over_probabilities() -> None:
    counts, alpha = [3, 0, 2], [0.7, 1.5, 2.2]
    prior = stats.dirichlet(alpha)

    def integrand(q: float, p: float) -> float:
        return p**3 * (1 - p - q) ** 2 * prior.pdf([p, q, 1 - p - q]) if p + q < 1 else 0.0

    brute, _ = integrate.dblquad(integrand, 1e-12, 1, 1e-12, lambda p: max(1e-12, 1 - p - 1e-12), epsabs=1e-9)
    assert math.exp(log_evidence(counts, alpha)) == pytest.approx(brute, rel=1e-5)


@given(st.lists(st.integers(0, 12), min_size=1, max_size=5), st.floats(1e-4, 1e4), st.floats(1e-3, 1e2))
@settings(max_examples=60, deadline=None)
def test_evidence_is_a_polya_urn(counts: list[int], first: float, step: float) -> None:
    alpha = [first + step * k for k in range(len(counts))]
    slow = log_evidence_by_urn(counts, alpha)
    assert log_evidence(counts, alpha) == pytest.approx(slow, rel=1e-9, abs=1e-9)


def test_evidence_is_per_row_and_alpha_may_differ_by_row() -> None:
    by_row = log_evidence(ROWS, [0.5, 1.0, 2.0])
    assert by_row.shape == (4,)
    assert by_row[2] == log_evidence(ROWS[2], [0.5, 1.0, 2.0])
    stacked = log_evidence(np.stack([ROWS, ROWS]), np.ones((4, 3)))
    assert stacked.shape == (2, 4)
    assert stacked[1, 0] == log_evidence(ROWS[0], 1.0)


def test_evidence_does_not_cancel_at_huge_alpha() -> None:
    # At alpha -> infinity tokens are uniform: n ln(1/K), less a term of order n**2 / alpha.
    assert log_evidence([40, 60], 1e15) == pytest.approx(-100 * math.log(2), abs=1e-9)
    direct = gammaln(2000.5 + 17) - gammaln(2000.5)
    assert log_rising(2000.5, 17) == pytest.approx(direct, rel=1e-12)


def test_posterior_against_scipy() -> None:
    result = transition_posterior(ROWS, [0.5, 1.5, 2.0])
    for row in range(len(ROWS)):
        exact = stats.dirichlet(ROWS[row] + np.array([0.5, 1.5, 2.0]))
        np.testing.assert_allclose(result.mean[row], exact.mean(), rtol=1e-13)
        np.testing.assert_allclose(result.sd[row] ** 2, exact.var(), rtol=1e-12)
    low, high = result.interval(0.9)
    concentration = ROWS + np.array([0.5, 1.5, 2.0])
    margin = stats.beta(concentration, concentration.sum(1, keepdims=True) - concentration)
    np.testing.assert_allclose(margin.cdf(low), np.full(ROWS.shape, 0.05), rtol=1e-9)
    np.testing.assert_allclose(margin.cdf(high), np.full(ROWS.shape, 0.95), rtol=1e-9)
    np.testing.assert_array_equal(result.log_evidence, log_evidence(ROWS, [0.5, 1.5, 2.0]))


def test_mode_by_hand_and_at_the_boundary() -> None:
    # 3, 2, 2 with alpha 2: one off each leaves 4, 3, 3 of ten.
    assert transition_posterior([3, 2, 2], 2.0).mode.tolist() == [0.4, 0.3, 0.3]
    # Alpha 1/2: 2.5 and 1.5 give 1.5 and .5; the unseen one, at .5, sits on the boundary.
    np.testing.assert_allclose(transition_posterior([2, 1, 0], 0.5).mode, [0.75, 0.25, 0.0])
    assert np.isnan(transition_posterior([0, 0, 0], 0.5).mode).all()
    assert transition_posterior([4], 0.5).mode.tolist() == [1.0]


def test_draws_have_the_moments_of_a_dirichlet() -> None:
    rng, draws = np.random.default_rng(8), 40_000
    result = transition_posterior([[3, 1, 0], [0, 0, 0]], [0.4, 1.0, 0.2])
    sample = result.sample(rng, draws)
    assert sample.shape == (draws, 2, 3)
    np.testing.assert_allclose(sample.sum(axis=-1), 1.0, rtol=1e-12)
    z = (sample.mean(axis=0) - result.mean) / (result.sd / math.sqrt(draws))
    assert np.abs(z).max() < 4
    exact = stats.dirichlet(result.concentration[0]).cov()
    np.testing.assert_allclose(np.cov(sample[:, 0].T), exact, atol=4 * 0.25 / math.sqrt(draws))
    # A margin is Beta: a Kolmogorov-Smirnov test on the smallest concentration.
    assert stats.kstest(sample[:, 1, 2], stats.beta(0.2, 1.4).cdf).pvalue > 1e-3


def test_draws_survive_tiny_concentrations() -> None:
    sample = transition_posterior(np.zeros(5, dtype=int), 1e-6).sample(np.random.default_rng(0), 2000)
    assert np.isfinite(sample).all()
    # Nearly all mass on one outcome, each as often as another: 400 of 2000, give or take 18.
    assert (sample.max(axis=-1) > 0.999).mean() > 0.99
    assert np.abs((sample > 0.5).sum(axis=0) - 400).max() < 4 * 18


def test_intervals_cover_probabilities_drawn_from_the_prior() -> None:
    rng = np.random.default_rng(9)
    alpha, rows = np.array([0.5, 1.0, 3.0]), 4000
    truth = rng.dirichlet(alpha, rows)
    counts = np.array([rng.multinomial(20, p) for p in truth])
    low, high = transition_posterior(counts, alpha).interval(0.8)
    coverage = ((low <= truth) & (truth <= high)).mean(axis=0)
    assert np.abs(coverage - 0.8).max() < 4 * math.sqrt(0.8 * 0.2 / rows)


@pytest.mark.parametrize("rule", RULES)
def test_the_posterior_by_name_is_that_of_the_resolved_prior(rule: str) -> None:
    cubes = [np.stack([ROWS, 2 * ROWS + 1])]
    if rule == "hierarchical":
        with pytest.raises(RoutestatError, match="fit_second_order"):
            transition_posterior(cubes.pop(), rule)
    for counts in (ROWS, *cubes, ROWS[0], np.zeros((2, 3), dtype=int)):
        named = transition_posterior(counts, rule)
        resolved = transition_posterior(counts, resolve_alpha(counts.reshape(-1, 3), rule))
        for name in ("alpha", "concentration", "mean", "mode", "sd", "log_evidence"):
            np.testing.assert_array_equal(getattr(named, name), getattr(resolved, name))


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: log_evidence([1, 2], 0), "above zero"),
        (lambda: log_evidence([1, 2], [1, -1]), "above zero"),
        (lambda: log_evidence([1, 2], math.inf), "above zero"),
        (lambda: log_evidence([1, 2], [1, 1, 1]), "shape"),
        (lambda: log_evidence([1.5, 2], 1), "fractions"),
        (lambda: log_evidence(3, 1), "rows"),
        (lambda: transition_posterior(ROWS, 0.0), "above zero"),
        (lambda: transition_posterior(ROWS, "uniform"), "alpha"),
        (lambda: transition_posterior(ROWS, 1.0).interval(95), "level"),
        (lambda: transition_posterior(ROWS, 1.0).sample(None, 3), "rng"),
        (lambda: transition_posterior(ROWS, 1.0).sample(np.random.default_rng(0), 0), "n:"),
        (lambda: fit_concentration(np.zeros((2, 2), dtype=int)), "at least one token"),
        (lambda: fit_concentration([1, 2]), "1 axes"),
        (lambda: resolve_alpha(ROWS, "uniform"), "jeffreys"),
        (lambda: resolve_alpha(ROWS, [1, 2]), "shape"),
    ],
)
def test_bad_input_is_refused(call: object, says: str) -> None:
    with pytest.raises(RoutestatError, match=says):
        call()  # type: ignore[operator]


def test_results_are_closed_for_writing() -> None:
    result = transition_posterior(ROWS, 0.5)
    for array in (
        result.alpha,
        result.concentration,
        result.mean,
        result.mode,
        result.sd,
        result.log_evidence,
    ):
        assert not array.flags.writeable
    with pytest.raises(AttributeError):
        result.mean = result.mode  # type: ignore[misc]


def test_a_posterior_says_what_its_intervals_rest_on():
    rng = np.random.default_rng(0)
    tables = rng.integers(0, 4, (12, 3, 4))
    summed = transition_posterior(tables.sum(axis=0), 0.5)
    assert (summed.design_effect, summed.note) == (1.0, TOO_NARROW)
    assert TOO_NARROW in repr(summed)
    assert repr(summed) == f"TransitionPosterior({summed.summary()})"
    # Groups that are each given four times over are worth a quarter of their tokens.
    grouped = transition_posterior(4 * tables, 0.5, grouped=True)
    effect = transition_design_effect(4 * tables)
    assert (grouped.note, grouped.design_effect) == ("", effect)
    assert effect > 2
    assert f"Design effect {effect:.3g}" in repr(grouped)
    plain = transition_posterior(4 * tables.sum(axis=0), 0.5)
    np.testing.assert_array_equal(grouped.mean, plain.mean)
    assert grouped.log_evidence == pytest.approx(plain.log_evidence)
    weight = 2.0 + 4 * tables.sum(axis=(0, 2)) / effect
    np.testing.assert_allclose(grouped.sd, np.sqrt(plain.mean * (1 - plain.mean) / (weight[:, None] + 1)))
    distribution = stats.beta(weight[1] * plain.mean[1, 2], weight[1] * (1 - plain.mean[1, 2]))
    assert grouped.interval(0.8)[0][1, 2] == pytest.approx(distribution.ppf(0.1))
    # One group says nothing of documents.
    assert transition_posterior(tables[:1], 0.5, grouped=True).note == TOO_NARROW
    with pytest.raises(
        RoutestatError, match=r"expected \[group, source, target\] with grouped=True, got 2 axes"
    ):
        transition_posterior(tables[0], 0.5, grouped=True)
