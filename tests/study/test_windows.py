"""Windows of a trace: planted routes are found, and what cannot be tested has a reason."""

from types import SimpleNamespace

import numpy as np
import pytest

from routestat.counting.counts import count
from routestat.counting.document_sample import take_sample
from routestat.report.html.windows import order_words, windows_section
from routestat.report.records.plain import plain
from routestat.report.records.windows import windows_records
from routestat.study.structure_plan import StructurePlan
from routestat.study.windows import find_windows
from routestat.traces import synthetic
from routestat.traces.metadata import TraceMeta, routers_like
from routestat.traces.store import Trace


def find(trace, order=1, states="auto", seed=0):
    counts = count(trace, states=states)
    memory = SimpleNamespace(
        layers=[
            SimpleNamespace(target=one, over_layers=SimpleNamespace(chosen=order)) for one in counts.routers
        ]
    )
    sample = take_sample(trace)
    return find_windows(counts, sample, memory, StructurePlan(), np.random.default_rng(seed))


@pytest.fixture(scope="module")
def planted():
    return synthetic.planted_routes(
        weight=0.1,
        n_routes=2,
        length=4,
        coupling=0.5,
        rng=np.random.default_rng(0),
        n_experts=6,
        top_k=2,
        layers=7,
        documents=90,
        mean_length=80,
    )


@pytest.fixture(scope="module")
def found(planted):
    return find(synthetic.to_trace(planted))


def test_planted_routes_are_found(planted, found):
    listed = {(int(found.counts.start[at]), *found.counts.choices[at].tolist()) for at in found.listed}
    inside = {
        (int(found.counts.start[at]), *found.counts.choices[at].tolist())
        for at in np.flatnonzero(found.found)
    }
    for start, route in zip(
        planted.truth.planted["start"], planted.truth.planted["routes"].tolist(), strict=True
    ):
        assert (int(start), *route, -1, -1, -1, -1) in inside
    assert listed <= inside
    assert set(found.shown.tolist()) <= set(found.listed.tolist())
    assert found.share.low < found.share.value < found.share.high
    assert 0.05 < found.share.value < 0.5
    assert found.reason == ""
    beyond = (found.counts.tokens - found.counts.expected)[found.listed]
    assert (np.diff(beyond) <= 0).all()
    assert (beyond > 0).all()


def test_the_records_hold_what_was_found(found):
    record = plain(windows_records(found))
    tested = record["windows_tested"]
    assert tested["n_listed"] == len(record["windows"]) == len(found.listed)
    assert tested["n_found"] == sum(one["n_found"] for one in tested["by_length"])
    assert tested["n_tested"] == sum(one["n_tested"] for one in tested["by_length"])
    assert tested["orders"] == [1] * 6
    first = record["windows"][0]
    assert first["ratio"] == pytest.approx(first["count"] / first["expected"])
    assert first["ratio_ci95"][0] > 1
    assert len(first["layers"]) == len(first["states"]) == len(first["routers"])
    assert first["log10_q"] <= np.log10(0.05)
    section = windows_section(record, found.routers, found.states)
    assert section["order"] == "order 1"
    assert len(section["rows"]) == len(found.shown)
    assert all(len(word.split(",")) == 2 for word in section["rows"][0]["words"])


def test_the_same_seed_gives_the_same_windows(planted, found):
    again = find(synthetic.to_trace(planted))
    np.testing.assert_array_equal(again.listed, found.listed)
    np.testing.assert_array_equal(again.tests.z, found.tests.z)


def test_experts_are_windows_of_one_expert_per_layer():
    made = synthetic.planted_paths(
        weight=0.2,
        n_paths=1,
        rng=np.random.default_rng(1),
        n_experts=16,
        top_k=4,
        layers=4,
        documents=90,
        mean_length=40,
    )
    found = find(synthetic.to_trace(made), states="expert")
    record = plain(windows_records(found))
    path = made.experts[np.flatnonzero(made.truth.planted["follows"] == 0)[0]]
    longest = [one for one in record["windows"] if len(one["layers"]) == 4]
    assert longest
    on_path = [all(expert in path[place] for place, expert in enumerate(one["experts"])) for one in longest]
    assert on_path[0]
    assert record["windows_tested"]["n_tested"] > 0


def test_a_higher_order_leaves_less_to_be_found(planted):
    one, two = (find(synthetic.to_trace(planted), order=order) for order in (1, 2))
    assert two.found.sum() < one.found.sum()
    assert (two.counts.length >= 4).all()
    assert two.orders == (1, 2, 2, 2, 2, 2)


def trace_of(documents, layers, n_experts=4, states=None):
    rng = np.random.default_rng(2)
    document = np.repeat(np.arange(documents), 30).astype(np.int32)
    n = len(document)
    states = rng.integers(0, 6, (n, layers)) if states is None else np.full((n, layers), states)
    meta = TraceMeta(routers_like(range(layers), n_experts, 2))
    return Trace.from_arrays(meta, document, np.tile(np.arange(30), documents), states.astype(np.uint8))


@pytest.mark.parametrize(
    ("documents", "layers", "state", "why"),
    [
        (40, 1, None, "1 layer: a window has 3 to 8"),
        (40, 2, None, "2 layers: a window has 3 to 8"),
        (1, 5, None, "independent unit"),
        (7, 5, None, "5 independent units"),
        (40, 5, 255, "no window that the chain does not determine"),
    ],
)
def test_what_cannot_be_tested_has_a_reason(documents, layers, state, why):
    found = find(trace_of(documents, layers, states=state))
    assert why in found.reason
    assert not found.found.any()
    record = plain(windows_records(found))
    assert record["windows"] == []
    assert why in record["windows_tested"]["reason"]


def test_one_state_is_found_nowhere():
    found = find(trace_of(40, 5, states=2))
    assert not found.found.any()
    assert plain(windows_records(found))["windows"] == []


def test_orders_in_words():
    assert order_words([2, 2, 1]) == "order 2 (order 1 in 1 of 3 steps)"
    assert order_words([1, 1]) == "order 1"
    assert order_words([]) == "order 1"
