import numpy as np
import pytest

from routestat import RoutestatError, Trace, TraceMeta
from routestat.counting.agreement import count_agreement
from routestat.traces.metadata import routers_like


def trace(document, states, n_experts=4, top_k=2):
    return Trace.from_arrays(TraceMeta(routers_like((0,), n_experts, top_k)), document, None, states)


def test_counted_on_paper():
    # Pairs of 4: 0 = {0,1}, 1 = {0,2}, 5 = {2,3}; 255 is missing. Same, one expert kept, none kept, missing, same.
    a = trace([0, 0, 1, 1, 2], np.array([[0], [0], [0], [0], [5]], np.uint8))
    b = trace([0, 0, 1, 1, 2], np.array([[0], [1], [5], [255], [5]], np.uint8))
    found = count_agreement(a, b, a.meta.routers, 2)
    assert found.tokens[:, 0].tolist() == [3, 1]
    assert found.flips[:, 0].tolist() == [1, 1]
    assert found.kept[:, 0].tolist() == [2 + 1 + 2, 0]


def test_rows_of_experts_beyond_64_bits():
    rng = np.random.default_rng(0)
    x, y = (np.sort(np.argsort(rng.random((50, 512)), axis=1)[:, :10], axis=1) for _ in range(2))
    y[:25] = x[:25]
    meta = TraceMeta(routers_like((0,), 512, 10))
    a, b = (Trace.from_arrays(meta, np.zeros(50, int), None, None, experts=rows[:, None]) for rows in (x, y))
    found = count_agreement(a, b, meta.routers, 1)
    assert found.flips[0, 0] == (x != y).any(axis=1).sum()
    assert found.kept[0, 0] == sum(len(set(u) & set(v)) for u, v in zip(x.tolist(), y.tolist(), strict=True))


def test_other_rows_are_refused():
    a = trace([0, 0, 1], np.zeros((3, 1), np.uint8))
    with pytest.raises(RoutestatError, match="the same tokens"):
        count_agreement(a, trace([0, 1, 1], np.zeros((3, 1), np.uint8)), a.meta.routers, 1)
    with pytest.raises(RoutestatError, match="the same number of tokens"):
        count_agreement(a, trace([0, 0, 1, 1], np.zeros((4, 1), np.uint8)), a.meta.routers, 1)
