"""Blocks and routes of two traces: planted differences are found, halves of one trace have none."""

import numpy as np
import pytest

from routestat.counting import common_windows
from routestat.counting.context import Context
from routestat.counting.counts import count
from routestat.counting.document_sample import take_sample
from routestat.study.comparison_structure import compare_routes, compare_structure
from routestat.traces.metadata import TraceMeta, routers_like
from routestat.traces.store import Trace


def drawn(rng, documents, shift=0.0, layers=4, k=8, length=60, effect=0.3, repeat=0.3):
    """States `[token, layer]` in one of two blocks, which documents prefer; a share of `shift` swaps at layer 2."""
    n = documents * length
    document = np.repeat(np.arange(documents), length)
    taste = np.clip(0.5 + effect * (rng.random(documents) - 0.5), 0.05, 0.95)[document]
    block = (rng.random(n) < taste).astype(int)
    states = np.empty((n, layers), int)
    for layer in range(layers):
        if layer:
            leave = rng.random(n) < (0.1 + (shift if layer == 2 else 0.0))
            block = np.where(leave, 1 - block, block)
        states[:, layer] = block * (k // 2) + rng.integers(0, k // 2, n)
    fresh = rng.random(n) >= repeat
    fresh[::length] = True
    return states[np.maximum.accumulate(np.where(fresh, np.arange(n), 0))], document


def side_of(states, document, k=8):
    routers = routers_like(tuple(range(states.shape[1])), k, 1)
    position = np.arange(len(document)) - np.searchsorted(document, document)
    trace = Trace.from_arrays(
        TraceMeta(routers), document, position, states.astype(routers[0].alphabet.dtype)
    )
    counts = count(trace, contexts=(Context(), Context.layer(1)), states="subset")
    return counts, take_sample(trace, groups=counts.groups)


def compared(a, b, paired=False, seed=0):
    (first, one), (second, two) = side_of(*a), side_of(*b)
    return compare_structure((first, second), (one, two), np.random.default_rng(seed), paired=paired)


def test_a_planted_difference_of_flow_is_found_where_it_is():
    rng = np.random.default_rng(1)
    found = compared(drawn(rng, 60), drawn(rng, 60, shift=0.2))
    assert [item.n_blocks for item in found.blocks] == [(2, 2)] * 3
    assert [item.n_differ > 0 for item in found.blocks] == [False, True, False]
    labels = found.blocks[0].row_labels
    assert len(set(labels[:4])) == len(set(labels[4:])) == 1
    # Only the flow between blocks differs, not what the blocks are.
    assert min(item.agreement for item in found.blocks) == 1
    assert all(item.p_agreement > 0.5 for item in found.blocks)


def test_halves_of_one_trace_have_no_differences(monkeypatch):
    monkeypatch.setattr(common_windows, "LEAST_TOKENS", 20)
    rng = np.random.default_rng(2)
    runs, blocks, routes = 12, 0, 0
    for _ in range(runs):
        found = compared(drawn(rng, 25), drawn(rng, 40))
        blocks += any(item.n_differ for item in found.blocks)
        routes += bool(found.routes.differ.any())
        assert len(found.routes) > 50
    assert blocks <= 2
    assert routes <= 2


def test_other_blocks_agree_less_than_random_divisions_do():
    rng = np.random.default_rng(3)
    states, document = drawn(rng, 40)
    other, _ = drawn(rng, 40)
    # In B the blocks of layer 1 have other members.
    moved = other.copy()
    moved[:, 1] = np.array([0, 4, 1, 5, 2, 6, 3, 7])[other[:, 1]]
    found = compared((states, document), (moved, document))
    assert found.blocks[0].agreement < 0.7
    assert found.blocks[0].p_agreement == pytest.approx(0.05)
    assert found.blocks[2].p_agreement > 0.05


def test_a_route_that_one_trace_prefers_is_found():
    rng = np.random.default_rng(4)
    a, b = drawn(rng, 40), drawn(rng, 40)
    on = rng.random(len(b[0])) < 0.05
    b[0][on] = [1, 2, 3, 2]
    found = compared(a, b).routes
    assert found.differ.any()
    first = int(np.flatnonzero(found.differ)[0])
    start, choices = int(found.start[first]), found.choices[first].tolist()
    assert choices == [1, 2, 3, 2][start : start + len(choices)]
    assert found.rates.rate_b[first] > found.rates.rate_a[first] + 0.03
    assert found.rates.low[first] < found.rates.difference[first] < found.rates.high[first] < 0
    assert (np.diff(np.abs(found.rates.difference)) <= 1e-12).all()


def test_pairs_of_documents_show_smaller_differences():
    rng = np.random.default_rng(5)
    states, document = drawn(rng, 30, effect=0.9)
    changed = states.copy()
    on = rng.random(len(states)) < 0.03
    changed[on, 2] = (changed[on, 2] + 4) % 8
    paired = compared((states, document), (changed, document), paired=True)
    apart = compared((states, document), (changed, document))
    assert paired.blocks[1].n_differ > apart.blocks[1].n_differ == 0
    assert paired.routes.differ.sum() >= apart.routes.differ.sum() == 0
    assert not paired.blocks[0].n_differ


def test_independent_layers_have_one_block_and_say_so():
    rng = np.random.default_rng(6)
    a, b = ((rng.integers(0, 8, (2400, 3)), np.repeat(np.arange(40), 60)) for _ in range(2))
    found = compared(a, b)
    assert all(item.cells is None and item.n_blocks == (1, 1) and item.reason for item in found.blocks)


def test_what_cannot_be_compared_says_why(monkeypatch):
    monkeypatch.setattr(common_windows, "LEAST_TOKENS", 5)
    rng = np.random.default_rng(7)
    two = compared(drawn(rng, 20, layers=2), drawn(rng, 20, layers=2))
    assert "fewer than three layers" in two.routes.reason
    few = compared(drawn(rng, 3), drawn(rng, 20))
    assert "3 independent units" in few.routes.reason
    assert not few.routes.differ.any()
    assert not any(item.n_differ for item in few.blocks)
    nothing = np.full((600, 4), routers_like((0,), 8, 1)[0].alphabet.missing)
    none = compared(drawn(rng, 10), (nothing, np.repeat(np.arange(10), 60)))
    assert all(item.reason == "one of the two has no tokens" for item in none.blocks)
    assert not none.routes.differ.any()
    wide = [side_of(*drawn(rng, 10, k=k), k=k)[1] for k in (8, 16)]
    assert "different numbers of experts" in compare_routes((wide[0], wide[1]), "subset", paired=False).reason
