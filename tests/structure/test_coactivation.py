"""Co-activation within a layer: hand counts, what loads alone give, scores against the influence function."""

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from routestat.errors import RoutestatError
from routestat.inference.conditional_bernoulli import distribution as cb
from routestat.inference.conditional_bernoulli.sampling import draw_subsets
from routestat.structure.coactivation import coactivation, pairs_of_states
from routestat.structure.coactivation_null import pooled_pairs, within_pairs
from routestat.traces.alphabet import Alphabet
from tests.oracle.coactivation_oracle import subset_distribution


def tables(rng, n_experts, top_k, groups, tokens, spread=0.0):
    """Pairs, inclusions and tokens of groups that follow conditional-Bernoulli distributions; lengths differ."""
    size = rng.integers(tokens // 2, tokens * 3 // 2, groups)
    theta = rng.normal(0, 0.7, n_experts)
    pairs, inclusions = [], []
    upper = np.triu_indices(n_experts, 1)
    for n in size:
        rows = draw_subsets(np.tile(theta + rng.normal(0, spread, n_experts), (n, 1)), top_k, rng)
        x = np.zeros((n, n_experts), int)
        np.put_along_axis(x, rows, 1, axis=1)
        inclusions.append(x.sum(axis=0))
        pairs.append((x.T @ x)[upper])
    return np.array(pairs), np.array(inclusions), size


def test_hand_counted():
    # Two of four experts, all loads 1/2: each of the six pairs is expected 1/6 of the time. Each group of 12 tokens
    # has 0,1 and 2,3 four times and the others once: P = 1/3, lift 2; 1/12, lift 1/2.
    one = [4, 1, 1, 1, 1, 4]
    found = coactivation([one] * 30, [[6, 6, 6, 6]] * 30, [12] * 30, 2)
    np.testing.assert_allclose(found.expected, 1 / 6)
    np.testing.assert_allclose(found.observed, [1 / 3, *[1 / 12] * 4, 1 / 3])
    np.testing.assert_allclose(found.lift, [2, 0.5, 0.5, 0.5, 0.5, 2])
    np.testing.assert_allclose(found.difference, [1 / 6, *[-1 / 12] * 4, 1 / 6])
    # 2/3 of the mass at twice the expectation, 1/3 at half of it: 2/3 - 1/3 bits.
    assert found.bits_plugin == pytest.approx(1 / 3)
    # All groups are alike, so leaving any out changes nothing.
    assert found.bits.value == pytest.approx(1 / 3)
    assert found.bits.standard_error == pytest.approx(0, abs=1e-9)
    assert found.experts.tolist() == [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]]
    assert (found.n_tokens, found.n_groups, found.n_experts, found.top_k) == (360, 30, 4, 2)
    assert found.p_clustered < 1e-6
    assert found.reason is found.note is None


def test_against_independence_the_lift_would_be_off():
    rng = np.random.default_rng(0)
    pairs, inclusions, size = tables(rng, 8, 2, 40, 400)
    found = coactivation(pairs, inclusions, size, 2)
    n, loads = size.sum(), inclusions.sum(axis=0) / size.sum()
    naive = pairs.sum(axis=0) / n / np.outer(loads, loads)[np.triu_indices(8, 1)]
    assert np.average(found.lift, weights=found.expected) == pytest.approx(1, abs=0.001)
    assert np.average(naive, weights=found.expected) < 0.65
    matrix = np.full((8, 8), np.nan)
    matrix[np.triu_indices(8, 1)] = matrix.T[np.triu_indices(8, 1)] = found.expected
    np.testing.assert_allclose(np.nansum(matrix, axis=1), loads, rtol=1e-9)
    assert np.isnan(np.diag(matrix)).all()


def test_scores_are_the_influence_function():
    rng = np.random.default_rng(1)
    _, inclusions, size = tables(rng, 7, 3, 300, 60, spread=0.4)
    loads = inclusions.sum(axis=0) / size.sum()

    def expected(share):
        return cb.pair_block(cb.fit_log_weights(share, 3), 3)

    own = np.concatenate(
        [part for _, part, _ in pooled_pairs(inclusions.astype(float), size.astype(float), 3)], axis=1
    )
    slope = np.empty((21, 7))
    for m in range(7):
        # A step of one load is made up for by all: the direction keeps the sum.
        step = (np.eye(7)[m] - 1 / 7) * 1e-5
        slope[:, m] = (expected(loads + step) - expected(loads - step)) / 2e-5
    linear = size[:, None] * expected(loads) + (inclusions - size[:, None] * loads) @ slope.T
    # They differ by the curvature alone, which is of order 1/groups of the slope's part.
    assert np.abs(own - linear).max() < 0.02 * np.abs(linear - size[:, None] * expected(loads)).max()


def test_jackknife_of_the_deviation_is_what_the_scores_add_up_to():
    rng = np.random.default_rng(2)
    pairs, inclusions, size = tables(rng, 6, 2, 25, 50, spread=0.5)
    n = size.sum()
    pooled = list(pooled_pairs(inclusions.astype(float), size.astype(float), 2))
    score = pairs - np.concatenate([own for _, own, _ in pooled], axis=1)

    def deviation(keep):
        weights = cb.fit_log_weights(inclusions[keep].sum(axis=0) / size[keep].sum(), 2)
        return pairs[keep].sum(axis=0) - size[keep].sum() * cb.pair_block(weights, 2)

    everything = np.ones(25, bool)
    for g in range(25):
        without = everything.copy()
        without[g] = False
        np.testing.assert_allclose(score[g], deviation(everything) - deviation(without), atol=1e-7)
    assert n == size.sum()


def test_loads_fitted_in_each_group_leave_no_bias():
    # Two of four experts, a group of 12 tokens: every table it can have, with its probability.
    theta, n = np.array([1.2, 0.4, -0.3, -0.6]), 12
    distribution = subset_distribution(theta, 2)[0]
    bars = np.array(list(combinations(range(n + 5), 5)))
    cells = np.diff(np.pad(bars, ((0, 0), (1, 1)), constant_values=(-1, n + 5)), axis=1) - 1
    chance = stats.multinomial.pmf(cells, n, distribution)
    inclusions, size = pairs_of_states(cells, Alphabet(4, 2))[1].astype(float), np.full(len(cells), float(n))
    own = np.concatenate([part for _, part, _ in within_pairs(inclusions, size, 2)], axis=1)
    fitted = cb.fit_log_weights(inclusions / n, 2)
    plugin = cb.pair_block(fitted, 2)
    before, after = chance @ plugin - distribution, chance @ own / n - distribution
    assert np.abs(before).max() > 4e-4
    assert np.abs(after).max() < 0.3 * np.abs(before).max()


@pytest.mark.parametrize("null", ["pooled", "documents"])
def test_names_of_experts_change_nothing(null):
    rng = np.random.default_rng(4)
    pairs, inclusions, size = tables(rng, 6, 3, 40, 80, spread=0.5)
    order = rng.permutation(6)
    place = {tuple(pair): at for at, pair in enumerate(np.stack(np.triu_indices(6, 1), axis=1).tolist())}
    moved = [place[tuple(sorted((order[i], order[j])))] for i, j in place]
    a = coactivation(pairs, inclusions, size, 3, null)
    b = coactivation(pairs[:, moved], inclusions[:, order], size, 3, null)
    np.testing.assert_allclose(b.expected, a.expected[moved], rtol=1e-3 if null == "documents" else 1e-9)
    assert b.p_clustered == pytest.approx(a.p_clustered, rel=0.05 if null == "documents" else 1e-6)
    assert b.bits.value == pytest.approx(a.bits.value, abs=2e-4 if null == "documents" else 1e-9)


@pytest.mark.parametrize(
    ("top_k", "n_experts", "says"),
    [(1, 4, "1 of 4"), (4, 4, "0 of 0"), (3, 4, "3 of 4"), (2, 3, "2 of 3")],
)
@pytest.mark.parametrize("null", ["pooled", "documents"])
def test_nothing_to_test_where_loads_fix_the_pairs(top_k, n_experts, says, null):
    rng = np.random.default_rng(5)
    alphabet = Alphabet(n_experts, top_k)
    pairs, inclusions = pairs_of_states(
        rng.multinomial(30, np.full(alphabet.size, 1 / alphabet.size), 9), alphabet
    )
    found = coactivation(pairs, inclusions, [30] * 9, top_k, null)
    assert says in found.reason
    np.testing.assert_allclose(found.expected, found.observed, atol=1e-12)
    assert np.isnan([found.p_clustered, found.bits.value, found.bits_plugin]).all()
    assert np.isnan(found.z).all()


def test_few_groups_no_tokens_and_dead_experts():
    rng = np.random.default_rng(6)
    pairs, inclusions, size = tables(rng, 6, 2, 12, 60)
    assert "1 independent unit:" in coactivation(pairs[:1], inclusions[:1], size[:1], 2).reason
    assert "0 independent units" in coactivation(pairs * 0, inclusions * 0, size * 0, 2).reason
    assert "12 groups" in coactivation(pairs, inclusions, size, 2).note
    assert "per pair" not in coactivation(pairs, inclusions, size, 2).note
    sparse = coactivation(*tables(rng, 12, 2, 40, 6), 2)
    assert "counts per pair" in sparse.note
    wide = np.zeros((12, 21), int)
    wide[:, [at for at, (i, j) in enumerate(zip(*np.triu_indices(7, 1), strict=True)) if j < 6]] = pairs
    dead = coactivation(np.vstack([wide, wide[:1] * 0]), np.pad(inclusions, ((0, 1), (0, 1))), [*size, 0], 2)
    alive = coactivation(pairs, inclusions, size, 2)
    assert dead.p_clustered == pytest.approx(alive.p_clustered, rel=1e-6)
    assert dead.n_groups == 12
    assert np.isnan(dead.lift).sum() == 6
    assert np.isnan(dead.z).sum() == 6
    np.testing.assert_allclose(dead.z[~np.isnan(dead.z)], alive.z, rtol=1e-6)


def test_huge_counts_keep_their_logs_finite():
    one = np.array([4, 1, 1, 1, 1, 4]) * 10**7
    noise = np.random.default_rng(7).integers(1, 3, 200)[:, None]
    found = coactivation(one * noise, np.full((200, 4), 6 * 10**7) * noise, 12 * 10**7 * noise[:, 0], 2)
    assert np.isfinite(found.log10_p[~np.isnan(found.z)]).all()
    assert np.isfinite(found.log10_p_clustered)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda p, i, t: (p[:, :-1], i, t, 2), "align"),
        (lambda p, i, t: (p + 1, i, t, 2), "add up"),
        (lambda p, i, t: (p, i, t + 1, 2), "add up"),
        (lambda p, i, t: (p, i, t, 3), "add up"),
        (lambda p, i, t: (p, i, t, 2, "iid"), "pick one"),
        (lambda p, i, t: (p / 2.5, i, t, 2), "whole"),
    ],
)
def test_bad_input_is_refused(change, says):
    pairs, inclusions, size = tables(np.random.default_rng(8), 5, 2, 6, 20)
    with pytest.raises(RoutestatError, match=says):
        coactivation(*change(pairs, inclusions, size))


def test_states_that_do_not_fit_are_refused():
    with pytest.raises(RoutestatError, match="28 states"):
        pairs_of_states(np.ones((3, 27)), Alphabet(8, 2))
