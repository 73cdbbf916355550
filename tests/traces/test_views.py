"""Layers under other names, and documents in the order of their numbers."""

import numpy as np
import pytest

from routestat import Trace, TraceMeta, TraceWriter
from routestat.traces import views as seen_as
from routestat.traces.document_selection import SelectedDocuments
from routestat.traces.metadata import Router, routers_like
from routestat.traces.pairing.document_contents import documents_of
from routestat.traces.views import OrderedDocuments, RelabelledLayers, RowsTooManyError


@pytest.fixture
def trace(tmp_path):
    """Three documents, the last with the lowest number, of three layers with the heaviest expert."""
    rng = np.random.default_rng(0)
    document = np.repeat([4, 7, 2], [5, 6, 4])
    experts = np.argsort(rng.random((15, 3, 8)), axis=2)[..., :2]
    meta = TraceMeta(routers_like((0, 1, 2), 8, 2))
    with TraceWriter(tmp_path / "t", meta, shard_rows=4) as writer:
        top1 = {f"L{i:02d}.top1": experts[:, i, 0] for i in range(3)}
        writer.write(document, experts=experts, token=np.arange(15), columns=top1)
    return Trace.open(tmp_path / "t")


def column(trace, name):
    return np.concatenate([batch.columns[name] for batch in trace.batches([name])])


def test_routers_go_by_other_names(trace):
    seen = RelabelledLayers(
        trace, [(Router(3, 8, 2), trace.meta.routers[0]), (Router(5, 8, 2), trace.meta.routers[2])]
    )
    assert (seen.meta.layers, seen.columns) == ((3, 5), ("L03.top1", "L05.top1"))
    for new, old in (("L03", "L00"), ("L05", "L02"), ("L05.top1", "L02.top1"), ("token", "token")):
        assert np.array_equal(column(seen, new), column(trace, old))
    (record, *_) = seen.record_batches()
    assert record.schema.names == [
        "document",
        "position",
        "token",
        "phase",
        "L03",
        "L05",
        "L03.top1",
        "L05.top1",
    ]


def test_documents_come_in_the_order_of_their_numbers(trace, monkeypatch):
    seen = OrderedDocuments(trace)
    rows = [(batch.document, batch.position, batch.columns["L01"]) for batch in seen.batches(["L01"])]
    document, position, states = (np.concatenate(part) for part in zip(*rows, strict=True))
    assert document.tolist() == [2] * 4 + [4] * 5 + [7] * 6
    assert position.tolist() == [*range(4), *range(5), *range(6)]
    assert states.tolist() == column(trace, "L01")[[*range(11, 15), *range(11)]].tolist()
    monkeypatch.setattr(seen_as, "LIMIT_BYTES", 10)
    with pytest.raises(RowsTooManyError, match="are in another order"):
        list(seen.batches(["L01"]))


def test_a_part_of_a_document_is_read_and_counted_from_its_first_row(trace):
    documents = documents_of(trace)
    chosen = SelectedDocuments(trace, documents, {4: 0, 7: 1, 2: 2}, {1: (2, 3), 2: (0, 2)})
    assert chosen.n_tokens == 5 + 3 + 2
    assert column(chosen, "token").tolist() == [*range(5), 7, 8, 9, 11, 12]
    seen = OrderedDocuments(chosen.first(2))
    assert np.concatenate([batch.position for batch in seen.batches([])]).tolist() == [*range(5), *range(3)]
