"""Synthetic traces as traces in memory and as stores: the same rows come back."""

import numpy as np
import pytest

from routestat.counting.context import Context
from routestat.counting.counts import count
from routestat.errors import RoutestatError
from routestat.traces import synthetic
from routestat.traces.store import Trace
from tests.traces.agreement import rng

LAYERS = [0, 2, 5]


def holed(**change):
    shape = {"n_experts": 6, "top_k": 2, "layers": LAYERS, "documents": [5, 1, 30], **change}
    return synthetic.with_missing(synthetic.independent(rng=rng(), **shape), 0.3, rng(1))


def opened(how, made, folder):
    return (
        synthetic.to_trace(made) if how == "memory" else Trace.open(synthetic.write(made, folder / "store"))
    )


@pytest.mark.parametrize("how", ["memory", "store"])
@pytest.mark.parametrize("shape", [{}, {"n_experts": 64, "top_k": 6}, {"top_k": 6}])
def test_the_same_rows_come_back_missing_ones_too(how, shape, tmp_path):
    made = holed(**shape)
    trace = opened(how, made, tmp_path)
    assert trace.n_tokens == 36
    assert trace.documents.column("document").to_pylist() == [0, 1, 2]
    assert [(r.layer, r.n_experts, r.top_k) for r in trace.meta.routers] == [
        (layer, made.n_experts, made.top_k) for layer in LAYERS
    ]
    (batch,) = trace.batches()
    np.testing.assert_array_equal(batch.document, made.document)
    np.testing.assert_array_equal(batch.position, made.position)
    np.testing.assert_array_equal(batch.columns["token"], made.token)
    states = np.stack([batch.columns[router.name] for router in trace.meta.routers], axis=1)
    np.testing.assert_array_equal(states, made.states)
    assert states.dtype == made.states.dtype
    assert np.any(states == made.alphabet.missing)


@pytest.mark.parametrize("how", ["memory", "store"])
def test_counts_leave_missing_states_out(how, tmp_path):
    made = holed(documents=20)
    counts = count(opened(how, made, tmp_path), contexts=[Context.layer(1)])
    for column in range(2):
        whole = (made.states[:, column : column + 2] != made.alphabet.missing).all(axis=1)
        wanted = np.zeros((15, 15), int)
        np.add.at(wanted, tuple(made.states[whole, column : column + 2].T), 1)
        found = counts.table(Context.layer(1), counts.routers[column + 1]).sum(axis=0)
        np.testing.assert_array_equal(found, wanted)
        assert 0 < found.sum() < counts.n_tokens


@pytest.mark.parametrize("how", ["memory", "store"])
def test_the_name_and_the_generator_are_kept(how, tmp_path):
    meta = opened(how, holed(), tmp_path).meta
    assert meta.name == "synthetic"
    assert meta.extra["law"] == "independent"
    assert synthetic.to_trace(holed(), name="null").meta.name == "null"
    assert Trace.open(synthetic.write(holed(), tmp_path / "null", name="null")).meta.name == "null"


def test_a_store_is_not_overwritten(tmp_path):
    synthetic.write(holed(), tmp_path)
    with pytest.raises(RoutestatError, match="already holds a trace"):
        synthetic.write(holed(), tmp_path)
