import functools
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from routestat import RoutestatError, fit_chain
from routestat.inference.markov.prediction import predict_ahead
from routestat.inference.markov.second_order import fit_second_order
from routestat.inference.smoothing.design_effect import transition_design_effect
from tests.oracle.chain_oracle import path_distribution

WIDTHS = (3, 2, 3, 2, 3, 2)
ORDERS = (1, 2, 0, 2, 1)


@functools.cache
def mixed(seed=0, orders=ORDERS, alpha="empirical-bayes", effects=(1.0, 4.0, 2.0, 3.0, 1.5), tokens=300):
    """A chain over six layers of 3, 2, 3, 2, 3, 2 states, fitted to random tokens; layer 4 is dense."""
    rng = np.random.default_rng(seed)
    states = np.array([rng.choice(width, tokens, p=rng.dirichlet(np.ones(width))) for width in WIDTHS])
    for gap in range(1, len(WIDTHS)):
        follows = rng.random(tokens) < 0.5
        states[gap] = np.where(
            follows, (states[gap - 1] + states[max(gap - 2, 0)]) % WIDTHS[gap], states[gap]
        )
    counts, second = [], []
    for gap in range(len(WIDTHS) - 1):
        table = np.zeros(WIDTHS[gap : gap + 2], int)
        np.add.at(table, (states[gap], states[gap + 1]), 1)
        counts.append(table)
        step = None
        if orders[gap] == 2:
            cube = np.zeros(WIDTHS[gap - 1 : gap + 2], int)
            np.add.at(cube, tuple(states[gap - 1 : gap + 2]), 1)
            step = fit_second_order(cube, alpha)
        second.append(step)
    return fit_chain(
        np.bincount(states[0], minlength=WIDTHS[0]),
        counts,
        alpha,
        layers=[0, 1, 2, 3, 5, 6],
        n_experts=WIDTHS,
        top_k=[1] * 6,
        second=second,
        orders=orders,
        design_effects=effects,
    )


@pytest.mark.parametrize("alpha", ["empirical-bayes", "hierarchical", 0.5])
@pytest.mark.parametrize("orders", [ORDERS, (1, 1, 1, 1, 1), (0, 2, 2, 2, 2), (2 - 1, 2, 1, 0, 2)])
def test_probabilities_are_sums_over_all_paths(orders, alpha):
    chain = mixed(1, orders, alpha)
    for gap, layer in enumerate(chain.layers[:-1]):
        for ahead in range(1, min(4, 5 - gap) + 1):
            for length in range(1, min(gap + 1, 3) + 1):
                history = [(gap + back) % WIDTHS[gap + 1 - length + back] for back in range(length)]
                # What is further back than the gap's order is not known to the steps after it either.
                known = tuple(history[-2:]) if chain.orders[gap] == 2 else (history[-1],)
                found = predict_ahead(
                    chain, layer, history, ahead=ahead, rng=np.random.default_rng(0), draws=2
                )
                np.testing.assert_allclose(
                    found.probability, path_distribution(chain, gap, known, ahead), atol=1e-12
                )
                assert found.layer == chain.layers[gap + ahead]
                assert found.order == min(chain.orders[gap], length)


def test_one_layer_ahead_has_the_beta_margins_of_as_many_tokens_as_documents_are_worth():
    chain = mixed(2, alpha=0.5)
    cases = [
        (0, [1], chain.counts[0][1], 1.0, 1.0),  # order 1: two targets of alpha 1/2
        (1, [2, 1], chain.second[1].row(2, 1), 1.5, 4.0),  # order 2: three of them
        (2, [0], chain.counts[2].sum(axis=0), 1.0, 2.0),  # order 0: Perks
    ]
    for layer, history, row, prior, worth in cases:
        found = predict_ahead(chain, layer, history, level=0.9)
        assert found.n_tokens == row.sum()
        weight = prior + row.sum() / worth
        for j, p in enumerate((row + prior / len(row)) / (row.sum() + prior)):
            distribution = stats.beta(weight * p, weight * (1 - p))
            assert found.probability[j] == pytest.approx(p)
            assert (found.low[j], found.high[j]) == pytest.approx(
                (distribution.ppf(0.05), distribution.ppf(0.95))
            )


@pytest.mark.parametrize("orders", [(1, 1, 1, 1, 1), (1, 2, 2, 1, 1), (1, 2, 0, 1, 1), (1, 0, 0, 1, 1)])
def test_limits_further_ahead_are_quantiles_over_chains_drawn_from_the_posterior(orders):
    chain, draws = mixed(3, orders, tokens=120), 1500
    history = (2, 1)
    known = history if orders[1] == 2 else history[1:]
    rng = np.random.default_rng(4)
    drawn = np.array([path_distribution(chain, 1, known, 3, rng) for _ in range(draws)])
    found = predict_ahead(chain, 1, history, ahead=3, level=0.8, rng=np.random.default_rng(5), draws=draws)
    np.testing.assert_allclose(
        drawn.mean(axis=0), found.probability, atol=5 * drawn.std(axis=0).max() / draws**0.5
    )
    for wanted, got in zip(np.quantile(drawn, [0.1, 0.9], axis=0), (found.low, found.high), strict=True):
        # The error of a decile of so many draws, of both sides: 1.7 standard deviations over the root.
        np.testing.assert_allclose(got, wanted, atol=4 * 1.7 * 2**0.5 * drawn.std(axis=0).max() / draws**0.5)


def test_a_distribution_that_no_source_changes_is_one_distribution_however_it_is_reached():
    # Order 0 at the end: wherever tokens come from, the answer is the layer's own distribution, as well known as that.
    chain, draws = mixed(8, (1, 1, 0, 1, 1), tokens=120), 2000
    found = predict_ahead(chain, 1, [1], ahead=2, level=0.8, rng=np.random.default_rng(9), draws=draws)
    row, weight = chain.counts[2].sum(axis=0), 1.0 + chain.counts[2].sum() / chain.design_effects[2]
    for j, p in enumerate((row + 1 / len(row)) / (row.sum() + 1)):
        distribution = stats.beta(weight * p, weight * (1 - p))
        assert found.probability[j] == pytest.approx(p)
        assert (found.low[j], found.high[j]) == pytest.approx(
            (distribution.ppf(0.1), distribution.ppf(0.9)), abs=4 * 1.7 * distribution.std() / draws**0.5
        )


def test_two_choices_never_seen_together_are_answered_by_the_back_off():
    chain = mixed(6)
    cube = chain.second[1].dense().copy()
    cube[2, 1] = 0
    chain = replace(chain, second=(None, fit_second_order(cube), *chain.second[2:]))
    found = predict_ahead(chain, 1, [2, 1])
    assert (found.n_tokens, found.order) == (0, 2)
    np.testing.assert_allclose(found.probability, chain.second[1].base[1])


def test_draws_are_those_of_the_generator():
    chain = mixed(7)
    one, again, other = (
        predict_ahead(chain, 0, [0], ahead=2, rng=np.random.default_rng(s)) for s in (1, 1, 2)
    )
    assert np.array_equal(one.low, again.low)
    assert not np.array_equal(one.low, other.low)
    assert np.array_equal(one.probability, other.probability)


@pytest.mark.parametrize(
    ("layer", "history", "ahead", "message"),
    [
        (4, [0], 1, "layer 4 is not in this chain; its layers are 0, 1, 2, 3, 5, 6"),
        (6, [0], 1, "layer 6 is the chain's last"),
        (1, [], 1, "one choice at least"),
        (1, [0, 0, 0], 1, "3 choices up to layer 1 reach before the first layer, 0"),
        (1, [0, 2], 1, "state 2 is out of range: layer 1 has 0 … 1"),
        (1, [3, 0], 1, "state 3 is out of range: layer 0 has 0 … 2"),
        (1, [-1], 1, "out of range"),
        (1, [0.5], 1, "out of range"),
        (3, [0], 3, "3 layers after layer 3 there is none: the chain ends at layer 6"),
        (3, [0], 0, "ahead: expected a number of layers from 1 on, got 0"),
        (3, [0], 2, "rng"),
    ],
)
def test_what_cannot_be_predicted_is_refused(layer, history, ahead, message):
    with pytest.raises(RoutestatError, match=message):
        predict_ahead(mixed(), layer, history, ahead=ahead)


def test_experts_are_not_states():
    table = np.ones((4, 4), int)
    chain = fit_chain(
        [4, 4, 4, 4], [table], 0.5, layers=[0, 1], n_experts=[4, 4], top_k=[2, 2], states="expert"
    )
    with pytest.raises(RoutestatError, match="predict_ahead needs a chain of states"):
        predict_ahead(chain, 0, [1])


STATES, TOKENS, RUNS = 4, 2000, 150


def coverage(ahead, repeats, corrected, seed):
    """Share of limits at 90 % that hold the truth, over chains of four layers refitted to new tokens.

    Documents hold ten tokens' worth of choices, each token `repeats` times.
    """
    rng = np.random.default_rng(seed)
    inside = 0
    for _ in range(RUNS):
        distributions = rng.dirichlet(np.full(STATES, 1.0), (3, STATES))
        states = [rng.integers(0, STATES, TOKENS)]
        for distribution in distributions:
            states.append((rng.random((TOKENS, 1)) > np.cumsum(distribution[states[-1]], axis=1)).sum(axis=1))
        tables = np.zeros((3, TOKENS // 10, STATES, STATES), int)
        for gap in range(3):
            np.add.at(tables[gap], (np.arange(TOKENS) // 10, states[gap], states[gap + 1]), repeats)
        chain = fit_chain(
            np.bincount(states[0], minlength=STATES),
            tables.sum(axis=1),
            1.0,
            layers=range(4),
            n_experts=[STATES] * 4,
            top_k=[1] * 4,
            design_effects=[transition_design_effect(table) if corrected else 1.0 for table in tables],
        )
        truth = np.eye(STATES)[0] @ np.linalg.multi_dot(
            [np.eye(STATES), *distributions[:ahead], np.eye(STATES)]
        )
        found = predict_ahead(chain, 0, [0], ahead=ahead, level=0.9, rng=rng, draws=200)
        inside += ((found.low <= truth) & (truth <= found.high)).sum()
    return inside / (RUNS * STATES)


# Limits of four states are worth about three: at 150 runs the Monte-Carlo error is 1.4 %.
ERROR = (0.9 * 0.1 / (RUNS * 3)) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize("ahead", [1, 3])
def test_limits_hold_the_truth_as_often_as_they_say_of_independent_tokens(ahead):
    assert coverage(ahead, 1, True, ahead) == pytest.approx(0.9, abs=3 * ERROR)


@pytest.mark.slow
@pytest.mark.parametrize("ahead", [1, 3])
def test_limits_of_tokens_that_documents_repeat_hold_the_truth_by_the_design_effect_alone(ahead):
    assert coverage(ahead, 8, True, 10 + ahead) == pytest.approx(0.9, abs=3 * ERROR)
    # An eighth of the tokens is real: 1.645 / sqrt(8) standard errors hold 44 %.
    assert coverage(ahead, 8, False, 10 + ahead) == pytest.approx(0.44, abs=0.08)


@pytest.mark.slow
@pytest.mark.parametrize("alike", [False, True])
def test_a_base_is_known_no_better_than_the_tokens_that_estimate_it(alike):
    # The layer two before has no effect, so the strength of order 2 goes to its bound: rows are alike, but their
    # distribution is estimated from 500 tokens only. Where layers are independent that holds for order 1 too.
    rng, inside, width = np.random.default_rng(20), 0, 4
    for _ in range(RUNS):
        distributions = rng.dirichlet(np.full(width, 3.0), size=width)
        distributions = distributions if not alike else np.tile(distributions[:1], (width, 1))
        states = rng.integers(width, size=(2, 500))
        drawn = np.array([rng.choice(width, p=distributions[source]) for source in states[1]])
        cube = np.zeros((width,) * 3, int)
        np.add.at(cube, (states[0], states[1], drawn), 1)
        chain = fit_chain(
            cube.sum(axis=(1, 2)),
            [cube.sum(axis=2), cube.sum(axis=0)],
            layers=[0, 1, 2],
            n_experts=[width] * 3,
            top_k=[1] * 3,
            second=[None, fit_second_order(cube)],
            orders=[1, 2],
        )
        found = predict_ahead(chain, 1, [0, 0], level=0.9)
        inside += ((found.low <= distributions[0]) & (distributions[0] <= found.high)).sum()
    assert inside / (RUNS * width) == pytest.approx(0.9, abs=3 * ERROR)
