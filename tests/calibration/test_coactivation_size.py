"""Where a layer takes k of E at its loads, tests of co-activation reject at their nominal level.

Pooled null: one conditional-Bernoulli distribution, around which documents differ and within which tokens repeat. Null
within documents: every document has loads of its own. The pooled test must be seen to deny the latter.
"""

import math

import numpy as np
import pytest

from routestat.inference.conditional_bernoulli import distribution as cb
from routestat.inference.conditional_bernoulli.sampling import draw_subsets
from routestat.structure.coactivation import Coactivation, coactivation
from routestat.traces.alphabet import Alphabet
from routestat.traces.categorical import categorical
from tests.calibration.forms import forms
from tests.oracle.coactivation_oracle import subset_distribution


def sizes(rng: np.random.Generator, groups: int, tokens: int, kind: str) -> np.ndarray:
    if kind == "equal":
        return np.full(groups, tokens)
    return np.maximum(5, rng.exponential(tokens, groups)).astype(int)


def tally(rows: np.ndarray, size: np.ndarray, n_experts: int) -> tuple[np.ndarray, ...]:
    x = np.zeros((len(rows), n_experts), np.float32)
    np.put_along_axis(x, rows, 1, axis=1)
    parts = np.split(x, np.cumsum(size)[:-1])
    pairs = np.array([(part.T @ part)[np.triu_indices(n_experts, 1)] for part in parts])
    return pairs.astype(int), np.array([part.sum(axis=0) for part in parts]).astype(int), size


def pooled(
    rng: np.random.Generator, n: int, k: int, groups: int, tokens: int, kind: str, together: float = 0.0
) -> tuple[np.ndarray, ...]:
    """Documents' state distributions are Dirichlet around a conditional-Bernoulli distribution; 40 % of tokens repeat.

    With probability `together` a token takes experts 0 to k - 1.
    """
    size, theta, alphabet = sizes(rng, groups, tokens, kind), rng.normal(0, 0.8, n), Alphabet(n, k)
    document = np.repeat(np.arange(groups), size)
    if alphabet.size <= 1024:
        distribution = rng.dirichlet(20 * subset_distribution(theta, k)[0], groups)
        rows = alphabet.unrank(categorical(distribution, document, rng)).astype(int)
    else:
        rows = draw_subsets(np.tile(theta, (len(document), 1)), k, rng)
    rows[rng.random(len(rows)) < together] = np.arange(k)
    fresh = rng.random(len(rows)) >= 0.4
    fresh[np.append(0, np.cumsum(size)[:-1])] = True
    return tally(rows[np.maximum.accumulate(np.where(fresh, np.arange(len(rows)), 0))], size, n)


def within(
    rng: np.random.Generator, n: int, k: int, groups: int, tokens: int, kind: str
) -> tuple[np.ndarray, ...]:
    """Every document has its own conditional-Bernoulli distribution; one topic raises half of the experts together."""
    size, base = sizes(rng, groups, tokens, kind), rng.normal(0, 0.5, n)
    theta = base + rng.normal(0, 0.5, (groups, n))
    theta += rng.normal(0, 0.8, groups)[:, None] * np.where(np.arange(n) % 2, 1.0, -1.0)
    if k == 2:
        distribution = cb.pair_block(theta, 2)
        drawn = categorical(distribution, np.repeat(np.arange(groups), size), rng)
        return tally(Alphabet(n, 2).unrank(drawn).astype(int), size, n)
    return tally(
        np.concatenate([draw_subsets(np.tile(t, (s, 1)), k, rng) for t, s in zip(theta, size, strict=True)]),
        size,
        n,
    )


def rates(found: list[Coactivation]) -> tuple[float, float, float]:
    """Of all tests together, and of single pairs at 5 % and at 0.1 %."""
    log10_p = np.concatenate([item.log10_p for item in found])
    log10_p = log10_p[~np.isnan(log10_p)]
    whole = np.mean([item.p_clustered < 0.05 for item in found])
    return float(whole), float(np.mean(log10_p < math.log10(0.05))), float(np.mean(log10_p < -3))


def judge(found: list[str], name: str, results: list[Coactivation]) -> None:
    whole, single, rare = rates(results)
    error = math.sqrt(0.05 * 0.95 / len(results))
    found.append(f"{name}: rejects {whole:.3f} +- {error:.3f}, single pairs {single:.3f}, at .001 {rare:.4f}")
    assert abs(whole - 0.05) <= 0.02 + 2 * error
    assert 0.02 <= single <= 0.07
    assert rare < 0.002


# Single pairs keep their level over thousands of tests even in the short forms; those of a layer have few runs.
SHAPES = [
    pytest.param(8, 2, 60, 100, "equal", 200, id="8-2-equal"),
    pytest.param(8, 2, 60, 100, "exponential", 200, id="8-2-exponential"),
    *forms(12, 3, 60, 80, "exponential", short=200, long=600, name="12-3"),
    *forms(64, 6, 60, 100, "equal", short=60, long=200, name="64-6-equal"),
    *forms(64, 6, 60, 100, "exponential", short=60, long=200, name="64-6-exponential"),
]


@pytest.mark.parametrize(("n", "k", "groups", "tokens", "kind", "runs"), SHAPES)
def test_pooled(n: int, k: int, groups: int, tokens: int, kind: str, runs: int, found: list[str]) -> None:
    rng = np.random.default_rng([20, n, kind == "equal"])
    results = [coactivation(*pooled(rng, n, k, groups, tokens, kind), k) for _ in range(runs)]
    judge(found, f"pooled null, {k} of {n}, {groups} documents, {kind}", results)


@pytest.mark.parametrize(
    ("n", "k", "groups", "tokens", "kind", "runs"),
    [
        pytest.param(8, 2, 60, 100, "exponential", 100, id="8-2"),
        *forms(8, 2, 200, 30, "equal", short=100, long=150, name="8-2-short"),
        *forms(64, 6, 60, 100, "equal", short=20, long=60, name="64-6"),
    ],
)
def test_within_documents(
    n: int, k: int, groups: int, tokens: int, kind: str, runs: int, found: list[str]
) -> None:
    rng = np.random.default_rng([21, n, groups])
    data = [within(rng, n, k, groups, tokens, kind) for _ in range(runs)]
    results = [coactivation(*item, k, "documents") for item in data]
    judge(found, f"null within documents, {k} of {n}, {groups} documents, {kind}", results)
    # Experts of one topic meet more often than the loads of all documents say.
    wrong = np.mean([coactivation(*item, k).p_clustered < 0.05 for item in data[:20]])
    found.append(f"  the pooled test on the same: {wrong:.2f}")
    assert wrong > 0.5


@pytest.mark.parametrize("null", ["pooled", "documents"])
def test_planted_togetherness_is_found(null: str) -> None:
    rng = np.random.default_rng(22)
    results = [
        coactivation(*pooled(rng, 8, 2, 60, 100, "exponential", together=0.15), 2, null) for _ in range(20)
    ]
    assert np.mean([item.p_clustered < 0.05 for item in results]) > 0.9
    assert np.mean([item.z[0] == np.nanmax(item.z) for item in results]) > 0.8


def test_lift_of_what_was_planted() -> None:
    # Even loads of 3 of 10 but for one token in five that takes 0, 1, 2: P(0 and 1) = .2 + .8 * 6/90 exactly.
    rng = np.random.default_rng(23)
    size = np.full(100, 400)
    rows = draw_subsets(np.zeros((int(size.sum()), 10)), 3, rng)
    rows[rng.random(len(rows)) < 0.2] = [0, 1, 2]
    found_here = coactivation(*tally(rows, size, 10), 3)
    loads = np.where(np.arange(10) < 3, 0.2 + 0.8 * 0.3, 0.8 * 0.3)
    expected = cb.pair_probabilities(cb.fit_log_weights(loads, 3), 3)[0, 1]
    assert found_here.lift[0] == pytest.approx((0.2 + 0.8 / 15) / expected, rel=0.02)
    truth = np.full(45, 0.8 / 15)
    upper = np.triu_indices(10, 1)
    truth[(upper[0] < 3) & (upper[1] < 3)] += 0.2
    distribution = cb.pair_probabilities(cb.fit_log_weights(loads, 3), 3)[upper]
    bits = float((truth / 3 * np.log2(truth / distribution)).sum())
    assert found_here.bits.low < bits < found_here.bits.high
