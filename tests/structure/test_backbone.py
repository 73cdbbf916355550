"""The noise-corrected backbone: by hand, against an oracle in exact fractions, and its level on independent layers."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from routestat.counting.context import Context
from routestat.counting.counts import count
from routestat.errors import RoutestatError
from routestat.inference.smoothing.design_effect import transition_design_effect
from routestat.structure.backbone import LEAST_DELTA, backbone_of, independent_table, noise_corrected
from routestat.traces.synthetic import clustered, to_trace
from tests.oracle.graph_oracle import noise_corrected_cell


def test_a_table_by_hand():
    # n = 8, all margins 4: expected 2 a cell. L = 3/2 and 1/2: scores 1/5 and −1/3.
    found = noise_corrected([[3, 1], [1, 3]])
    np.testing.assert_allclose(found.score, [[1 / 5, -1 / 3], [-1 / 3, 1 / 5]])
    # Hypergeometric: mean 2, variance 4·½·½·4/7 = 4/7. Beta: mean ¼, variance 1/112, a + b = (3/16)·112 − 1 = 20,
    # a = 5. Posterior of a cell with 3: 8/28 = 2/7, variance of the count 8·(2/7)(5/7) = 80/49.
    # κ = 8/16 = ½, dκ/dN = 1/16 − 8·8/256 = −3/16; 2(½ − 9/16)/(5/2)² = −1/50, so the error is √(80/49)/50.
    assert found.standard_error[0, 0] == pytest.approx(math.sqrt(80 / 49) / 50)


TABLES = npst.arrays(np.int64, st.tuples(st.integers(2, 4), st.integers(2, 4)), elements=st.integers(1, 40))


@settings(max_examples=40, deadline=None)
@given(TABLES)
def test_the_oracle_in_fractions(table):
    found = noise_corrected(table)
    for i, j in np.ndindex(table.shape):
        score, error = noise_corrected_cell(table.tolist(), i, j)
        assert found.score[i, j] == pytest.approx(score, abs=1e-12)
        assert found.standard_error[i, j] == pytest.approx(error, rel=1e-6, abs=1e-9)


def test_a_design_effect_divides_the_tokens():
    table = np.array([[30, 12, 5], [6, 44, 10], [9, 9, 25]])
    np.testing.assert_allclose(
        noise_corrected(4 * table, 4.0).standard_error, noise_corrected(table).standard_error
    )
    np.testing.assert_allclose(noise_corrected(4 * table, 4.0).score, noise_corrected(4 * table).score)
    # Less than one, or unknown, is one.
    for effect in (0.2, float("nan")):
        np.testing.assert_array_equal(
            noise_corrected(table, effect).standard_error, noise_corrected(table).standard_error
        )


def test_limits_of_the_lift_are_those_of_the_score():
    found = noise_corrected([[30, 12, 5], [6, 44, 10], [9, 9, 25]])
    low, high = found.lift_limits(1.96)
    np.testing.assert_allclose((low - 1) / (low + 1), found.score - 1.96 * found.standard_error)
    np.testing.assert_allclose((high - 1) / (high + 1), found.score + 1.96 * found.standard_error)


def test_order_of_states_changes_nothing():
    table = np.random.default_rng(0).integers(0, 30, (5, 6))
    rows, columns = np.random.default_rng(1).permutation(5), np.random.default_rng(2).permutation(6)
    a, b = noise_corrected(table), noise_corrected(table[rows][:, columns])
    np.testing.assert_allclose(a.score[rows][:, columns], b.score)
    np.testing.assert_allclose(a.standard_error[rows][:, columns], b.standard_error)


@pytest.mark.parametrize(
    "table",
    [np.zeros((3, 3)), np.zeros((0, 3)), [[5, 7]], [[5], [7]], [[9]], [[1, 0], [0, 1]], [[4, 0], [0, 0]]],
)
def test_tables_without_noise_keep_nothing(table):
    found = backbone_of([table], [1.0], np.random.default_rng(0))
    assert found.n_kept == 0
    assert found.delta == np.inf
    assert found.scores[0].score.shape == np.shape(table)


def test_empty_rows_have_no_score():
    found = noise_corrected([[3, 0, 1], [0, 0, 0], [1, 0, 3]])
    assert np.isnan(found.score[1]).all()
    assert np.isnan(found.score[:, 1]).all()
    assert np.isfinite(found.score[[0, 2]][:, [0, 2]]).all()
    assert (found.ratio[1] == -np.inf).all()


def test_planted_cells_are_kept_and_others_are_rare():
    rng = np.random.default_rng(3)
    shares = np.full((28, 28), 1.0)
    planted = rng.random(shares.shape) < 0.1
    shares[planted] = 4.0
    tables = [rng.multinomial(60_000, shares.ravel() / shares.sum()).reshape(shares.shape) for _ in range(4)]
    found = backbone_of(tables, [1.0] * 4, rng)
    kept = np.array(found.kept)
    assert kept[:, planted].mean() > 0.95
    assert kept[:, ~planted].sum() <= 0.1 * kept.sum()
    assert found.n_noise <= 0.05 * found.n_kept
    assert found.delta >= LEAST_DELTA
    assert found.n_cells == 4 * 784


def test_independent_layers_with_document_effects_have_next_to_no_backbone():
    """False discoveries: in independent layers every kept cell is one, so a run with any is a failure of the level."""
    false, naive = 0, 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        made = clustered(
            stickiness=0.7, rng=rng, n_experts=6, top_k=2, layers=4, documents=60, mean_length=60, lengths="exponential"
        )  # fmt: skip
        counts = count(to_trace(made), threads=1)
        tables = [counts.table(Context.layer(1), router) for router in counts.routers[1:]]
        totals = [table.sum(axis=0) for table in tables]
        effects = [transition_design_effect(table) for table in tables]
        assert min(effects) > 1.5
        false += backbone_of(totals, effects, rng).n_kept > 0
        naive += backbone_of(totals, [1.0] * len(totals), rng).n_kept > 0
    assert false <= 2
    assert naive >= 8


def test_independent_tables_have_the_margins():
    rng = np.random.default_rng(0)
    table = np.array([[60, 20], [10, 10]])
    drawn = [independent_table(table, 2.0, rng) for _ in range(400)]
    assert {one.sum() for one in drawn} == {50.0}
    np.testing.assert_allclose(np.mean(drawn, axis=0), np.outer([0.8, 0.2], [0.7, 0.3]) * 50, atol=0.6)
    assert independent_table(np.zeros((2, 3)), 1.0, rng).shape == (2, 3)


def test_bad_tables():
    with pytest.raises(RoutestatError, match="source, target"):
        noise_corrected([1, 2])
    with pytest.raises(RoutestatError, match="whole counts"):
        noise_corrected([[0.5, 1], [1, 1]])
    with pytest.raises(RoutestatError, match="level"):
        backbone_of([], [], np.random.default_rng(0), level=0.0)
