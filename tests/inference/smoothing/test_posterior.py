import math
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, optimize, stats
from scipy.special import gammaln

from routestat.errors import RoutestatError
from routestat.inference.base.special import log_rising
from routestat.inference.smoothing.backoff import hierarchical_alpha
from routestat.inference.smoothing.concentration import fit_concentration
from routestat.inference.smoothing.design_effect import TOO_NARROW, transition_design_effect
from routestat.inference.smoothing.posterior import log_evidence, transition_posterior
from routestat.inference.smoothing.prior import RULES, parse_alpha, resolve_alpha
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


@pytest.mark.parametrize("rows", [[[4, 1, 0]], [[0, 0, 0], [4, 1, 0]]])
def test_empirical_bayes_of_a_single_row_is_perks_and_no_other_rule_changes(rows) -> None:
    np.testing.assert_array_equal(resolve_alpha(rows, "empirical-bayes"), np.full(3, 1 / 3))
    np.testing.assert_array_equal(resolve_alpha(rows, "jeffreys"), np.full(3, 0.5))
    np.testing.assert_array_equal(resolve_alpha(rows, 2.0), np.full(3, 2.0))
    np.testing.assert_array_equal(resolve_alpha(rows, "hierarchical"), hierarchical_alpha(np.array(rows)))


def test_named_priors() -> None:
    assert resolve_alpha(ROWS, "jeffreys").tolist() == [0.5] * 3
    assert resolve_alpha(ROWS, "perks").tolist() == [1 / 3] * 3
    assert resolve_alpha(ROWS, 2).tolist() == [2.0] * 3
    assert resolve_alpha(ROWS, [1, 2, 3]).tolist() == [1.0, 2.0, 3.0]
    np.testing.assert_array_equal(resolve_alpha(ROWS, "empirical-bayes"), fit_concentration(ROWS))
    assert resolve_alpha(np.zeros((2, 3), dtype=int), "empirical-bayes").tolist() == [0.5] * 3


def test_the_hierarchical_prior_by_name() -> None:
    rng = np.random.default_rng(11)
    rows = np.array([rng.multinomial(40, rng.dirichlet([0.3, 1.0, 2.5, 0.8])) for _ in range(60)])
    alpha = resolve_alpha(rows, "hierarchical")
    np.testing.assert_array_equal(alpha, hierarchical_alpha(rows))
    assert alpha.shape == (4,)
    assert not alpha.flags.writeable
    # Two numbers fitted one after the other have less evidence than all four at once, and more than a rule of thumb.
    fitted, backed, thumb = (
        np.sum(log_evidence(rows, resolve_alpha(rows, rule)))
        for rule in ("empirical-bayes", "hierarchical", "jeffreys")
    )
    assert thumb < backed <= fitted + 1e-9
    assert fitted - backed < 1
    assert resolve_alpha(np.zeros((2, 3), dtype=int), "hierarchical").tolist() == [0.5] * 3
    assert parse_alpha("hierarchical") == "hierarchical"


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


@pytest.mark.parametrize("rule", ["uniform", "Hierarchical", "", "hierarchical "])
def test_rules_that_do_not_exist_are_refused(rule: str) -> None:
    for refused in (
        lambda: resolve_alpha(ROWS, rule),
        lambda: transition_posterior(ROWS, rule),
        lambda: parse_alpha(rule),
    ):
        with pytest.raises(
            RoutestatError, match="one of jeffreys, perks, empirical-bayes, hierarchical, got '"
        ):
            refused()


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
    law = stats.beta(weight[1] * plain.mean[1, 2], weight[1] * (1 - plain.mean[1, 2]))
    assert grouped.interval(0.8)[0][1, 2] == pytest.approx(law.ppf(0.1))
    # One group says nothing of documents.
    assert transition_posterior(tables[:1], 0.5, grouped=True).note == TOO_NARROW
    with pytest.raises(
        RoutestatError, match=r"wanted \[group, source, target\] with grouped=True, got 2 axes"
    ):
        transition_posterior(tables[0], 0.5, grouped=True)
