"""Parts of a trace: every document in one part, cut evenly by rows, and read alone."""

import json

import numpy as np
import pytest

from routestat import RoutestatError, Trace, TraceMeta
from routestat.errors import TraceError
from routestat.traces import shards
from routestat.traces.document_stretches import in_stretches
from routestat.traces.metadata import routers_like
from routestat.traces.parts import RowRange, check_part, parse_part, part_of
from tests.counting.stored_traces import LENGTHS, write_store


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("parts") / "t")


def rows(trace, columns=("L00", "token")):
    batches = list(trace.batches(list(columns)))
    return [
        (b.document[i], b.position[i], *(b.columns[c][i] for c in columns))
        for b in batches
        for i in range(len(b))
    ]


@pytest.mark.parametrize("of", [1, 2, 3, 7, 16, 100])
def test_the_parts_hold_the_documents_that_begin_in_their_share_of_the_rows(store, of):
    trace = Trace.open(store)
    parts = [part_of(trace, number, of) for number in range(1, of + 1)]
    assert [row for part in parts for row in rows(part)] == rows(trace)
    begins = np.cumsum([0, *LENGTHS])
    for number, part in enumerate(parts):
        low, high = (place * sum(LENGTHS) // of for place in (number, number + 1))
        own = [at for at in begins[:-1] if low <= at < high]
        expected = sum(LENGTHS[list(begins).index(at)] for at in own)
        assert part.rows.stop - part.rows.start == expected
        assert str(part.rows) == f"{number + 1}/{of}"


def test_a_part_counts_with_the_clusters_of_the_whole_trace(store):
    trace = Trace.open(store)
    part = part_of(trace, 2, 3)
    assert part.n_counted == trace.n_counted < trace.n_tokens
    np.testing.assert_array_equal(part.units.cluster, trace.units.cluster)
    before = part_of(trace, 1, 3)
    assert part.n_counted_before == sum(len(batch) for batch in before.counted([]))
    assert before.n_counted_before == 0
    assert part.n_counted_before < part.rows.start


def test_a_part_reads_only_the_batches_that_hold_it(store, monkeypatch):
    trace = Trace.open(store)
    part = part_of(trace, 4, 5)
    decoded = []
    decode = shards._decode
    monkeypatch.setattr(
        shards,
        "_decode",
        lambda reader, index, file: decoded.append((file.name, index)) or decode(reader, index, file),
    )
    assert sum(len(batch) for batch in part.batches()) == part.rows.stop - part.rows.start
    names = {name for name, _ in decoded}
    assert names == set(trace.shards_between(part.rows.start, part.rows.stop))
    assert len(names) < len(trace.shards_between(0, trace.n_stored))


def test_parts_of_a_trace_in_memory_and_of_views():
    rng = np.random.default_rng(1)
    states = rng.integers(0, 6, (4000, 2)).astype(np.uint8)
    meta = TraceMeta(routers_like([0, 1], 4, 2))
    one = Trace.from_arrays(meta, np.zeros(4000, int), None, states, token=np.arange(4000))
    stretches = in_stretches(one)
    for trace in (one, stretches):
        parts = [part_of(trace, number, 5) for number in range(1, 6)]
        assert [row for part in parts for row in rows(part)] == rows(trace)
    assert [part.rows.start for part in parts] == [0, 875, 1625, 2500, 3250]


def test_checking_a_part_finds_what_opening_finds(store, tmp_path):
    trace = Trace.open(store)
    seen = [check_part(part_of(trace, number, 3)) for number in (1, 2, 3)]
    assert set.union(*seen) == set(trace.documents.column("document").to_pylist())
    assert sum(map(len, seen)) == len(LENGTHS)
    copy = write_store(tmp_path / "t")
    opened = Trace.open(copy, verify=False)
    last = sorted(copy.glob("shard-*"))[-1]
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 255
    last.write_bytes(content)
    check_part(part_of(opened, 1, 3))
    with pytest.raises(TraceError, match=rf"{last.name}: altered, its hash differs"):
        check_part(part_of(opened, 3, 3))
    manifest = json.loads((copy / "manifest.json").read_text())
    (copy / "manifest.json").write_text(json.dumps(manifest | {"complete": False}))
    with pytest.raises(TraceError, match="altered since it was opened"):
        check_part(part_of(opened, 1, 3))


def test_a_shard_that_vanishes_is_named(tmp_path):
    trace = Trace.open(write_store(tmp_path / "t"))
    gone = sorted((tmp_path / "t").glob("shard-*"))[1]
    gone.unlink()
    with pytest.raises(TraceError, match=rf"{gone.name}: no longer there; it was when the trace was opened"):
        list(trace.batches())
    with pytest.raises(TraceError, match=rf"{gone.name}: no longer there"):
        list(part_of(trace, 1, 2).batches())


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "1/0", "-1/3", "a/b", "1/3/5", "², 3", "1/99999999"])
def test_parts_are_numbered_from_one(text):
    with pytest.raises(RoutestatError, match="--part is K/N"):
        parse_part(text)


def test_a_part_in_words(store):
    assert parse_part(" 3/16 ") == (3, 16)
    with pytest.raises(RoutestatError, match="numbered from 1 to 3"):
        part_of(Trace.open(store), 4, 3)
    assert sorted([RowRange(2, 3, 5, 9), RowRange(1, 3, 0, 5)])[0].number == 1
