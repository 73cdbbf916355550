import numpy as np
import pytest

from routestat import Trace, TraceMeta, TraceWriter, count_paths
from routestat.counting.distributed import TraceOnWorkers
from routestat.counting.paths import count_given
from routestat.traces.metadata import routers_like
from tests.counting.stored_traces import InTurn
from tests.oracle.counting_oracle import frequent_paths


def skewed(rng, n=3000, n_layers=5):
    states = np.minimum(rng.geometric(0.5, (n, n_layers)) - 1, 27).astype(np.uint8)
    document = np.sort(rng.integers(0, 40, n))
    return document, states


def check(found, document, states):
    tokens, documents = frequent_paths(document, states)
    best = sorted(tokens.values(), reverse=True)[: len(found.tokens)]
    assert found.tokens.tolist() == best
    for row, n_tokens, n_documents in zip(found.states, found.tokens, found.documents, strict=True):
        key = tuple(row.tolist())
        assert (tokens[key], documents[key]) == (n_tokens, n_documents)


@pytest.mark.parametrize("batch", [1 << 16, 97])
@pytest.mark.parametrize("capacity", [1 << 18, 300])
def test_frequent_paths_are_exact_with_and_without_capacity(monkeypatch, batch, capacity):
    monkeypatch.setattr("routestat.traces.shards.rows_at_once", lambda schema, in_memory=False: batch)
    document, states = skewed(np.random.default_rng(0))
    trace = Trace.from_arrays(TraceMeta(routers_like(range(5), 8, 2)), document, None, states)
    found = count_paths(trace, n_paths=8, capacity=capacity)
    check(found, document, states)
    assert found.n_tokens == 3000
    assert (found.error == 0) == (capacity > 3000)


@pytest.mark.parametrize("n_parts", [1, 3, 25])
@pytest.mark.parametrize("capacity", [1 << 18, 300])
def test_frequent_paths_of_parts_are_exact_with_and_without_capacity(tmp_path, capacity, n_parts):
    document, states = skewed(np.random.default_rng(0))
    position = np.arange(len(document)) - np.searchsorted(document, document)
    with TraceWriter(tmp_path / "t", TraceMeta(routers_like(range(5), 8, 2)), shard_rows=700) as writer:
        writer.write(document, position, states={f"L{i:02}": states[:, i] for i in range(5)})
    trace = Trace.open(tmp_path / "t")
    found = count_paths(TraceOnWorkers(trace, InTurn(n_parts)), n_paths=8, capacity=capacity)
    check(found, document, states)
    assert found.n_tokens == 3000
    assert (found.error == 0) == (capacity > 3000)


def test_a_token_missing_at_one_layer_has_no_path():
    states = np.array([[0, 1], [0, 255], [0, 1]], np.uint8)
    found = count_paths(Trace.from_arrays(TraceMeta(routers_like([0, 1], 8, 2)), [0, 0, 1], None, states))
    assert (found.tokens.tolist(), found.documents.tolist(), found.n_tokens) == ([2], [2], 2)


def test_wide_paths_keep_their_subsets():
    rng = np.random.default_rng(1)
    experts = np.argsort(rng.random((4, 3, 512)), axis=2)[..., :10]
    experts = experts[[0, 0, 1, 2]]
    trace = Trace.from_arrays(
        TraceMeta(routers_like([0, 1, 2], 512, 10)), [0, 0, 0, 1], None, None, experts=experts
    )
    found = count_paths(trace, n_paths=1)
    assert found.tokens.tolist() == [2]
    assert np.array_equal(found.states[0].reshape(3, 10), np.sort(experts[0], axis=1))


def test_given_paths_are_counted_by_state_and_by_expert(monkeypatch):
    monkeypatch.setattr("routestat.traces.shards.rows_at_once", lambda schema, in_memory=False: 2)
    experts = np.array([[[0, 1], [2, 3]], [[1, 4], [3, 5]], [[0, 1], [2, 3]], [[-1, -1], [2, 3]]])
    trace = Trace.from_arrays(
        TraceMeta(routers_like([0, 1], 6, 2)), [0, 0, 1, 1], None, None, experts=experts
    )
    a, b = trace.meta.routers[0].alphabet.rank([0, 1]), trace.meta.routers[0].alphabet.rank([2, 3])
    tokens, documents = count_given(trace, None, np.array([[a, b], [b, a]]), "subset")
    assert (tokens.tolist(), documents.tolist()) == ([2, 0], [2, 0])
    tokens, documents = count_given(trace, None, np.array([[1, 3], [0, 3], [4, 2]]), "expert")
    assert (tokens.tolist(), documents.tolist()) == ([3, 2, 0], [2, 2, 0])
