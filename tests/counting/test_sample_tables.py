"""Tables of pairs from documents in memory equal those of a pass over the trace."""

from itertools import combinations, pairwise

import numpy as np
import pytest

from routestat import Trace, TraceMeta
from routestat.counting.context import Context
from routestat.counting.counts import count
from routestat.counting.document_sample import take_sample
from routestat.counting.expected_within_documents import count_within
from routestat.counting.further_tables import count_further_tables
from routestat.counting.sample_tables import tables_of_sample
from routestat.traces.metadata import routers_like

ROUTERS = routers_like([0, 1, 2, 3], 5, 2)


def make(rng, documents=12):
    lengths = rng.integers(1, 20, documents)
    document = np.repeat(np.arange(documents), lengths)
    position = np.concatenate([np.arange(n) for n in lengths])
    # Positions are skipped here and there; that breaks no pair of layers.
    position += (position > 5).astype(int) * 3
    states = {}
    for router in ROUTERS:
        column = rng.integers(0, router.alphabet.size, len(document)).astype(router.alphabet.dtype)
        column[rng.random(len(document)) < 0.1] = np.iinfo(column.dtype).max
        states[router.name] = column
    return Trace.from_arrays(TraceMeta(ROUTERS, name="small"), document, position, states=states)


@pytest.mark.parametrize("view", ["subset", "expert"])
@pytest.mark.parametrize("groups", [5, 256])
def test_tables_are_those_of_a_pass(view, groups):
    trace = make(np.random.default_rng(1))
    counts = count(trace, groups=groups, states=view)
    held = tables_of_sample(take_sample(trace, groups=counts.groups), counts)
    pairs = list(combinations(counts.routers, 2))
    places = {router.name: at for at, router in enumerate(counts.routers)}
    wanted = [(Context.layer(places[b.name] - places[a.name]), b) for a, b in pairs]
    for (source, target), table in zip(pairs, count_further_tables(trace, counts, wanted), strict=True):
        found = held.table(source, target)
        assert found.tolist() == table.tolist()
        assert found.any()
    expected = count_within(trace, counts)
    for source, target in pairwise(counts.routers):
        assert held.expected_within(source, target) == pytest.approx(expected[target.name], rel=1e-12)


def test_a_sample_of_some_documents_has_no_tables():
    trace = make(np.random.default_rng(2), documents=60)
    counts = count(trace, groups=8)
    part = take_sample(trace, groups=8, memory=12 * counts.n_tokens // 3)
    assert 0 < len(part) < counts.n_tokens
    assert tables_of_sample(part, counts) is None
    assert tables_of_sample(take_sample(trace, groups=4), counts) is None


def test_only_the_pairs_asked_for_are_expected():
    trace = make(np.random.default_rng(3))
    counts = count(trace, groups=4)
    found, every = count_within(trace, counts, targets=[ROUTERS[2]]), count_within(trace, counts)
    assert list(found) == [ROUTERS[2].name]
    assert found[ROUTERS[2].name].tolist() == every[ROUTERS[2].name].tolist()
