"""Documents that exchange layers, counted by hand and against plain loops."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

from routestat import Router
from routestat.counting import recombined_documents as exchanged
from routestat.counting.document_sample import Sample
from routestat.counting.recombined_documents import group_tables, recombined_samples, units_of
from routestat.traces.clusters.units import Units

NAMES = ("L00", "L01", "L02")
# Six states a layer: pairs of 4 experts.
SOURCE, VIA, TARGET = (Router(layer, 4, 2, name) for layer, name in enumerate(NAMES))


def sample(lengths, *columns, routers=(SOURCE, TARGET), groups=256):
    document = np.repeat(np.arange(len(lengths)) * 3 + 1, lengths).astype(np.int32)
    named = {router.name: np.array(values, np.uint8) for router, values in zip(routers, columns, strict=True)}
    n = len(document)
    return Sample(
        routers,
        np.zeros(n, np.int32),
        document,
        np.zeros(n, bool),
        named,
        Units.alone(document),
        groups,
        len(lengths),
        n,
    )


def rows_of(made):
    return [made.columns[router.name].tolist() for router in made.routers]


def test_three_documents_by_hand():
    """Constant documents of 2, 8 and 2 tokens: two of them meet in 4 rows, or in 2, and the third rests."""
    lengths = (2, 8, 2)
    given = sample(lengths, np.repeat([0, 2, 4], lengths), np.repeat([1, 3, 5], lengths))
    found = Counter()
    for made in recombined_samples(given, SOURCE, TARGET, np.random.default_rng(0), 600):
        counted = group_tables(made, SOURCE, TARGET)
        assert counted.shape == (1, 6, 6)
        ((x, y),) = np.argwhere(counted[0])
        found[int(x), int(y), int(counted.sum())] += 1
    # (source, target, rows) of all ordered pairs of documents; never a document with itself.
    assert set(found) == {(0, 3, 4), (0, 5, 2), (2, 1, 4), (2, 5, 4), (4, 1, 2), (4, 3, 4)}
    # Each is drawn in one of six cases.
    assert max(abs(times - 100) for times in found.values()) < 5 * np.sqrt(600 * 5 / 36)


def test_every_unit_is_used_at_most_once():
    """Documents marked by their states: 5 of 6 in all, each on one side, never with itself."""
    lengths = (3, 1, 4, 2, 6)
    marks = np.repeat(np.arange(5), lengths)
    given = sample(lengths, marks, marks)
    for made in recombined_samples(given, SOURCE, TARGET, np.random.default_rng(1), 50):
        pairs = set(zip(made.document.tolist(), *rows_of(made), strict=True))
        assert [number for number, *_ in sorted(pairs)] == [0, 1]
        assert len({mark for _, *marks in pairs for mark in marks}) == 4


def test_series_keep_their_order_and_are_read_in_a_circle():
    lengths = (5, 5, 5, 5)
    steps = np.tile(np.arange(5), 4)
    given = sample(lengths, steps, steps)
    apart = Counter()
    for made in recombined_samples(given, SOURCE, TARGET, np.random.default_rng(2), 200):
        x, y = rows_of(made)
        for first in (0, 5):
            one, other = x[first : first + 5], y[first : first + 5]
            assert all((b - a) % 5 == 1 for side in (one, other) for a, b in pairwise(side))
            apart[(other[0] - one[0]) % 5] += 1
    # Positions of the two sides fall together as often as any others: a choice at the first token binds nothing.
    assert max(abs(times - 80) for times in apart.values()) < 5 * np.sqrt(80)


def test_margins_are_those_of_the_documents_that_gave_them():
    """Of equal lengths: the source's loads of one document, the target's of its partner."""
    rng = np.random.default_rng(3)
    x, y = rng.integers(0, 6, (2, 8, 20))
    given = sample((20,) * 8, x.ravel(), y.ravel())
    loads = [{tuple(np.bincount(row, minlength=6)): at for at, row in enumerate(side)} for side in (x, y)]
    assert min(map(len, loads)) == 8
    for made in recombined_samples(given, SOURCE, TARGET, rng, 20):
        counted = group_tables(made, SOURCE, TARGET)
        givers = [loads[0][tuple(row)] for row in counted.sum(axis=2)]
        takers = [loads[1][tuple(row)] for row in counted.sum(axis=1)]
        assert sorted(givers + takers) == list(range(8))
        assert counted.sum(axis=(1, 2)).tolist() == [20] * 4


def expected_table(given, units):
    """Mean over all ordered pairs of documents of sqrt(a b) (source shares of one)(target shares of the other)."""
    names, total = np.unique(given.document), np.zeros((6, 6))
    x, y = (given.columns[name].astype(int) for name in ("L00", "L02"))
    for one in names:
        for other in names:
            if one == other:
                continue
            first, second = x[given.document == one], y[given.document == other]
            shares = [np.bincount(side, minlength=6)[:6] / len(side) for side in (first, second)]
            total += np.sqrt(len(first) * len(second)) * np.outer(*shares)
    return total / (len(names) * (len(names) - 1)) * units


@pytest.mark.parametrize("most", [500_000, 12])
def test_tables_are_products_in_the_mean_whatever_lengths_and_positions(monkeypatch, most):
    """Choices that depend on the length of a document and on the place in it, on both sides."""
    monkeypatch.setattr(exchanged, "MOST_ROWS", most)
    lengths = np.array([2, 3, 7, 11, 5, 16])
    place = np.concatenate([np.arange(n) for n in lengths])
    long = np.repeat(lengths > 6, lengths)
    x, y = np.minimum(place, 2) + 3 * long, 5 - np.minimum(place, 2) - 3 * long
    given = sample(lengths, x, y)
    tables = np.array(
        [
            np.bincount(made.columns["L00"].astype(int) * 6 + made.columns["L02"], minlength=36).reshape(6, 6)
            for made in recombined_samples(given, SOURCE, TARGET, np.random.default_rng(4), 6000)
        ]
    )
    if most < 100:
        assert tables.sum(axis=(1, 2)).max() <= most + 3  # one row a made document by rounding
        return
    mean, error = tables.mean(axis=0), tables.std(axis=0) / np.sqrt(len(tables))
    assert np.all(np.abs(mean - expected_table(given, 3)) <= 4.5 * error + 1e-9)


def test_given_the_layer_between_both_ends_have_their_own_choice_there():
    """Source and target say what their own document chose between: they agree in every row."""
    rng = np.random.default_rng(5)
    lengths = (9, 14, 6, 20)
    between = rng.integers(0, 6, sum(lengths))
    given = sample(lengths, between, between, between, routers=(SOURCE, VIA, TARGET))
    for made in recombined_samples(given, SOURCE, TARGET, rng, 30, via=VIA):
        x, y, z = rows_of(made)
        assert x == y == z
        assert len(x) > 10


def test_rows_given_the_layer_between_by_hand():
    """Two documents with 4 and 9 rows of choice 2 there and other choices that the other lacks: 6 rows."""
    lengths = (6, 10)
    source = np.repeat([0, 1], lengths)
    between = np.array([2, 2, 3, 2, 3, 2] + [2] * 9 + [5])
    target = np.repeat([4, 5], lengths)
    given = sample(lengths, source, between, target, routers=(SOURCE, VIA, TARGET))
    for made in recombined_samples(given, SOURCE, TARGET, np.random.default_rng(6), 10, via=VIA):
        cells = Counter(zip(*rows_of(made), strict=True))
        assert cells in ({(0, 2, 5): 6}, {(1, 2, 4): 6})


def test_rows_without_a_choice_are_left_out():
    lengths = (4, 4)
    given = sample(lengths, [0, 255, 0, 255, 1, 1, 1, 1], [2, 2, 2, 2, 3, 3, 3, 255])
    for made in recombined_samples(given, SOURCE, TARGET, np.random.default_rng(7), 20):
        x, y = rows_of(made)
        n = len(x)
        if x[0] == 0:
            assert (x, y) == ([0] * n, [3] * n)
            assert n in (2, 3)  # sqrt(2 * 3)
        else:
            assert (x, y) == ([1] * n, [2] * n)
            assert n == 4


@pytest.mark.parametrize("states", ["subset", "expert"])
def test_group_tables_are_what_a_loop_counts(states):
    rng = np.random.default_rng(8)
    lengths, groups = (5, 3, 8), 2
    x, y = rng.integers(0, 6, (2, sum(lengths)))
    given = sample(lengths, x, y, groups=groups)
    counted = group_tables(given, SOURCE, TARGET, states)
    rows = SOURCE.alphabet.unrank(np.arange(6)).tolist() if states == "expert" else [[s] for s in range(6)]
    names = sorted({int(d) % groups for d in given.document})
    tables = Counter()
    for d, a, b in zip(given.document.tolist(), x, y, strict=True):
        g = names.index(d % groups)
        tables.update((g, i, j) for i in rows[a] for j in rows[b])
    assert {tuple(map(int, at)): int(counted[tuple(at)]) for at in np.argwhere(counted)} == tables
    assert len(counted) == len(names)


def test_many_documents_are_drawn_from(monkeypatch):
    monkeypatch.setattr(exchanged, "MOST_UNITS", 6)
    marks = np.arange(40)
    given = sample((1,) * 40, marks % 6, marks % 6)
    made = list(recombined_samples(given, SOURCE, TARGET, np.random.default_rng(9), 5))
    assert [one.n_documents for one in made] == [3] * 5
    assert units_of(given).tolist() == list(range(40))
