"""What is no measurement is kept with a store, found again where it is not, and left out on request."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from routestat import Router, Trace, TraceMeta, TraceWriter
from routestat.errors import TraceError
from routestat.traces.dummy_rows.findings import findings_of
from routestat.traces.dummy_rows.not_measured import KEY, NotMeasured
from routestat.traces.metadata import routers_like
from tests.traces.importers.known import chosen

META = TraceMeta(routers_like(range(4), 16, 2), name="x")


@pytest.fixture
def rows():
    """Ten documents of 60 rows; 20 rows of padding behind each, 15 stuck rows in the third, a warm-up of 30."""
    rng = np.random.default_rng(2)
    experts = chosen(rng, 600, 4, 16, 2).reshape(10, 60, 4, 2)
    experts[2, 20:35] = experts[2, 19:20]
    padded = np.concatenate([experts, np.broadcast_to(chosen(rng, 1, 4, 16, 2), (10, 20, 4, 2))], axis=1)
    warm = np.broadcast_to(chosen(rng, 1, 4, 16, 2), (30, 4, 2))
    document = np.repeat(np.arange(10), 80)
    return (
        np.concatenate([warm, padded.reshape(800, 4, 2)]),
        np.concatenate([np.zeros(30, int), document]),
        experts,
    )


def written(folder, experts, document, shard_rows=150, **more):
    with TraceWriter(folder, META, shard_rows=shard_rows) as writer:
        for part in np.array_split(np.arange(len(document)), 4):
            position = np.arange(len(document)) - np.searchsorted(document, document)
            writer.write(document[part], position[part], experts=experts[part], **more)
    return Trace.open(folder)


def states(trace):
    return np.stack(
        [np.concatenate([b.columns[r.name] for b in trace.batches()]) for r in trace.meta.routers], axis=1
    )


def test_finds_are_kept_with_the_store(tmp_path, rows, monkeypatch):
    experts, document, _ = rows
    trace = written(tmp_path / "t", experts, document)
    found = {
        (one.kind, one.place): (one.n_rows, one.n_documents, one.document, one.position)
        for one in findings_of(trace)
    }
    assert found == {
        ("warm-up", "start"): (30, 1, 0, 0),
        ("padding", "end"): (200, 10, 0, 90),
        ("stuck", "inside"): (16, 1, 2, 19),
    }
    monkeypatch.setattr("routestat.traces.store.examine_rows", lambda *_: pytest.fail("looked through again"))
    assert len(Trace.open(tmp_path / "t").not_measured.ranges) == 12


def test_without_them_the_rest_is_as_if_never_recorded(tmp_path, rows):
    experts, document, clean = rows
    written(tmp_path / "t", experts, document)
    trace = Trace.open(tmp_path / "t", dummy_rows="drop")
    assert trace.n_tokens == 600
    got, missing = states(trace), META.routers[0].alphabet.missing
    wanted = np.stack(
        [r.alphabet.rank(clean.reshape(600, 4, 2)[:, i]) for i, r in enumerate(META.routers)], axis=1
    )
    wanted[139:155] = missing  # the 16 equal rows of the third document
    assert np.array_equal(got, wanted)
    position = np.concatenate([batch.position for batch in trace.batches()])
    assert position[:60].tolist() == list(range(30, 90))
    assert position[60:120].tolist() == list(range(60))
    assert all("left out" in one.sentence or "missing" in one.sentence for one in findings_of(trace))


def test_arrays_in_memory_say_the_same(tmp_path, rows):
    experts, document, _ = rows
    column = {r.name: r.alphabet.rank(experts[:, i]) for i, r in enumerate(META.routers)}
    trace = Trace.from_arrays(META, document, None, column, dummy_rows="drop")
    written(tmp_path / "t", experts, document)
    assert np.array_equal(states(trace), states(Trace.open(tmp_path / "t", dummy_rows="drop")))
    with pytest.raises(TraceError, match="dummy_rows must be one of keep, drop"):
        Trace.from_arrays(META, document, None, column, dummy_rows="lose")


def test_a_store_that_grows_is_looked_through_again(tmp_path, rows):
    experts, document, clean = rows
    with TraceWriter(tmp_path / "t", META) as writer:
        writer.write(np.repeat(np.arange(10), 60), experts=clean.reshape(600, 4, 2))
    assert [one.kind for one in findings_of(Trace.open(tmp_path / "t"))] == ["stuck"]
    with TraceWriter(tmp_path / "t", META, append=True) as writer:
        writer.write(document[30:] + 20, experts=experts[30:])
    assert {one.kind for one in findings_of(Trace.open(tmp_path / "t"))} == {"stuck", "padding"}


@pytest.mark.parametrize(
    "damage", ["{", "[]", '{"version": 2}', '{"version": 1, "n_rows": 3}', "names", "kind"]
)
def test_finds_that_cannot_be_read_are_made_anew(rows, damage):
    experts, document, _ = rows
    column = {r.name: r.alphabet.rank(experts[:, i]) for i, r in enumerate(META.routers)}
    found = Trace.from_arrays(META, document, None, column).not_measured
    content = json.loads(found.to_json(830))
    back = NotMeasured.from_json(json.dumps(content).encode(), 830)
    assert np.array_equal(back.ranges, found.ranges)
    if damage == "names":
        del content["first"]
    elif damage == "kind":
        content["kind"][0] = 99
    held = damage.encode() if damage not in ("names", "kind") else json.dumps(content).encode()
    assert NotMeasured.from_json(held, 830) is None
    assert NotMeasured.from_json(found.to_json(830), 831) is None


def test_a_crashed_store_has_none_and_finds_them_on_request(tmp_path, rows):
    experts, document, _ = rows
    writer = TraceWriter(tmp_path / "t", META)
    writer.write(document, experts=experts)
    writer.__exit__(RuntimeError, RuntimeError(), None)
    trace = Trace.open(tmp_path / "t")
    assert KEY not in (trace.documents.schema.metadata or {})
    assert {one.kind for one in findings_of(trace)} == {"warm-up", "padding", "stuck"}


def test_layers_of_one_choice_are_left_out_with_their_companions(tmp_path):
    rng = np.random.default_rng(3)
    meta = TraceMeta((Router(0, 8, 1), Router(1, 8, 1), Router(2, 1, 1)))
    rows = rng.integers(8, size=(400, 3, 1))
    rows[:, 0], rows[:, 2] = 3, 0  # the last has no other choice: that is no find
    top1 = {f"{router.name}.top1": rows[:, i, 0] for i, router in enumerate(meta.routers)}
    with TraceWriter(tmp_path / "t", meta) as writer:
        writer.write(np.arange(400) // 40, experts=rows, columns=top1)
    assert [one.layers for one in findings_of(Trace.open(tmp_path / "t"))] == [(0,)]
    trace = Trace.open(tmp_path / "t", dummy_rows="drop")
    assert trace.meta.layers == (1, 2)
    assert trace.columns == ("L01.top1", "L02.top1")
    assert next(trace.record_batches()).schema.names == [
        "document", "position", "token", "phase", "L01", "L02", "L01.top1", "L02.top1",
    ]  # fmt: skip
    with pytest.raises(TraceError, match="layer 0 not in this trace"):
        trace.routers([0])


def test_rows_beyond_64_bits_become_missing_too():
    rng = np.random.default_rng(4)
    meta = TraceMeta(routers_like(range(3), 512, 10))
    rows = np.sort(chosen(rng, 900, 3, 512, 10), axis=2)
    rows[300:340] = rows[300]
    column = {router.name: rows[:, i] for i, router in enumerate(meta.routers)}
    trace = Trace.from_arrays(meta, np.arange(900) // 90, None, column, dummy_rows="drop")
    got = pa.Table.from_batches(trace.record_batches()).column("L01").combine_chunks().flatten().to_numpy()
    gone = np.flatnonzero((got.reshape(900, 10) == 65535).all(axis=1))
    assert gone.tolist() == list(range(300, 340))


def test_a_document_of_nothing_else_is_gone_and_clusters_stay():
    rng = np.random.default_rng(6)
    rows = np.concatenate([np.tile(chosen(rng, 1, 4, 16, 2), (90, 1, 1)), chosen(rng, 600, 4, 16, 2)])
    document = np.concatenate([np.zeros(90, int), 1 + np.arange(600) // 60])
    column = {r.name: r.alphabet.rank(rows[:, i]) for i, r in enumerate(META.routers)}
    for template in ("once", "keep"):
        trace = Trace.from_arrays(
            META, document, None, column, clusters=document // 2, template=template, dummy_rows="drop"
        )
        assert trace.documents.column("document").to_pylist() == list(range(1, 11))
        assert trace.units.document.tolist() == list(range(1, 11))
        assert trace.units.n_clusters == 6


@pytest.mark.parametrize("name", ["tiny-mixtral", "deepseek-v2-lite-esft"])
def test_nothing_is_found_in_the_traces_that_ship(name):
    assert findings_of(Trace.open(Path("data/traces") / name, verify=False)) == ()


def test_documents_that_share_a_warm_up_only_do_not_belong_together(tmp_path):
    rng = np.random.default_rng(8)
    texts = [chosen(rng, n, 4, 16, 2) for n in rng.integers(60, 90, 12)]
    texts[5] = np.concatenate([texts[4][:40], texts[5]])
    warm = np.tile(chosen(rng, 1, 4, 16, 2), (40, 1, 1))
    clusters = []
    for name, before in (("control", 0), ("t", 40)):
        # Most documents share a template; what a few of them share joins them.
        opened = [np.concatenate([warm[:before], one]) if at % 2 else one for at, one in enumerate(texts)]
        number = np.repeat(np.arange(12), [len(one) for one in opened])
        trace = written(tmp_path / name, np.concatenate(opened), number)
        assert trace.not_measured.n_removed == 6 * before
        assert Trace.open(tmp_path / name, dummy_rows="drop").units.n_clusters == 11
        clusters.append(trace.units.cluster.tolist())
    assert clusters[0] == clusters[1]
    assert len(set(clusters[0])) == 11
