"""The tests of independence, against R, scipy, statsmodels and loops over tokens."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from statsmodels.stats.contingency_tables import Table

from routestat.inference.association.expert_independence import independence_experts
from routestat.inference.association.independence import independence
from routestat.inference.association.measures import cramers_v_corrected
from routestat.inference.base.special import log10_chi2_tail
from tests.inference.association.independence_examples import CLUSTERED, FIGURES, documents, same
from tests.oracle.inference_oracle import clustered_by_tokens

ARTHRITIS = np.array([[29, 7, 7], [13, 7, 21]])


shapes = st.tuples(st.integers(2, 5), st.integers(1, 4), st.integers(1, 4))


grouped_tables = arrays(np.int64, shapes, elements=st.integers(0, 9))


def test_r_prints_these_figures_for_the_arthritis_trial() -> None:
    # vcd::assocstats(xtabs(~Treatment + Improved, Arthritis)):
    #   Likelihood Ratio 13.530  2  0.0011536      Pearson 13.055  2  0.0014626      Cramer's V: 0.394
    r = independence(ARTHRITIS)
    assert (round(r.g, 3), round(r.chi2, 3), r.dof) == (13.530, 13.055, 2)
    assert (round(r.p_g, 7), round(r.p_chi2, 7), round(r.cramers_v, 3)) == (0.0011536, 0.0014626, 0.394)


@pytest.mark.parametrize("seed", range(5))
def test_iid_figures_against_scipy_and_statsmodels(seed: int) -> None:
    rng = np.random.default_rng(seed)
    table = rng.poisson(4.0, rng.integers(2, 7, 2)) + 1
    r = independence(table)
    pearson = stats.chi2_contingency(table, correction=False)
    ratio = stats.chi2_contingency(table, correction=False, lambda_="log-likelihood")
    assert (r.chi2, r.p_chi2, r.dof) == pytest.approx(
        (pearson.statistic, pearson.pvalue, pearson.dof), rel=1e-11
    )
    assert (r.g, r.p_g) == pytest.approx((ratio.statistic, ratio.pvalue), rel=1e-10)
    assert (r.log10_p_chi2, r.log10_p_g) == pytest.approx(
        (math.log10(r.p_chi2), math.log10(r.p_g)), rel=1e-12
    )
    np.testing.assert_allclose(r.expected, pearson.expected_freq, rtol=1e-13)
    other = Table(table, shift_zeros=False)
    np.testing.assert_allclose(r.residuals, other.resid_pearson, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(r.adjusted_residuals, other.standardized_resids, rtol=1e-10, atol=1e-12)
    assert r.mi_bits == pytest.approx(r.g / (2 * r.n * math.log(2)), rel=1e-12)


def test_two_by_two_has_no_yates_correction() -> None:
    # n (ad - bc)**2 over the product of the margins, with ad - bc = 8 * 4 - 2 * 6 = 20.
    assert independence([[8, 2], [6, 4]]).chi2 == pytest.approx(20 * 400 / (10 * 10 * 14 * 6), rel=1e-14)


def test_log10_p_stays_finite_at_a_billion_tokens() -> None:
    r = independence(np.eye(28, dtype=np.int64) * 36_000_000)
    assert r.p_chi2 == 0.0
    assert r.chi2 == pytest.approx(27 * r.n, rel=1e-12)
    # Nearly exp(-chi2 / 2); the power of chi2 in front adds some 3000 digits to twelve million.
    assert r.log10_p_chi2 == pytest.approx(-r.chi2 / 2 / math.log(10), rel=1e-6)
    assert r.cramers_v == pytest.approx(1.0, rel=1e-12)


def test_empty_rows_and_columns_leave_the_degrees_of_freedom() -> None:
    padded = np.zeros((4, 5), dtype=int)
    padded[np.ix_([1, 3], [0, 2, 4])] = ARTHRITIS
    r, plain = independence(padded), independence(ARTHRITIS)
    assert (r.rows.tolist(), r.columns.tolist()) == ([1, 3], [0, 2, 4])
    assert r.expected.shape == r.residuals.shape == r.adjusted_residuals.shape == (2, 3)
    same(r, plain, [*FIGURES, "cramers_v_corrected"])


def test_a_single_row_is_independent_of_everything() -> None:
    for r in (independence([[3, 4, 5]]), independence(np.array([[[1, 4, 0]], [[2, 0, 5]]]))):
        assert (r.dof, r.chi2, r.p_chi2, r.log10_p_chi2, r.g, r.p_g) == (0, 0.0, 1.0, 0.0, 0.0, 1.0)
        assert math.isnan(r.cramers_v)
        assert math.isnan(r.cramers_v_corrected)
        assert (r.theils_u, r.gk_tau, r.gk_lambda) == (0.0, 0.0, 0.0)
        assert math.isnan(r.theils_u_reverse)
        assert r.reason is not None
    assert (r.p_clustered, r.log10_p_clustered, r.n_groups) == (1.0, 0.0, 2)


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 4), (0, 0), (0, 2, 2)])
def test_a_table_without_tokens_is_undefined(shape: tuple[int, ...]) -> None:
    r = independence(np.zeros(shape, dtype=int))
    assert (r.n, r.dof, r.reason) == (0, 0, "no tokens")
    for name in FIGURES[2:] + CLUSTERED:
        assert math.isnan(getattr(r, name)), name


def test_without_groups_the_clustered_figures_say_why_they_are_missing() -> None:
    r = independence(ARTHRITIS)
    assert all(math.isnan(getattr(r, name)) for name in CLUSTERED[:-1])
    assert "no groups" in str(r.reason)
    assert r.n_groups == 0
    one = independence(np.stack([ARTHRITIS, np.zeros_like(ARTHRITIS)]))
    assert one.reason == "1 independent unit: no test or interval below 6"
    assert math.isnan(one.p_clustered)
    assert math.isnan(one.cramers_v_corrected)
    assert one.n_groups == 1
    same(one, independence(ARTHRITIS), FIGURES)


def test_a_v_that_cannot_be_corrected_says_why() -> None:
    # A few long documents make the design effect larger than the tokens are many beside the table.
    tables = np.zeros((12, 8, 8), dtype=int)
    for group in range(12):
        tables[group, group % 8, group % 8] = 10**6 if group < 4 else 1
    found = independence(tables)
    assert math.isnan(found.cramers_v_corrected)
    assert found.reason is not None
    assert "V is not corrected" in found.reason
    assert math.isfinite(found.log10_p_clustered)


def test_few_groups_are_noted() -> None:
    tables = np.random.default_rng(0).poisson(2.0, (40, 3, 3))
    assert "only 12 groups" in str(independence(tables[:12]).note)
    assert independence(tables).note is None


@pytest.mark.parametrize(("seed", "sizes"), [(0, [30] * 12), (1, [5, 80, 17, 40, 9, 22, 60])])
def test_clustered_test_against_loops_over_tokens(seed: int, sizes: list[int]) -> None:
    docs = documents(seed, 4, sizes)
    slow = clustered_by_tokens(docs)
    r = independence(np.array([x.T @ y for x, y in docs]).astype(int))
    assert r.chi2 == pytest.approx(slow.x2, rel=1e-9)
    assert r.nu == pytest.approx(slow.nu, rel=1e-9)
    assert r.p_clustered == pytest.approx(slow.p, rel=1e-8)
    assert r.log10_p_clustered == pytest.approx(math.log10(slow.p), rel=1e-8, abs=1e-9)
    assert r.design_effect == pytest.approx(slow.spread / r.dof, rel=1e-9)
    first = max(stats.chi2.sf(r.chi2 / r.design_effect, r.dof), 0.5 ** (len(sizes) - 1))
    assert r.p_clustered_first_order == pytest.approx(first, rel=1e-9)
    corrected = cramers_v_corrected(r.chi2, r.n, (4, 4), r.design_effect)
    assert r.cramers_v_corrected == pytest.approx(corrected, rel=1e-12)


def test_design_effect_of_tokens_said_m_times_is_m_times_as_large() -> None:
    tables = np.random.default_rng(2).poisson(1.5, (50, 4, 4))
    once, thrice = independence(tables), independence(tables * 3)
    assert thrice.design_effect == pytest.approx(3 * once.design_effect, rel=1e-12)
    assert thrice.chi2 == pytest.approx(3 * once.chi2, rel=1e-12)
    assert (thrice.p_clustered, thrice.nu) == pytest.approx((once.p_clustered, once.nu), rel=1e-10)


def test_design_effect_of_independent_tokens_is_one() -> None:
    rng = np.random.default_rng(3)
    cells = np.outer(rng.dirichlet(np.ones(6) * 3), rng.dirichlet(np.ones(6) * 3)).ravel()
    effects = [
        independence(rng.multinomial(50, cells, 100).reshape(100, 6, 6)).design_effect for _ in range(40)
    ]
    assert np.mean(effects) == pytest.approx(1.0, abs=4 * np.std(effects) / math.sqrt(40) + 0.005)


@given(grouped_tables, st.integers(0, 2**32 - 1))
@settings(max_examples=80, deadline=None)
def test_relabelling_and_reordering_change_nothing(tables: np.ndarray, seed: int) -> None:
    rng = np.random.default_rng(seed)
    shuffled = tables[rng.permutation(len(tables))][:, rng.permutation(tables.shape[1])]
    shuffled = shuffled[:, :, rng.permutation(tables.shape[2])]
    same(independence(shuffled), independence(tables), FIGURES + CLUSTERED)


@given(grouped_tables)
@settings(max_examples=80, deadline=None)
def test_transposing_swaps_the_directions_and_nothing_else(tables: np.ndarray) -> None:
    forth, back = independence(tables), independence(tables.transpose(0, 2, 1))
    same(forth, back, [name for name in FIGURES + CLUSTERED if not name.startswith(("theils", "gk"))])
    for name in ("theils_u", "gk_tau", "gk_lambda"):
        assert getattr(forth, name) == pytest.approx(getattr(back, f"{name}_reverse"), abs=1e-10, nan_ok=True)


@given(grouped_tables)
@settings(max_examples=80, deadline=None)
def test_grouped_figures_are_those_of_the_sum_and_lie_in_range(tables: np.ndarray) -> None:
    grouped, plain = independence(tables), independence(tables.sum(axis=0))
    same(grouped, plain, FIGURES)
    np.testing.assert_array_equal(grouped.residuals, plain.residuals)
    for name in ("cramers_v", "theils_u", "gk_tau", "gk_lambda", "p_clustered", "p_chi2"):
        value = getattr(grouped, name)
        assert math.isnan(value) or -1e-12 <= value <= 1 + 1e-12, name
    if grouped.n and math.isnan(grouped.p_clustered):
        assert grouped.reason
    assert not math.isinf(grouped.log10_p_clustered)


def test_exactly_independent_groups_have_p_one() -> None:
    r = independence(np.stack([np.outer([1, 2, 3], [4, 5])] * 6))
    assert (r.p_clustered, r.log10_p_clustered) == (1.0, 0.0)
    assert "exactly" in str(r.reason)


def test_agreeing_groups_count_as_groups_not_as_tokens() -> None:
    """Scores that all agree: U = G (G - 1) times a square, skewness sqrt(8) (G - 2) / sqrt(G (G - 1)), any tokens."""
    for groups in (10, 60):
        r = independence(np.stack([np.eye(4, dtype=int) * 1000] * groups))
        pairs = groups * (groups - 1)
        assert r.nu == pytest.approx(groups / (groups - 1), rel=1e-9)
        dof = pairs / (groups - 2) ** 2
        p = log10_chi2_tail(dof + math.sqrt(pairs * dof), dof)
        assert r.log10_p_clustered == pytest.approx(max(p, -(groups - 1) * math.log10(2)), rel=1e-9)


def test_summaries_print_the_figures_they_hold() -> None:
    text = independence(np.stack([ARTHRITIS] * 6)).summary()
    # Six times R's 13.055 on two degrees of freedom.
    assert "78.33" in text
    assert "on 2 df" in text
    assert "only 6 groups" in text
    assert "504, 6" in text
    assert "2 x 3" in text
    docs = documents(6, 4, [20] * 6, top=2)
    experts = independence_experts(
        np.array([x.T @ y for x, y in docs]),
        [x.sum(0) for x, _ in docs],
        [y.sum(0) for _, y in docs],
        [20] * 6,
    )
    assert f"{experts.p_clustered:.4g}" in experts.summary()


def test_results_are_closed_for_writing() -> None:
    r = independence(ARTHRITIS)
    for array in (r.expected, r.residuals, r.adjusted_residuals, r.rows, r.columns):
        assert not array.flags.writeable
    with pytest.raises(AttributeError):
        r.n = 3  # type: ignore[misc]


PRINTED = json.loads((Path(__file__).parents[2] / "oracle" / "assocstats.json").read_text())


@pytest.mark.parametrize("name", [name for name in PRINTED if name != "_"])
def test_independence_of_tokens_as_in_vcd(name: str) -> None:
    printed = PRINTED[name]
    shape = tuple(printed["shape"])
    table = np.array(printed["table"], dtype=int).reshape(shape)
    r = independence(table)
    assert (r.g, r.dof, r.p_g) == pytest.approx(printed["likelihood_ratio"], rel=1e-10, abs=0)
    assert (r.chi2, r.dof, r.p_chi2) == pytest.approx(printed["pearson"], rel=1e-10, abs=0)
    assert r.cramers_v == pytest.approx(printed["cramer"][0], rel=1e-10)
    assert r.mi_bits == pytest.approx(
        printed["likelihood_ratio"][0] / (2 * table.sum() * math.log(2)), rel=1e-10
    )
    for ours, theirs in (
        ("expected", "expected"),
        ("residuals", "residuals"),
        ("adjusted_residuals", "stdres"),
    ):
        np.testing.assert_allclose(
            getattr(r, ours), np.reshape(printed[theirs], shape), rtol=1e-10, atol=1e-12, err_msg=ours
        )
