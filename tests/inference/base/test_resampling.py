import numpy as np
import pytest

from routestat.errors import RoutestatError
from routestat.inference.base.resampling import group_resamples, resample_weights

TABLES = np.random.default_rng(0).poisson(3.0, (7, 2, 4, 5))


def test_each_resample_is_the_sum_of_the_groups_drawn() -> None:
    weights = resample_weights(7, np.random.default_rng(1), 40)
    drawn = np.concatenate(list(group_resamples(TABLES, np.random.default_rng(1), 40)))
    assert drawn.shape == (40, 2, 4, 5)
    for resample, weight in zip(drawn, weights, strict=True):
        by_hand = sum(TABLES[group] for group, times in enumerate(weight) for _ in range(times))
        np.testing.assert_array_equal(resample, by_hand)


def test_weights_are_draws_with_replacement_of_as_many_groups() -> None:
    weights = resample_weights(12, np.random.default_rng(2), 20_000)
    assert weights.shape == (20_000, 12)
    assert (weights.sum(axis=1) == 12).all()
    # Binomial(12, 1/12): mean 1, variance 11/12; two groups' weights have covariance -1/12.
    assert weights.mean() == 1.0
    assert weights[:, 3].var() == pytest.approx(11 / 12, rel=0.05)
    assert np.cov(weights[:, 0], weights[:, 1])[0, 1] == pytest.approx(-1 / 12, abs=0.03)
    # A group is left out with probability (11/12)**12 = 0.352.
    assert np.mean(weights == 0) == pytest.approx((11 / 12) ** 12, abs=0.005)


def test_mean_and_covariance_of_the_resamples_are_those_of_the_groups() -> None:
    flat = TABLES.reshape(7, -1).astype(float)
    drawn = np.concatenate(list(group_resamples(TABLES, np.random.default_rng(3), 30_000))).reshape(
        30_000, -1
    )
    np.testing.assert_allclose(drawn.mean(axis=0), flat.sum(axis=0), rtol=0.02)
    # The plug-in variance of a total of seven draws: the sum of squares about the mean.
    exact = ((flat - flat.mean(axis=0)) ** 2).sum(axis=0)
    np.testing.assert_allclose(drawn.var(axis=0), exact, rtol=0.06)


@pytest.mark.parametrize("memory", [1, 40 * 4 * 3, 1 << 20])
def test_blocks_of_any_size_hold_the_same_resamples(memory: int) -> None:
    whole = np.concatenate(list(group_resamples(TABLES, np.random.default_rng(4), 25)))
    blocks = list(group_resamples(TABLES, np.random.default_rng(4), 25, memory=memory))
    assert max(len(block) for block in blocks) <= max(1, memory // (40 * 4))
    np.testing.assert_array_equal(np.concatenate(blocks), whole)


def test_single_precision_only_where_it_is_exact() -> None:
    small = next(group_resamples(TABLES, np.random.default_rng(5), 3))
    assert small.dtype == np.float32
    # 2**24 + 1 is no single-precision number: seven draws of it must still add up.
    large = np.full((7, 1, 1), 2**24 + 1)
    block = next(group_resamples(large, np.random.default_rng(5), 3))
    assert block.dtype == np.float64
    assert (block == 7 * (2**24 + 1)).all()


def test_groups_without_tokens_are_not_drawn() -> None:
    padded = np.concatenate([TABLES, np.zeros((5, 2, 4, 5), dtype=int)])
    drawn = np.concatenate(list(group_resamples(padded, np.random.default_rng(6), 10)))
    plain = np.concatenate(list(group_resamples(TABLES, np.random.default_rng(6), 10)))
    np.testing.assert_array_equal(drawn, plain)


@pytest.mark.parametrize(
    ("tables", "n", "says"),
    [
        (TABLES, 0, "1 or more groups and resamples"),
        (np.ones(3, dtype=int), 2, "cells behind"),
        (np.zeros((3, 2, 2), dtype=int), 2, "at least one group"),
        (np.full((3, 2), 0.5), 2, "fractions"),
        (np.full((64, 1), 2**50), 2, "up to 2\\*\\*53"),
    ],
)
def test_bad_input_is_refused_before_anything_is_drawn(tables: np.ndarray, n: int, says: str) -> None:
    with pytest.raises(RoutestatError, match=says):
        group_resamples(tables, np.random.default_rng(7), n)
