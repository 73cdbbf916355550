"""Statistics of a trace over its parts: those of the whole trace, whatever the number of parts."""

import numpy as np
import pytest

from routestat import Context, Trace, count, count_paths
from routestat.counting.counts import DEFAULT_CONTEXTS
from routestat.counting.distributed import TraceOnWorkers
from routestat.counting.document_sample import take_sample
from routestat.counting.expected_within_documents import count_within
from routestat.counting.expert_pairs import count_pairs
from routestat.counting.further_tables import count_further_tables
from routestat.counting.paths import count_given
from routestat.errors import TraceError
from routestat.traces.document_stretches import in_stretches
from tests.counting import stored_traces
from tests.counting.stored_traces import InTurn, same_counts, write_store


@pytest.fixture(scope="module", params=[False, True], ids=["subset", "expert"])
def trace(request, tmp_path_factory):
    return Trace.open(write_store(tmp_path_factory.mktemp("distributed") / "t", request.param), verify=False)


@pytest.fixture(params=[1, 3, 25])
def spread(request, trace):
    return TraceOnWorkers(trace, InTurn(request.param))


def same_fields(first, second, names):
    for name in names:
        one, other = getattr(first, name), getattr(second, name)
        np.testing.assert_array_equal(one, other, name)
        assert one.dtype == other.dtype


def test_counts_and_further_tables(trace, spread):
    done = []
    whole = count(trace, groups=8)
    found = count(spread, groups=8, progress=lambda *at: done.append(at))
    assert same_counts(whole, found)
    assert whole.origins == found.origins
    assert done[-1] == (len(done), len(done))
    wanted = [(Context.layer(2), whole.routers[2]), (Context.token(2), whole.routers[0])]
    pairs = zip(*(count_further_tables(one, whole, wanted, memory=1) for one in (trace, spread)), strict=True)
    for first, second in pairs:
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("memory", [1 << 29, 9000, 2000, 100])
def test_the_sample_of_documents(trace, spread, memory):
    first, second = (take_sample(one, memory=memory) for one in (trace, spread))
    same_fields(first, second, ["token", "document", "follows", "phase"])
    assert (first.n_documents, first.note) == (second.n_documents, second.note)
    for name, values in first.columns.items():
        np.testing.assert_array_equal(values, second.columns[name])
        assert values.dtype == second.columns[name].dtype


def test_pairs_and_expected_tables(trace, spread):
    for first, second in zip(
        count_pairs(trace, groups=8, memory=1), count_pairs(spread, groups=8), strict=True
    ):
        same_fields(first, second, ["pairs", "inclusions", "tokens"])
    counts = count(trace, contexts=DEFAULT_CONTEXTS, groups=4)
    first, second = (count_within(one, counts) for one in (trace, spread))
    for name, table in first.items():
        np.testing.assert_allclose(table, second[name], rtol=1e-12)


def test_stretches_of_one_document(tmp_path):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stored_traces, "LENGTHS", (4000,))
        one = Trace.open(write_store(tmp_path / "one"))
    trace = in_stretches(one)
    assert "stretches" in trace.note
    spread = TraceOnWorkers(trace, InTurn(3))
    assert same_counts(count(trace), count(spread))
    spread.check()
    assert count(trace).origins == count(spread).origins != count(one).origins


def test_checking_finds_a_document_in_two_parts(trace, monkeypatch):
    TraceOnWorkers(trace, InTurn(3)).check()
    monkeypatch.setattr("routestat.counting.distributed.check_part", _always_seven)
    with pytest.raises(TraceError, match="document 7 continues after another began"):
        TraceOnWorkers(trace, InTurn(2)).check()


def _always_seven(part):
    return {7}


def test_paths(trace, spread):
    first, second = (count_paths(one, n_paths=1000) for one in (trace, spread))
    assert len(first.tokens) == first.n_distinct > 100
    same_fields(first, second, ["states", "tokens", "documents"])
    assert (first.error, first.n_tokens, first.n_distinct) == (0, second.n_tokens, second.n_distinct)
    paths = first.states[:5].reshape(5, 3, -1)[:, :, 0]
    view = "subset" if trace.meta.routers[0].alphabet.is_ranked else "expert"
    one, other = (count_given(each, None, paths, view) for each in (trace, spread))
    np.testing.assert_array_equal(one, other)
    assert one[0].sum() > 0
