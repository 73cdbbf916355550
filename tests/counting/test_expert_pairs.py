"""Pairs within a layer against a plain loop, in one pass and in many."""

import numpy as np
import pytest

from routestat import Context, RoutestatError, Trace, TraceMeta, count
from routestat.counting.expert_pairs import count_pairs
from routestat.structure.coactivation import pairs_of_states
from routestat.traces.metadata import Router, routers_like
from tests.oracle.coactivation_oracle import pair_tables


def wide_trace(rng, n_experts, top_k, layers):
    rows = np.argsort(rng.random((60, layers, n_experts)), axis=2)[..., :top_k]
    rows[7, 0] = -1
    document = np.repeat(rng.permutation(9)[:6], 10)
    meta = TraceMeta(routers_like(range(layers), n_experts, top_k))
    return Trace.from_arrays(meta, document, None, None, experts=rows), document, rows


@pytest.mark.parametrize(("n_experts", "top_k"), [(64, 6), (10, 3), (512, 10), (7, 1), (8, 2)])
@pytest.mark.parametrize("memory", [1, 1 << 30])
def test_against_the_slow_way(monkeypatch, n_experts, top_k, memory):
    monkeypatch.setattr("routestat.traces.shards.rows_at_once", lambda schema, in_memory=False: 7)
    trace, document, rows = wide_trace(np.random.default_rng(3), n_experts, top_k, 3)
    seen = []
    found = list(count_pairs(trace, groups=4, memory=memory, progress=lambda *at: seen.append(at)))
    assert [item.router.layer for item in found] == [0, 1, 2]
    assert seen[-1] == ((180, 180) if memory == 1 else (60, 60))
    for item, layer in zip(found, range(3), strict=True):
        pairs, inclusions, tokens = pair_tables(document % 4, rows[:, layer], 4, n_experts)
        np.testing.assert_array_equal(item.pairs, pairs)
        np.testing.assert_array_equal(item.inclusions, inclusions)
        np.testing.assert_array_equal(item.tokens, tokens)


def test_states_say_the_same():
    trace, _, _ = wide_trace(np.random.default_rng(4), 6, 3, 2)
    counts = count(trace, contexts=[Context()], groups=8)
    for item in count_pairs(trace, [1], groups=8):
        pairs, inclusions = pairs_of_states(counts.table(Context(), item.router), Router(0, 6, 3).alphabet)
        np.testing.assert_array_equal(item.pairs, pairs)
        np.testing.assert_array_equal(item.inclusions, inclusions)


def test_no_groups_are_refused():
    trace, _, _ = wide_trace(np.random.default_rng(4), 6, 3, 2)
    with pytest.raises(RoutestatError, match="1 or more"):
        next(count_pairs(trace, groups=0))
