"""The order in which tokens are served, against an obvious simulation and counted by hand."""

import numpy as np
import pytest

from routestat.counting.document_sample import take_sample
from routestat.errors import RoutestatError
from routestat.serving.steps import make_steps
from routestat.traces.metadata import TraceMeta, routers_like
from routestat.traces.store import Trace


def trace_of(lengths, phases=None, n_layers=2, seed=0, clusters=None):
    """Return a trace of documents of these lengths; token ids are the row's number."""
    rng = np.random.default_rng(seed)
    document = np.repeat(np.arange(len(lengths)), lengths)
    position = np.concatenate([np.arange(n) for n in lengths])
    states = {f"L{layer:02}": rng.integers(0, 28, len(document)) for layer in range(n_layers)}
    meta = TraceMeta(routers_like(range(n_layers), 8, 2))
    more = {} if phases is None else {"phase": np.array(phases)}
    if clusters is not None:
        more["clusters"] = clusters
    return Trace.from_arrays(meta, document, position, states, token=np.arange(len(document)), **more)


def steps_of(trace, **options):
    sample = take_sample(trace)
    return make_steps(sample, sample.routers, **options), sample


def served(steps):
    """Return the rows of every step."""
    return [steps.row[a:b].tolist() for a, b in zip(steps.start[:-1], steps.start[1:], strict=True)]


def test_documents_alone_are_served_in_the_order_of_the_trace():
    steps, _ = steps_of(trace_of([2, 3]))
    assert served(steps) == [[0], [1], [2], [3], [4]]
    assert steps.first.tolist() == [True, False, True, False, False]
    assert steps.unit.tolist() == [0, 0, 1, 1, 1]
    assert steps.tokens.tolist() == [[2, 0], [3, 0]]


def test_a_batch_ends_with_its_longest_document():
    steps, _ = steps_of(trace_of([2, 3, 1]), batch=2)
    assert served(steps) == [[0, 2], [1, 3], [4], [5]]
    assert steps.first.tolist() == [True, False, False, True]
    assert steps.unit.tolist() == [0, 0, 0, 1]


def test_prefill_goes_first_and_in_chunks():
    phases = ["prefill"] * 3 + ["decode"] + ["prefill"] + ["decode"] * 2
    steps, _ = steps_of(trace_of([4, 3], phases), batch=2, chunk=2)
    assert served(steps) == [[0, 1, 4], [2], [3, 5], [6]]
    assert steps.phase.tolist() == [0, 0, 1, 1]
    assert steps.tokens.tolist() == [[4, 3]]


def test_choices_are_those_of_the_rows():
    steps, sample = steps_of(trace_of([3, 4]), batch=2)
    for place, router in enumerate(steps.routers):
        expected = router.alphabet.unrank(sample.columns[router.name])[steps.row]
        assert (steps.choices[:, place] == expected).all()


def test_documents_of_one_cluster_are_one_unit():
    trace = trace_of([1, 1, 1, 1], clusters=[0, 1, 0, 1])
    steps, _ = steps_of(trace)
    assert served(steps) == [[0], [1], [2], [3]]
    assert steps.unit.tolist() == [0, 1, 0, 1]
    assert steps.tokens.tolist() == [[2, 0], [2, 0]]
    # Side by side no step has tokens of two units.
    steps, _ = steps_of(trace, batch=2)
    assert served(steps) == [[0, 2], [1, 3]]
    assert steps.unit.tolist() == [0, 1]


def test_units_are_no_more_than_allowed():
    steps, _ = steps_of(trace_of([1] * 10), most_units=4)
    assert steps.unit.tolist() == [0, 0, 0, 1, 1, 1, 2, 2, 2, 3]


@pytest.mark.parametrize("option", ["batch", "chunk"])
def test_nothing_side_by_side_is_refused(option):
    with pytest.raises(RoutestatError, match="expected 1 or more, got 0"):
        steps_of(trace_of([2]), **{option: 0})


def test_the_next_token_is_that_of_the_document():
    steps, _ = steps_of(trace_of([2, 3]), batch=2)
    assert steps.row.tolist() == [0, 2, 1, 3, 4]
    assert steps.next_row.tolist() == [1, 3, -1, 4, -1]
