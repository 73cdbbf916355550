"""The effect of a forced choice: counted by hand, exactly nothing where nothing differs, and covered as claimed."""

import math

import numpy as np
import pytest
from scipy import stats

from routestat.errors import RoutestatError
from routestat.inference.base.estimate import ratio
from routestat.inference.information.divergence import jensen_shannon
from routestat.inference.two_sample.intervention import (
    intervention_effect,
    target_difference,
    target_distribution,
)
from tests.oracle.comparison_oracle import without_bias

# Two kinds of documents, three of each, sources 0 and 1, targets 0 and 1. Everything was forced to source 0:
# document A has 4 tokens, 3 of them to target 0; document B has 6, 3 of them to target 0.
DO = np.array([[[3, 1], [0, 0]], [[3, 3], [0, 0]]] * 3)
# By themselves A chose source 0 twice (both to target 0), B four times (once to target 0).
OBSERVED = np.array([[[2, 0], [1, 1]], [[1, 3], [2, 0]]] * 3)


def test_by_hand():
    found = intervention_effect(DO, OBSERVED, 0)
    # Three times 6 of 10, 3 of 6, and 6 of 10 overall.
    np.testing.assert_allclose(found.do.probability, [0.6, 0.4])
    np.testing.assert_allclose(found.observed.probability, [0.5, 0.5])
    np.testing.assert_allclose(found.natural.probability, [0.6, 0.4])
    assert (found.do.n_tokens, found.observed.n_tokens, found.natural.n_tokens) == (30, 18, 30)
    assert (found.do.n_groups, found.observed.n_groups) == (6, 6)
    np.testing.assert_allclose(found.beyond_observed.value, [0.1, -0.1])
    assert found.beyond_observed.total_variation == pytest.approx(0.1)
    # Scores of A: (3 - .6*4)/30 = .02 under do, (2 - .5*2)/18 = 1/18 observed; B has the opposite. G/(G - 1) = 6/5.
    error = math.sqrt(6 / 5 * 6 * (0.02 - 1 / 18) ** 2)
    # Shares 2/15 and 3/15, and 1/9 and 2/9, three times each: 1 / sum of squares is 75/13 of 6, and 27/5.
    reach = stats.t.ppf(0.975, 27 / 5 - 1) * error
    np.testing.assert_allclose(found.beyond_observed.low, [0.1 - reach, -0.1 - reach])
    np.testing.assert_allclose(found.beyond_observed.high, [0.1 + reach, -0.1 + reach])
    # Jackknife: JS(.6, .5), and those without one A and without one B, whose shares are the means of 4/30 and 2/18
    # and of 6/30 and 4/18.
    whole, parts = (
        jensen_shannon([6, 4], [3, 3]),
        [jensen_shannon([15, 11], [7, 9]), jensen_shannon([15, 9], [8, 6])],
    )
    share = np.array([(4 / 30 + 2 / 18) / 2, (6 / 30 + 4 / 18) / 2] * 3)
    value = without_bias(whole, parts * 3, share)
    assert found.beyond_observed.js_bits.value == pytest.approx(value)
    assert not found.observed.reason


def test_probabilities_are_the_ratio_sandwich():
    rng = np.random.default_rng(0)
    table = rng.poisson(3, (40, 5))
    found = target_distribution(table)
    for target in range(5):
        one = ratio(table[:, target], table.sum(axis=1))
        assert (found.probability[target], found.low[target], found.high[target]) == (
            one.value,
            one.low,
            one.high,
        )


def test_what_was_never_or_always_seen_is_not_certain():
    """A target of none or of all tokens: the sandwich would have no width there, so there is no interval."""
    found = target_distribution([[0, 4, 0], [0, 9, 0]] * 3)
    np.testing.assert_array_equal(found.probability, [0, 1, 0])
    assert np.isnan(found.low).all()
    assert np.isnan(found.high).all()
    assert np.isfinite(target_distribution([[0, 4, 1], [0, 9, 0]] * 3).low).tolist() == [False, True, True]


def test_identical_tables_differ_by_exactly_nothing():
    table = np.random.default_rng(1).poisson(2, (30, 28))
    found = target_difference(table, table)
    for values in (found.value, found.low, found.high):
        assert (values == 0).all()
    assert (found.js_bits.value, found.js_bits.low, found.js_bits.high, found.total_variation) == (0, 0, 0, 0)


def test_two_different_experts_of_a_token_are_two_cells_of_one_token():
    """Inclusion of 2 of 3 experts: probabilities sum to 2, and a token counts once."""
    table = np.array([[4, 3, 1], [2, 5, 5]])
    found = target_distribution(table, slots=2)
    np.testing.assert_allclose(found.probability, [0.6, 0.8, 0.6])
    assert found.n_tokens == 10
    other = target_difference(table, table[:, ::-1], slots=2)
    np.testing.assert_allclose(other.value, [0, 0, 0], atol=1e-15)
    far = target_difference([[5, 5, 0, 0], [3, 3, 0, 0]], [[0, 0, 5, 5], [0, 0, 3, 3]], slots=2)
    assert far.total_variation == pytest.approx(1)
    assert far.js_bits.value == pytest.approx(1)


def test_what_was_never_observed_has_no_distribution_and_a_reason():
    free = OBSERVED.copy()
    free[:, 0] = 0
    found = intervention_effect(DO, free, 0)
    assert found.observed.reason == found.beyond_observed.reason == "never observed"
    assert np.isnan(found.observed.probability).all()
    assert np.isnan(found.beyond_observed.value).all()
    assert math.isnan(found.beyond_observed.js_bits.value)
    assert np.isfinite(found.beyond_natural.low).all()


def test_one_document_has_values_but_no_interval():
    found = intervention_effect(DO[:1], OBSERVED[:1], 0)
    np.testing.assert_allclose(found.beyond_observed.value, [-0.25, 0.25])
    assert np.isnan(found.beyond_observed.low).all()
    assert np.isnan(found.do.low).all()
    assert "1 independent unit in one of the two: no test or interval" in found.beyond_observed.reason
    assert found.beyond_observed.js_bits.value == pytest.approx(jensen_shannon([3, 1], [2, 0]))


def test_few_documents_with_the_source_give_few_degrees_of_freedom():
    """Sixty documents were forced, seven chose it themselves: the t of nearly six degrees, not of 59."""
    rng = np.random.default_rng(2)
    first, second = rng.poisson(9, (60, 4)), np.zeros((60, 4), int)
    second[:7] = rng.poisson(9, (7, 4))
    found = target_difference(first, second)
    n, m = first.sum(), second.sum()
    a = (first - first.sum(0) / n * first.sum(1)[:, None]) / n * math.sqrt(60 / 59)
    b = (second - second.sum(0) / m * second.sum(1)[:, None]) / m * math.sqrt(7 / 6)
    dof = m**2 / (second.sum(1) ** 2).sum() - 1
    assert 5.8 < dof < 6
    reach = stats.t.ppf(0.975, dof) * np.sqrt(((a - b) ** 2).sum(axis=0))
    np.testing.assert_allclose(found.high - found.value, reach)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: intervention_effect(DO, OBSERVED[:1], 0), "of one shape"),
        (lambda: intervention_effect(DO[0], OBSERVED[0], 0), r"\[group, source, target\]"),
        (lambda: intervention_effect(DO, OBSERVED, 2), "a row 0 … 1"),
        (lambda: intervention_effect(DO, OBSERVED, 0, level=95), "level"),
        (lambda: intervention_effect(DO, OBSERVED, 0, slots=0), "slots"),
        (lambda: intervention_effect(DO - 1, OBSERVED, 0), "zero or more"),
        (lambda: target_distribution(DO), "3 axes"),
        (lambda: target_difference(DO[0], DO[0][:1]), "one shape"),
    ],
)
def test_bad_tables_get_one_line(call, words):
    with pytest.raises(RoutestatError, match=words):
        call()


def softmax(x):
    e = np.exp(x - x.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def documents(rng, groups):
    """Tables under do and as observed: both runs share the document's taste, and tokens come in repeats of five.

    Half of the tokens choose the source, and those lean to other targets than forced tokens do.
    """
    taste = rng.normal(0, 0.7, (groups, 6))
    under, after = softmax(taste), softmax(taste + LEAN)
    size = rng.integers(4, 30, groups)
    do = 5 * rng.multinomial(size, under)
    seen = rng.binomial(size, 0.5)
    free = np.stack([5 * rng.multinomial(seen, after), 5 * rng.multinomial(size - seen, under)], axis=1)
    return np.stack([do, np.zeros_like(do)], axis=1), free


LEAN = np.array([1.0, 0.5, 0, 0, 0, -0.5])


def test_intervals_cover_on_dependent_tokens():
    """300 runs at 40 documents: every interval covers the truth about as often as it says."""
    rng = np.random.default_rng(3)
    taste = rng.normal(0, 0.7, (400_000, 6))
    under, after = softmax(taste).mean(axis=0), softmax(taste + LEAN).mean(axis=0)
    truth, bits = under - after, jensen_shannon(under, after)
    hits = {"do": [], "observed": [], "difference": [], "bits": [], "as if i.i.d.": []}
    for _ in range(300):
        found = intervention_effect(*documents(rng, 40), 0)
        gap, divergence = found.beyond_observed, found.beyond_observed.js_bits
        hits["do"].append((found.do.low <= under) & (under <= found.do.high))
        hits["observed"].append((found.observed.low <= after) & (after <= found.observed.high))
        hits["difference"].append((gap.low <= truth) & (truth <= gap.high))
        hits["bits"].append(divergence.low <= bits <= divergence.high)
        p, q = found.do.probability, found.observed.probability
        reach = 1.96 * np.sqrt(p * (1 - p) / found.do.n_tokens + q * (1 - q) / found.observed.n_tokens)
        hits["as if i.i.d."].append(np.abs(gap.value - truth) <= reach)
    cover = {name: float(np.mean(values)) for name, values in hits.items()}
    print(cover)
    for name in ("do", "observed", "difference"):
        assert 0.925 <= cover[name] <= 0.97, cover
    assert 0.91 <= cover["bits"] <= 0.98, cover
    assert cover["as if i.i.d."] < 0.8
