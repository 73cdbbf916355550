"""Random tables against the probabilities of all tables with the same margins, and against scipy's."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from scipy import stats

from routestat.inference.base.special import x_log_x
from routestat.inference.markov import random_tables as file
from routestat.inference.markov.random_tables import RandomTables


def sums_by_probability(rows: list[int], columns: list[int]) -> dict[float, float]:
    """Probability of every sum of c ln c: of a table it is proportional to 1 / prod c!."""
    found: Counter = Counter()
    cells = [range(min(r, c) + 1) for r in rows for c in columns]
    for table in itertools.product(*cells):
        each = np.reshape(table, (len(rows), len(columns)))
        if each.sum(axis=1).tolist() == rows and each.sum(axis=0).tolist() == columns:
            weight = 1.0 / math.prod(map(math.factorial, table))
            found[round(float(x_log_x(np.array(table)).sum()), 9)] += weight
    total = sum(found.values())
    return {value: weight / total for value, weight in found.items()}


@pytest.mark.parametrize(("tabulated", "short"), [(1 << 20, 0), (2, 0), (2, 1), (2, 16)])
@pytest.mark.parametrize(
    ("rows", "columns"), [([2, 3], [3, 2]), ([4, 1, 3], [5, 3]), ([2, 2, 2], [1, 4, 1]), ([6, 5], [2, 8, 1])]
)
def test_tables_have_their_probabilities(
    rows: list[int], columns: list[int], tabulated: int, short: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    # With a short table of logarithms most are computed.
    monkeypatch.setattr(file, "TABULATED", tabulated)
    # Drawn cell by cell, by both ways, token by token.
    monkeypatch.setattr(file, "SHORT", short)
    expected, n = sums_by_probability(rows, columns), 20_000
    drawn = RandomTables(sum(rows)).sums(rows, columns, np.random.default_rng(1), n)
    times = Counter(np.round(drawn, 9).tolist())
    assert set(times) <= set(expected)
    if len(expected) > 1:
        observed = [times[value] for value in expected]
        assert stats.chisquare(observed, [n * p for p in expected.values()]).pvalue > 1e-4


@pytest.mark.parametrize(("rows", "columns"), [(12, 9), (3, 40), (30, 2)])
@pytest.mark.parametrize("tokens", [60, 3000])
def test_sums_are_distributed_as_those_of_scipy(rows: int, columns: int, tokens: int) -> None:
    rng = np.random.default_rng([rows, tokens])
    margins = [rng.multinomial(tokens, rng.dirichlet(np.full(n, 3.0))) for n in (rows, columns)]
    drawn = RandomTables(tokens).sums(*margins, rng, 3000)
    scipy = x_log_x(stats.random_table(*margins).rvs(3000, random_state=rng)).sum(axis=(1, 2))
    assert stats.ks_2samp(np.round(drawn, 9), np.round(scipy, 9)).pvalue > 1e-4
    assert drawn.std() > 0


def test_draws_are_those_of_the_generator() -> None:
    margins = [5, 9, 30], [20, 24]
    one, same, other = (RandomTables(44).sums(*margins, np.random.default_rng(s), 50) for s in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()
    rng = np.random.default_rng(3)
    halves = [RandomTables(44).sums(*margins, rng, 25) for _ in range(2)]
    np.testing.assert_array_equal(np.concatenate(halves), one)
