import numpy as np
import pytest

from routestat import RoutestatError
from routestat.inference.markov.second_order import fit_second_order
from routestat.inference.smoothing.backoff import fit_distribution
from routestat.inference.smoothing.backoff_strength import BackoffParameters

# [before, source, target]: two states before, two sources, three targets.
CUBE = np.array([[[3, 1, 0], [0, 0, 0]], [[0, 2, 0], [0, 0, 5]]])


def simulated(seed, shape=(4, 4, 4), tokens=400, concentration=0.3):
    rng = np.random.default_rng(seed)
    distributions = rng.dirichlet(np.full(shape[2], concentration), shape[:2])
    sizes = rng.multinomial(tokens, rng.dirichlet(np.full(shape[0] * shape[1], 0.5)))
    return np.array(
        [
            rng.multinomial(n, distribution)
            for n, distribution in zip(sizes, distributions.reshape(-1, shape[2]), strict=True)
        ]
    ).reshape(shape)


def test_rows_distributions_and_weights_under_a_flat_prior_by_hand():
    step = fit_second_order(CUBE, 0.5)
    assert [step.row(x, y).tolist() for x in (0, 1) for y in (0, 1)] == [
        [3, 1, 0], [0, 0, 0], [0, 2, 0], [0, 0, 5],
    ]  # fmt: skip
    np.testing.assert_allclose(step.distribution(0, 0), np.array([3.5, 1.5, 0.5]) / 5.5)
    np.testing.assert_allclose(step.distribution(1, 1), np.array([0.5, 0.5, 5.5]) / 6.5)
    np.testing.assert_allclose(step.distribution(0, 1), np.full(3, 1 / 3))  # never seen: the prior alone
    assert {step.weight(x, y) for x in (0, 1) for y in (0, 1)} == {1.5}
    assert (step.n_befores, step.contexts.tolist(), step.starts.tolist()) == (2, [0, 2, 3], [0, 2, 3, 4])


@pytest.mark.parametrize(("rule", "each"), [("jeffreys", 0.5), ("perks", 1 / 3), (2.0, 2.0)])
def test_named_priors_are_those_of_order_one(rule, each):
    np.testing.assert_allclose(
        fit_second_order(CUBE, rule).distribution(1, 0), (CUBE[1, 0] + each) / (2 + 3 * each)
    )


@pytest.mark.parametrize("rule", ["empirical-bayes", "hierarchical"])
@pytest.mark.parametrize(("seed", "concentration"), [(0, 0.3), (1, 3.0), (2, 0.02)])
def test_back_off_is_that_of_dense_tables(rule, seed, concentration):
    cube = simulated(seed, (3, 4, 5), 600, concentration)
    step, dense = fit_second_order(cube, rule), fit_distribution(cube)
    assert np.array_equal(step.dense(), cube)
    np.testing.assert_allclose(step.distributions(cube), dense.distribution, rtol=1e-12)
    for x in range(3):
        for y in range(4):
            np.testing.assert_allclose(step.distribution(x, y), dense.distribution[x, y], rtol=1e-12)
            assert step.distribution(x, y).sum() == pytest.approx(1)
            assert step.weight(x, y) == pytest.approx(step.weights(cube)[x, y])


def test_two_choices_never_seen_together_get_the_distribution_of_the_last():
    cube = simulated(3)
    cube[2, 1] = 0
    step = fit_second_order(cube)
    np.testing.assert_allclose(step.distribution(2, 1), step.base[1])
    assert step.weight(2, 1) == pytest.approx(step.fitted.strength)
    np.testing.assert_allclose(step.base, fit_distribution(cube).base)


def test_a_discount_is_taken_off_every_count_and_given_to_the_base():
    step = fit_second_order(CUBE, 0.5)
    step = type(step)(
        step.contexts,
        step.starts,
        step.targets,
        step.counts,
        step.base,
        BackoffParameters(2.0, 0.25),
        step.n_befores,
    )
    # (3 − d, 1 − d, 0) + (s + 2 d)/3 each, over 4 + s.
    np.testing.assert_allclose(step.distribution(0, 0), (np.array([2.75, 0.75, 0.0]) + 2.5 / 3) / 6)
    assert step.weight(0, 0) == 2.5
    np.testing.assert_allclose(step.distributions(step.dense())[0, 0], step.distribution(0, 0))


def test_all_its_arrays_are_closed():
    step = fit_second_order(simulated(4))
    for name in ("contexts", "starts", "targets", "counts", "base"):
        assert not getattr(step, name).flags.writeable


def test_a_table_without_tokens_has_the_uniform_distribution():
    np.testing.assert_allclose(
        fit_second_order(np.zeros((2, 3, 4), int)).distribution(1, 2), np.full(4, 0.25)
    )


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (np.zeros((2, 2), int), r"counts \[before, source, target\], got 2 axes"),
        (np.full((2, 2, 2), 0.5), "whole counts"),
        (np.full((2, 2, 2), -1), "zero or more"),
        (np.zeros((1, 1, (1 << 22) + 1), np.int8), "use order 1 for so many states"),
    ],
)
def test_other_tables_are_refused(table, message):
    with pytest.raises(RoutestatError, match=message):
        fit_second_order(table)


def test_an_impossible_prior_is_refused():
    with pytest.raises(RoutestatError, match="alpha"):
        fit_second_order(CUBE, "flat")
