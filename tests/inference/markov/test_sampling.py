import functools
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from routestat import RoutestatError, fit_chain
from routestat.inference.markov.sampling import draw_states
from routestat.inference.markov.second_order import fit_second_order
from tests.oracle.chain_oracle import joint_distribution

WIDTHS = (3, 2, 3, 2)


def chain_of(tables, first, **more):
    widths = [len(first), *(np.shape(table)[1] for table in tables)]
    return fit_chain(
        first, tables, 0.5, layers=range(len(widths)), n_experts=widths, top_k=[1] * len(widths), **more
    )


@functools.cache
def mixed(orders=(1, 2, 0), effects=()):
    rng = np.random.default_rng(0)
    cube = rng.poisson(rng.gamma(0.3, 40, WIDTHS[:3]))
    tables = [cube.sum(axis=2), cube.sum(axis=0), rng.poisson(5, WIDTHS[2:]) * [[1, 3]]]
    second = [None, fit_second_order(cube), None]
    return chain_of(tables, cube.sum(axis=(1, 2)), second=second, orders=orders, design_effects=effects)


@pytest.mark.parametrize("orders", [(1, 2, 0), (0, 1, 1), (1, 0, 1), (0, 2, 1)])
def test_paths_are_as_frequent_as_the_chain_says(orders):
    chain, n = mixed(orders), 100_000
    distribution = joint_distribution(chain)
    assert sum(distribution.values()) == pytest.approx(1)
    states = draw_states(chain, n, np.random.default_rng(1), "mean")
    observed = np.bincount(np.ravel_multi_index(states.T, WIDTHS), minlength=len(distribution))
    expected = n * np.array([distribution[path] for path in np.ndindex(*WIDTHS)])
    assert stats.chisquare(observed[expected > 5], expected[expected > 5] * (
        observed[expected > 5].sum() / expected[expected > 5].sum()
    )).pvalue > 1e-3  # fmt: skip
    assert observed[expected < 0.01].sum() == 0


def test_tokens_are_independent_of_each_other():
    states = draw_states(mixed(), 60_000, np.random.default_rng(2), "mean")
    table = np.zeros((6, 6), int)
    code = states[:, 0].astype(int) * 2 + states[:, 1]
    np.add.at(table, (code[:-1], code[1:]), 1)
    assert stats.chi2_contingency(table).pvalue > 1e-3


# Chains of which one state of the last layer follows from one state before: what varies is one row.
ROW = np.array([12, 30, 6])
SINGLE = {
    "first layer": (chain_of([np.outer(ROW, [1])], ROW, design_effects=[3.0]), 0, 0.5),
    "order 0": (chain_of([ROW[None]], [48], orders=[0], design_effects=[3.0]), 1, 1 / 3),
    "order 1": (chain_of([ROW[None]], [48], design_effects=[3.0]), 1, 0.5),
    "order 2": (
        chain_of(
            [[[48]], ROW[None]],
            [48],
            second=[None, fit_second_order(ROW[None, None], 0.5)],
            orders=[1, 2],
            design_effects=[1.0, 3.0],
        ),
        2,
        0.5,
    ),
}


@pytest.mark.parametrize("what", SINGLE)
def test_drawn_probabilities_spread_counts_as_dirichlet_multinomials(what):
    chain, layer, prior = SINGLE[what]
    n, runs, rng = 40, 3000, np.random.default_rng(3)
    counts = np.array([np.bincount(draw_states(chain, n, rng)[:, layer], minlength=3) for _ in range(runs)])
    p = (ROW + prior) / (48 + 3 * prior)
    # 48 tokens are worth 16; the prior is worth itself.
    weight = 3 * prior + 48 / 3
    variance = n * p * (1 - p) * (n + weight) / (1 + weight)
    assert np.abs((counts.mean(axis=0) - n * p) / np.sqrt(variance / runs)).max() < 4
    error = np.array([stats.moment(column, 4) / column.var() ** 2 - 1 for column in counts.T]) / runs
    assert np.abs(counts.var(axis=0) / variance - 1).max() < 4 * np.sqrt(error).max()
    # At the mean they are multinomial: far narrower.
    plain = np.array(
        [np.bincount(draw_states(chain, n, rng, "mean")[:, layer], minlength=3) for _ in range(500)]
    )
    assert plain.var(axis=0) == pytest.approx(n * p * (1 - p), rel=0.3)


def test_parameters_are_drawn_once_for_all_tokens():
    # Of a chain that knows next to nothing one posterior draw is one distribution: halves of its tokens agree.
    chain = chain_of([np.ones((1, 6), int)], [6])
    for seed in range(20):
        states = draw_states(chain, 20_000, np.random.default_rng(seed))[:, 1]
        halves = np.array([np.bincount(half, minlength=6) for half in np.split(states, 2)])
        assert stats.chi2_contingency(halves[:, halves.any(axis=0)]).pvalue > 1e-4


def test_what_comes_back_is_narrow_closed_and_the_generator_s():
    chain, seen = mixed(), []
    one, again, other = (
        draw_states(chain, 50, np.random.default_rng(seed), progress=lambda *at: seen.append(at))
        for seed in (1, 1, 2)
    )
    assert (one.shape, one.dtype, one.flags.writeable) == ((50, 4), np.uint8, False)
    assert np.array_equal(one, again)
    assert not np.array_equal(one, other)
    assert seen[:4] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    alone = chain_of([], [3, 0, 1])
    assert draw_states(alone, 5, np.random.default_rng(0)).shape == (5, 1)


def test_a_state_beyond_a_byte_is_kept_whole():
    chain = chain_of([np.eye(1, 300, 299, dtype=int) * 10**6], [10**6])
    assert draw_states(chain, 3, np.random.default_rng(0), "mean")[:, 1].max() == 299


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n_tokens": 0}, "n_tokens: expected a whole number from 1 on, got 0"),
        ({"n_tokens": 2.5}, "n_tokens"),
        ({"rng": 3}, "rng: expected a numpy Generator"),
        ({"parameters": "posterior"}, "parameters: expected drawn or mean, got 'posterior'"),
        (
            {"chain": replace(mixed(), states="expert")},
            "chains of experts are drawn by their factorised form",
        ),
        ({"chain": chain_of([np.zeros((2, 3), int)], [1, 2])}, "layer 1: no token has a choice there"),
        ({"chain": chain_of([np.ones((2, 3), int)], [0, 0])}, "layer 0 holds no data"),
    ],
)
def test_what_cannot_be_drawn_is_said(arguments, message):
    given = {"chain": mixed(), "n_tokens": 5, "rng": np.random.default_rng(0), **arguments}
    with pytest.raises(RoutestatError, match=message):
        draw_states(**given)
