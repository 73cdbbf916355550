"""Decomposition and breadth of traces whose truth is known, from rows to figures."""

import numpy as np
import pytest

from routestat.counting.context import Context
from routestat.counting.counts import count
from routestat.counting.paths import count_paths
from routestat.inference.information.mutual_information import mutual_information_interval
from routestat.study.information_budget import information_budget
from routestat.study.layer_pairs import layer_pairs
from routestat.study.layers import measure_across_layers, sample_of
from routestat.study.structure_plan import StructurePlan
from routestat.study.trace_study import study
from routestat.traces.metadata import TraceMeta, routers_like
from routestat.traces.store import Trace
from routestat.traces.synthetic import expert_chain, to_trace

ROUTERS = routers_like([0, 1, 2], 4, 2)


def trace_of(x, y, z, token, document, routers=ROUTERS):
    position = np.concatenate([np.arange(n) for n in np.bincount(document)])
    columns = zip(routers, (x, y, z), strict=True)
    states = {r.name: np.asarray(s).astype(r.alphabet.dtype) for r, s in columns}
    return Trace.from_arrays(TraceMeta(routers, name="t"), document, position, states=states, token=token)


def taken_apart(trace, **kwargs):
    counts = count(trace)
    return counts, layer_pairs(trace, counts, sample_of(trace, counts), np.random.default_rng(1), **kwargs)


@pytest.fixture(scope="module")
def base():
    rng = np.random.default_rng(0)
    document = np.repeat(np.arange(60), 200)
    return rng, document, rng.integers(0, 40, len(document))


def test_layers_that_follow_only_the_token(base):
    """Each layer is a function of the type: all information is the vocabulary's, none is given the token."""
    rng, document, token = base
    functions = rng.integers(0, 6, (3, 40))
    counts, parts = taken_apart(trace_of(*(f[token] for f in functions), token, document), permutations=19)
    for part in parts:
        total = mutual_information_interval(counts.table(Context.layer(1), part.target))
        assert total.mi_bits > 0.3
        assert part.within.mi_bits == pytest.approx(total.mi_bits, abs=0.03)
        # Two functions drawn at random are one more swap of each other.
        assert part.token_types.p > 0.01
        assert abs(part.token_types.beyond_bits) < 4 * part.token_types.swap_sd_bits
        assert part.given_token.information.mi_bits == pytest.approx(0, abs=1e-9)
        assert part.p_permuted == 1 / 20


def test_layers_that_follow_each_other_and_not_the_token(base):
    rng, document, token = base
    x = rng.integers(0, 6, len(token))
    y = np.where(rng.random(len(token)) < 0.5, x, rng.integers(0, 6, len(token)))
    z = np.where(rng.random(len(token)) < 0.5, y, rng.integers(0, 6, len(token)))
    counts, parts = taken_apart(trace_of(x, y, z, token, document))
    # P(same) = 0.5 + 0.5 / 6, the others share the rest.
    same, other = 0.5 + 0.5 / 6, 0.5 / 6
    truth = np.log2(6) + same * np.log2(same) + 5 * other * np.log2(other)
    intervals = []
    for part in parts:
        intervals.append(mutual_information_interval(counts.table(Context.layer(1), part.target)))
        assert intervals[-1].mi_bits == pytest.approx(truth, abs=0.03)
        assert part.within.mi_bits == pytest.approx(truth, abs=0.04)
        assert part.token_types.kept_bits == pytest.approx(0, abs=0.01)
        assert part.given_token.information.mi_bits == pytest.approx(truth, abs=0.04)
        assert abs(part.given_token.shuffled_bits) < 0.01
        assert part.given_previous.information.mi_bits == pytest.approx(truth, abs=0.04)
        assert part.given_token.test.log10_p_clustered < -8
        assert np.isnan(part.p_permuted)
    # A chain of order 1: nothing skips the layer between.
    assert parts[0].skip is None
    assert parts[1].skip.information.mi_bits == pytest.approx(0, abs=0.01)
    assert parts[1].skip.test.p_clustered > 0.001
    assert parts[1].skip.unconditional_bits > 0.1
    total = information_budget(intervals, [parts[1].skip.information])
    assert total.adjacent_bits == pytest.approx(2 * truth, abs=0.05)
    assert total.skip_bits == pytest.approx(0, abs=0.01)


def test_topics_are_not_coupling(base):
    rng, document, token = base
    distributions, topic = rng.dirichlet(np.full(6, 0.3), (3, 4)), rng.integers(0, 4, 60)[document]
    columns = [
        (rng.random((len(token), 1)) > np.cumsum(distribution[topic], axis=1)).sum(axis=1)
        for distribution in distributions
    ]
    counts, parts = taken_apart(trace_of(*columns, token, document))
    for part in parts:
        total = mutual_information_interval(counts.table(Context.layer(1), part.target))
        assert total.mi_bits_plugin > 0.05
        assert part.within.mi_bits == pytest.approx(0, abs=0.005)
        assert part.within.p_clustered > 0.001


def test_wide_routers_without_token_ids():
    made = expert_chain(
        coupling=2.0,
        n_experts=16,
        top_k=4,
        layers=3,
        documents=60,
        mean_length=80,
        rng=np.random.default_rng(3),
    )
    trace = to_trace(made)
    counts = count(trace, states="expert")
    parts = layer_pairs(trace, counts, sample_of(trace, counts), np.random.default_rng(0), permutations=9)
    for part in parts:
        assert part.given_previous is None
        assert part.skip is None
        assert part.p_permuted == 0.1
        assert part.within.mi_bits > 0.01
        assert any("too many subsets" in reason for reason in part.reasons)
    found = measure_across_layers(trace, counts, np.random.default_rng(0))
    assert found.map.mi_bits[0, 1] > found.map.mi_bits[0, 2] > 0
    assert [item.router.layer for item in found.coactivation] == [0, 1, 2]
    assert [item.router.layer for item in found.sample_size] == [1, 2]


def test_the_map_holds_what_each_pair_alone_gives(base):
    rng, document, token = base
    columns = rng.integers(0, 6, (3, len(token)))
    columns[2] = np.where(rng.random(len(token)) < 0.5, columns[0], columns[2])
    trace = trace_of(*columns, token, document)
    counts = count(trace)
    found = measure_across_layers(trace, counts, np.random.default_rng(0))
    skipping = count(trace, contexts=[Context.layer(2)]).table(Context.layer(2), ROUTERS[2])
    assert found.map.mi_bits[0, 2] == pytest.approx(mutual_information_interval(skipping).mi_bits, rel=1e-12)
    assert found.map.mi_bits[2, 0] == found.map.mi_bits[0, 2] > 10 * abs(found.map.mi_bits[0, 1])
    part = measure_across_layers(trace, count(trace, [1]), np.random.default_rng(0))
    assert part.map is None
    assert "one layer" in part.map_reason


def test_a_study_whose_farther_tables_take_many_passes_says_the_same(base, monkeypatch):
    """What does not fit in memory at once is counted a part at a time, by the groups of the first pass."""
    rng, document, token = base
    few = document < 8
    columns = rng.integers(0, 6, (3, len(token)))[:, few]
    trace = trace_of(*columns, token[few], document[few])

    def found():
        counts = count(trace, groups=16)
        paths = count_paths(trace, None, 2)
        return study(trace, counts, paths, np.random.default_rng(0), structure=StructurePlan(n_paths=2))

    whole = found()
    monkeypatch.setattr("routestat.counting.further_tables.MEMORY", 1)
    parts = found()
    assert np.array_equal(whole.across_layers.map.mi_bits, parts.across_layers.map.mi_bits)
    assert np.array_equal(
        whole.memory.horizons.direct_bits.value, parts.memory.horizons.direct_bits.value, equal_nan=True
    )
    assert whole.memory.horizons.n_tokens.tolist() == [[1600, 1600], [1600, 0]]
