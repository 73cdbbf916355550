"""One document in stretches: the same rows, other document numbers, and a note."""

import numpy as np

from routestat import Trace, TraceMeta
from routestat.counting.context import Context
from routestat.counting.counts import count
from routestat.counting.paths import count_paths
from routestat.study.structure_plan import StructurePlan
from routestat.study.trace_study import study
from routestat.traces.document_stretches import in_stretches
from routestat.traces.metadata import routers_like

META = TraceMeta(routers_like([0, 1], 4, 2), name="one")


def one_document(n, documents=1):
    rng = np.random.default_rng(0)
    document = np.sort(np.arange(n) % documents)
    return Trace.from_arrays(
        META, document, None, rng.integers(0, 6, (n, 2)).astype(np.uint8), token=np.arange(n) % 7
    )


def test_stretches_hold_the_same_rows(monkeypatch):
    monkeypatch.setattr("routestat.traces.shards.rows_at_once", lambda schema, in_memory=False: 77)
    trace = one_document(4000)
    cut = in_stretches(trace)
    assert "32 stretches of 125 tokens are used as documents" in cut.note
    assert cut.documents.num_rows == 32
    rows = {name: [] for name in ("document", "position", "L00", "token")}
    for batch in cut.batches(["L00", "token"]):
        rows["document"] += batch.document.tolist()
        rows["position"] += batch.position.tolist()
        rows["L00"] += batch.columns["L00"].tolist()
        rows["token"] += batch.columns["token"].tolist()
    assert rows["document"] == [place // 125 for place in range(4000)]
    assert rows["position"] == list(range(4000))
    whole = count(trace, contexts=[Context.layer(1)]).table(Context.layer(1), META.routers[1])
    parts = count(cut, contexts=[Context.layer(1)]).table(Context.layer(1), META.routers[1])
    np.testing.assert_array_equal(parts.sum(axis=0), whole.sum(axis=0))
    assert np.count_nonzero(parts.any(axis=(1, 2))) == 32


def test_short_traces_and_several_documents_stay_as_they_are():
    for trace in (one_document(3199), one_document(4000, documents=2)):
        assert in_stretches(trace) is trace


def test_the_report_says_so():
    cut = in_stretches(one_document(4000))
    found = study(
        cut,
        count(cut),
        count_paths(cut),
        np.random.default_rng(0),
        structure=StructurePlan(n_blocks=2, n_paths=2),
    )
    assert found.notes[0] == cut.note
    assert 0 < found.pairs[0].test.p_clustered <= 1
