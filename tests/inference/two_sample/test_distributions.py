import math

import numpy as np
import pytest
from scipy import stats

from routestat import RoutestatError
from routestat.inference.two_sample.cells import cell_differences
from routestat.inference.two_sample.distributions import compare_distributions, compare_transitions
from routestat.inference.two_sample.permutation_test import permutation_p
from tests.oracle import comparison_oracle as oracle


def tables(seed, groups, shape, tokens=40):
    """Counts `[group, …]` of documents of unequal length and unlike distributions."""
    rng = np.random.default_rng(seed)
    cells = int(np.prod(shape))
    rows = [rng.multinomial(rng.integers(5, tokens), rng.dirichlet(np.ones(cells))) for _ in range(groups)]
    return np.array(rows).reshape(groups, *shape)


# Two kinds of documents each, three of a kind. A: (3, 1) and (1, 3), so p_a = (1/2, 1/2) of 24 tokens; B: (4, 0) and
# (2, 2), so p_b = (3/4, 1/4) of 24. Pooled p = (5/8, 3/8). The scores' first cells are, over 24 tokens each,
# (3 - 2.5)/24, (1 - 2.5)/24, -(4 - 2.5)/24, -(2 - 2.5)/24 = 1/48, -3/48, -3/48, 1/48, the second cells their
# negatives; the weight of squares is 24 * 24 / 48 * (8/5 + 8/3) = 256/5. With three times (1, -3, -3, 1)/48: X2 =
# 144/2304 * 256/5 = 16/5, tr = 3 * 20/2304 * 256/5 = 20/15.
A = np.array([[3, 1], [1, 3]] * 3)


B = np.array([[4, 0], [2, 2]] * 3)


def test_counted_on_paper():
    found = compare_distributions(A, B)
    assert (found.n_a, found.n_b, found.n_groups_a, found.n_groups_b) == (24, 24, 6, 6)
    assert found.chi2 == pytest.approx(16 / 5)
    assert found.chi2 == pytest.approx(stats.chi2_contingency([[12, 12], [18, 6]], correction=False)[0])
    assert found.g == pytest.approx(
        stats.chi2_contingency([[12, 12], [18, 6]], correction=False, lambda_="log-likelihood")[0]
    )
    assert found.dof == 1
    assert found.total_variation == pytest.approx(0.25)
    assert found.cramers_v == pytest.approx(math.sqrt(16 / 5 / 48))
    # Around their own shares: +-1/24 twelve times, and 6/5 of that for six groups a sample: 12/576 * 6/5 * 256/5.
    assert found.design_effect == pytest.approx(12 / 576 * 6 / 5 * 256 / 5)
    # tr = 20/15, U = 16/5 - 20/15, and the products of the scores are those of (1, -3, -3, 1) over 45.
    signs = np.array([1, -3, 1, -3, 1, -3, -3, 1, -3, 1, -3, 1])
    products = np.outer(signs, signs) / 45
    np.fill_diagonal(products, 0.0)
    nu = (20 / 15) ** 2 / (products**2).sum()
    assert found.nu == pytest.approx(nu)
    # q = +-1/6 and residuals h = 24 s, -24 s: s.h sums with q to 24 * 20/15 / 6; |h|2 to 576 * 20/15.
    bias = 2 * (24 * 20 / 15 / 6) / 48 - 12 / 36 * 576 * 20 / 15 / 2304
    # Three moments of random signs: 0, 2 * sum of squares, 8 * the sum over three different groups.
    skewness = 8 * np.trace(products @ products @ products) / (2 * (products**2).sum()) ** 1.5
    z = (16 / 5 - 20 / 15 - bias) / math.sqrt(2 * (products**2).sum())
    assert found.p_clustered == pytest.approx(stats.pearson3.sf(z, skewness))
    assert "p cannot be below 0.0011" in found.note


def test_paired_counted_on_paper():
    found = compare_distributions(A, B, paired=True)
    # Documents differ by (-1, 1) six times: all scores are alike, one of the 2**5 patterns of signs.
    assert found.chi2 == pytest.approx(16 / 5)
    assert found.nu == pytest.approx(36 / 30)
    assert found.p_clustered == pytest.approx(1 / 32)
    assert "p is at its floor: 6 units cannot give less than 0.031" in found.note
    assert found.design_effect == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_laws_agree_with_the_oracle(seed, paired):
    a, b = tables(seed, 7, (5,)), tables(seed + 50, 7 if paired else 9, (5,))
    found, slow = (
        compare_distributions(a, b, paired=paired),
        oracle.clustered_test(a[:, None], b[:, None], paired),
    )
    assert found.chi2 == pytest.approx(slow["chi2"])
    assert (found.dof, found.nu) == (slow["dof"], pytest.approx(slow["nu"]))
    assert found.p_clustered == pytest.approx(slow["p"])
    assert 10**found.log10_p_clustered == pytest.approx(slow["p"])
    assert found.design_effect == pytest.approx(slow["design_effect"])
    bits, error = oracle.jackknife(oracle.divergence, a, b, paired)
    assert found.jsd_bits == pytest.approx(bits)
    assert found.jsd_bits_plugin == pytest.approx(oracle.divergence(a.sum(axis=0), b.sum(axis=0)))
    cells = cell_differences(a, b, paired=paired)
    slow_errors = oracle.cell_errors(a, b, paired)
    assert cells.standard_error == pytest.approx(slow_errors[cells.cell])
    assert found.total_variation_chance == pytest.approx(slow_errors.sum() / math.sqrt(2 * math.pi))
    if paired:
        dof = min(t.sum() ** 2 / (t.sum(axis=1) ** 2).sum() for t in (a, b)) - 1
        half = stats.t.ppf(0.975, dof) * error
        assert (found.jsd_bits_low, found.jsd_bits_high) == pytest.approx((bits - half, bits + half))
        assert cells.t == pytest.approx(cells.difference / cells.standard_error)
        assert 10**cells.log10_p == pytest.approx(np.maximum(2 * stats.t.sf(abs(cells.t), dof), 1 / 64))


@pytest.mark.parametrize("paired", [False, True])
def test_transitions_agree_with_the_oracle(paired):
    a, b = tables(5, 8, (3, 4)), tables(6, 8 if paired else 6, (3, 4))
    a[:, 2] = 0  # a source that only B has
    found = compare_transitions(a, b, paired=paired)
    joint = oracle.clustered_test(a.reshape(len(a), 1, -1), b.reshape(len(b), 1, -1), paired)
    assert found.joint.p_clustered == pytest.approx(joint["p"])
    given = oracle.clustered_test(a, b, paired)
    assert found.conditional.chi2 == pytest.approx(given["chi2"])
    assert found.conditional.dof == given["dof"] == 2 * 3
    assert found.conditional.p_clustered == pytest.approx(given["p"])
    assert found.conditional.design_effect == pytest.approx(given["design_effect"])
    plugin = oracle.conditional_divergence(a.sum(axis=0), b.sum(axis=0))
    assert found.conditional.jsd_bits_plugin == pytest.approx(plugin)
    assert found.conditional.jsd_bits == pytest.approx(
        oracle.jackknife(oracle.conditional_divergence, a, b, paired)[0]
    )
    both = a[:, :2].sum() + b[:, :2].sum()
    assert found.conditional.shared == pytest.approx(both / (a.sum() + b.sum()))


def test_joint_divergence_is_the_source_s_plus_what_it_does_not_explain():
    a, b = tables(7, 20, (4, 4)), tables(8, 25, (4, 4))
    found = compare_transitions(a, b)
    source = compare_distributions(a.sum(axis=2), b.sum(axis=2))
    assert found.joint.jsd_bits == pytest.approx(source.jsd_bits + found.conditional.jsd_bits)


def test_another_load_at_the_source_is_no_other_transition():
    rng = np.random.default_rng(3)
    distribution = rng.dirichlet(np.ones(5), 5)

    def draw(source):
        sizes = rng.multinomial(300, np.array(source) / 16, 60)
        return np.array(
            [[rng.multinomial(n, row) for n, row in zip(size, distribution, strict=True)] for size in sizes]
        )

    a, b = draw([8, 4, 2, 1, 1]), draw([1, 1, 2, 4, 8])
    found = compare_transitions(a, b)
    assert found.joint.log10_p_clustered < -20
    assert found.conditional.p_clustered > 0.01
    assert abs(found.conditional.jsd_bits) < 0.002 < found.joint.jsd_bits


@pytest.mark.parametrize("paired", [False, True])
def test_names_of_states_do_not_matter_and_swapping_changes_signs_only(paired):
    rng = np.random.default_rng(4)
    a, b = tables(9, 12, (6,)), tables(10, 12, (6,))
    order = rng.permutation(6)
    one, other = (
        compare_distributions(a, b, paired=paired),
        compare_distributions(a[:, order], b[:, order], paired=paired),
    )
    back = compare_distributions(b, a, paired=paired)
    for name in (
        "chi2",
        "p_clustered",
        "design_effect",
        "jsd_bits",
        "jsd_bits_low",
        "total_variation_chance",
    ):
        assert getattr(one, name) == pytest.approx(getattr(other, name))
        assert getattr(one, name) == pytest.approx(getattr(back, name))
    cells, swapped = cell_differences(a, b, paired=paired), cell_differences(b, a, paired=paired)
    assert (cells.cell == swapped.cell).all()
    assert cells.difference == pytest.approx(-swapped.difference)
    assert cells.t == pytest.approx(-swapped.t)
    assert cells.log2_ratio == pytest.approx(-swapped.log2_ratio)
    assert (np.diff(np.abs(cells.difference)) <= 1e-15).all()
    assert (
        np.sort(order[cell_differences(a[:, order], b[:, order], paired=paired).cell]) == np.arange(6)
    ).all()


@pytest.mark.parametrize("paired", [False, True])
def test_a_sample_and_itself(paired):
    a = tables(11, 15, (4, 4))
    found = compare_transitions(a, a, paired=paired)
    for distribution in (found.joint, found.conditional):
        assert distribution.jsd_bits_plugin == pytest.approx(0, abs=1e-12)
        assert distribution.p_clustered > 0.99
    cells = cell_differences(a.reshape(15, -1), a.reshape(15, -1), paired=paired)
    assert (cells.difference == 0).all()
    assert not cells.moved.any()
    assert cells.log10_p == pytest.approx(0)
    assert permutation_p(a.reshape(15, -1), a.reshape(15, -1), np.random.default_rng(0), paired=paired) > 0.9


def test_experts_have_no_figures_that_take_tokens_as_independent():
    rng = np.random.default_rng(6)
    chosen = np.argsort(rng.random((2, 30, 50, 8)), axis=-1)[..., :3]
    counts = (chosen[..., None] == np.arange(8)).any(axis=-2).sum(axis=2)
    found = compare_distributions(counts[0], counts[1], per_token=3)
    assert (found.n_a, found.dof) == (1500, 0)
    assert np.isnan([found.chi2, found.g, found.log10_p_iid, found.design_effect, found.cramers_v]).all()
    assert found.share_a.sum() == pytest.approx(1)
    assert found.p_clustered > 0.01
    assert compare_distributions(counts[0], counts[1]).p_clustered == pytest.approx(found.p_clustered)


def test_one_document_gives_differences_and_a_reason_but_no_test():
    a, b = tables(12, 1, (4,)), tables(13, 9, (4,))
    found = compare_distributions(a, b)
    assert math.isnan(found.p_clustered)
    assert math.isnan(found.jsd_bits)
    assert found.jsd_bits_plugin > 0
    assert found.total_variation > 0
    assert found.reason == "1 independent unit in one of the two: no test or interval below 6"
    cells = cell_differences(a, b)
    assert np.isnan(cells.standard_error).all()
    assert not cells.moved.any()
    assert np.isnan(cell_differences(a[:1], b[:1]).log10_p).all()
    none = compare_distributions(a * 0, b)
    assert "no tokens" in none.reason
    assert math.isnan(none.jsd_bits_plugin)


@pytest.mark.parametrize(
    ("a", "b", "options", "message"),
    [
        (np.ones((3, 4), int), np.ones((3, 5), int), {}, "the same states"),
        (np.ones((3, 4), int), np.ones((2, 4), int), {"paired": True}, "the same groups, got 3 and 2"),
        (np.ones((3, 4, 2), int), np.ones((3, 4), int), {}, "expected 2 axes"),
        (np.full((3, 4), 0.5), np.ones((3, 4), int), {}, "whole counts"),
        (np.ones((3, 4), int), np.ones((3, 4), int), {"per_token": 0}, "per_token"),
    ],
)
def test_what_cannot_be_compared_is_refused(a, b, options, message):
    with pytest.raises(RoutestatError, match=message):
        compare_distributions(a, b, **options)
