"""Windows and routes of two samples, against a count in plain Python."""

import itertools
from collections import Counter, defaultdict

import numpy as np
import pytest

from routestat.counting import common_windows as counting
from routestat.counting.common_windows import common_routes, common_windows
from tests.counting.three_layer_traces import random_sample, sample_of


def by_hand(samples, states, least, groups):
    """Tokens by (start, choices), of windows of both samples that are frequent enough, by sample and group."""
    found, held = defaultdict(lambda: (Counter(), Counter())), defaultdict(set)
    for side, sample in enumerate(samples):
        alphabet = sample.routers[0].alphabet
        columns = [sample.columns[router.name].tolist() for router in sample.routers]
        for row in range(len(sample)):
            for start in range(len(columns)):
                for length in range(3, min(8, len(columns) - start) + 1):
                    own = [column[row] for column in columns[start : start + length]]
                    if max(own) >= alphabet.size:
                        break
                    choices = [alphabet.unrank(one).tolist() if states == "expert" else [one] for one in own]
                    for window in itertools.product(*choices):
                        group = int(sample.group[row])
                        found[start, window][side][group] += 1
                        held[start, window].add((side, group))
    return {
        window: counts
        for window, counts in found.items()
        if sum(counts[0].values()) + sum(counts[1].values()) >= least and len(held[window]) >= groups
    }


@pytest.mark.parametrize(("states", "least"), [("subset", 12), ("expert", 60)])
def test_every_token_one_by_one(monkeypatch, states: str, least: int):
    monkeypatch.setattr(counting, "LEAST_TOKENS", least)
    monkeypatch.setattr(counting, "ONE_IN_OF_EXPERTS", 10_000)
    samples = tuple(random_sample(seed, [40] * 12, missing=0.05, n_layers=5) for seed in (1, 2))
    windows, used = common_windows(samples, states)
    assert used == least
    expected = by_hand(samples, states, least, counting.LEAST_GROUPS)
    found = {
        (one.start, tuple(choices)): tuple(
            Counter({group: int(n) for group, n in enumerate(table[:, place]) if n}) for table in one.tokens
        )
        for one in windows
        for place, choices in enumerate(one.choices.tolist())
    }
    assert len(found) > 20
    assert found == expected
    for one in windows:
        for sample, size in zip(samples, one.sizes, strict=True):
            columns = [sample.columns[router.name] for router in sample.routers][
                one.start : one.start + one.length
            ]
            known = np.max(columns, axis=0) < sample.routers[0].alphabet.size
            np.testing.assert_array_equal(size, np.bincount(sample.group[known], minlength=sample.groups))


def test_too_many_windows_require_more_tokens(monkeypatch):
    samples = tuple(random_sample(seed, [60] * 40, n_layers=4) for seed in (1, 2))
    monkeypatch.setattr(counting, "LEAST_TOKENS", 10)
    every, least = common_windows(samples, "subset")
    monkeypatch.setattr(counting, "MOST_WINDOWS", 100)
    few, more = common_windows(samples, "subset")
    assert more > least
    assert 0 < sum(len(one.choices) for one in few) <= 100 < sum(len(one.choices) for one in every)


def test_whole_routes(monkeypatch):
    monkeypatch.setattr(counting, "LEAST_ON_ROUTE", 8)
    rows = np.array([[0, 1, 2], [3, 3, 3], [2, 1, 0]])
    rng = np.random.default_rng(0)
    samples = tuple(sample_of(rows[rng.choice(3, 96, p=(0.6, 0.3, 0.1))], [12] * 8, 4, 1) for _ in range(2))
    found = common_routes(samples)
    assert found.is_route
    assert found.choices.tolist()[0] == [0, 1, 2]
    columns = [np.column_stack([s.columns[r.name] for r in s.routers]) for s in samples]
    for place, choices in enumerate(found.choices):
        for side in (0, 1):
            own = (columns[side] == choices).all(axis=1)
            np.testing.assert_array_equal(
                found.tokens[side][:, place], np.bincount(samples[side].group[own], minlength=256)
            )


def test_nothing_frequent():
    samples = tuple(random_sample(seed, [10] * 3, missing=1.0) for seed in (1, 2))
    assert common_windows(samples, "subset")[0] == ()
    assert common_routes(samples) is None
    assert common_windows(tuple(random_sample(3, [10] * 3, n_layers=2) for _ in range(2)), "subset")[0] == ()
