"""The files of a store: layout, and damage that is named."""

import threading

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.dataset
import pyarrow.ipc
import pytest

from routestat import Trace
from routestat.errors import TraceError
from routestat.traces.manifest import sha256_of
from routestat.traces.shards import batches_of
from tests.traces.small_store import hostile, rewrite


def test_the_layout_is_the_contract_and_others_read_it(store):
    dataset = pyarrow.dataset.dataset(sorted(store.glob("shard-*.arrow")), format="ipc")
    assert dataset.to_table(columns=["L00", "token"]).num_rows == 600
    assert pl.scan_ipc(store / "shard-*.arrow").select(pl.len()).collect().item() == 600
    shard = pa.ipc.open_file(store / "shard-00000.arrow").read_all()
    assert shard.schema.names == ["document", "position", "token", "phase", "L00", "L01", "L03"]
    assert [str(shard.schema.field(n).type) for n in ("document", "position", "token", "L00")] == [
        "int32",
        "int32",
        "int32",
        "uint8",
    ]
    assert set(shard.column("phase").to_pylist()) == {"prefill"}
    frame = pl.read_ipc(store / "shard-00000.arrow")
    assert frame["L03"].to_list() == shard.column("L03").to_pylist()
    documents = pa.ipc.open_file(store / "documents.arrow").read_all()
    assert documents.schema.names[:1] == ["document"]
    assert {"name", "domain"} <= set(documents.schema.names)


def test_damage_is_named(store):
    file = store / "shard-00001.arrow"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 0xFF
    file.write_bytes(content)
    with pytest.raises(TraceError, match=r"shard-00001\.arrow: altered"):
        Trace.open(store)
    file.write_bytes(content[:-10])
    with pytest.raises(TraceError, match=r"shard-00001\.arrow: truncated or altered"):
        Trace.open(store)
    file.unlink()
    with pytest.raises(TraceError, match=r"shard-00001\.arrow: missing"):
        Trace.open(store)


def test_a_column_of_another_type_is_named(store):
    rewrite(store, lambda t: t.set_column(4, "L00", t.column("L00").cast(pa.int64())))
    with pytest.raises(TraceError, match="column L00 is int64"):
        Trace.open(store)
    rewrite(store, lambda t: t.drop_columns(["L03"]).set_column(4, "L00", t.column("L00").cast(pa.uint8())))
    with pytest.raises(TraceError, match="column L03 is missing"):
        Trace.open(store)


@pytest.mark.parametrize("name", ["document", "position", "token", "phase", "L03"])
def test_missing_values_in_a_shard_are_named(store, name):
    def spoil(table):
        values = table.column(name).to_pylist()
        values[5] = None
        index = table.schema.get_field_index(name)
        return table.set_column(index, name, pa.array(values, table.schema.field(name).type))

    rewrite(store, spoil, shard=1)
    with pytest.raises(TraceError, match=rf"shard-00001\.arrow, row 5: column {name} has no value"):
        Trace.open(store)


def test_other_columns_and_impossible_tokens_in_a_shard_are_named(store):
    index = 2
    rewrite(store, lambda t: t.set_column(index, "token", pa.array([-7] * t.num_rows, pa.int32())))
    with pytest.raises(TraceError, match=r"row 0: tokens are -1 \(unknown\) or more, got -7"):
        Trace.open(store)
    rewrite(store, lambda t: t.append_column("more", pa.array(["a"] * t.num_rows)))
    with pytest.raises(TraceError, match=r"shard-00000\.arrow: columns are .*, more; expected"):
        Trace.open(store)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop_columns(["document"]), "documents need one column named document"),
        (
            lambda t: t.set_column(0, "document", t.column("document").cast(pa.string())),
            "documents need one column named document",
        ),
        (
            lambda t: t.set_column(0, "document", pa.array([None] * t.num_rows, pa.int32())),
            "row 0: column document has no value",
        ),
    ],
)
def test_documents_without_their_numbers_are_refused(store, change, message):
    file = store / "documents.arrow"
    table = change(pa.ipc.open_file(file).read_all())
    with pa.ipc.new_file(file, table.schema) as sink:
        sink.write_table(table)

    def vouch(manifest):
        manifest["documents"] |= {"bytes": file.stat().st_size, "sha256": sha256_of(file)}

    assert hostile(store, vouch).startswith(f"{file}: {message}")


@pytest.fixture
def decoders(monkeypatch):
    monkeypatch.setattr("routestat.traces.shards.LEAST_DECODED", 0)
    before = pa.cpu_count()
    yield pa.set_cpu_count
    pa.set_cpu_count(before)


@pytest.mark.parametrize("threads", [1, 2, 3, 16])
def test_batches_come_in_order_whatever_the_number_of_decoders(threads, decoders, tmp_path):
    file = tmp_path / "shard.arrow"
    table = pa.table(
        {"document": pa.array(range(70), pa.int32()), "position": pa.array([0] * 70, pa.int32())}
    )
    with pa.ipc.new_file(file, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as sink:
        sink.write_table(table, max_chunksize=10)
    decoders(threads)
    found = list(batches_of(file, []))
    assert [len(record) for record in found] == [10] * 7
    assert pa.Table.from_batches(found).equals(table)
    # A reading that is not brought to its end leaves no thread behind.
    before = threading.active_count()
    reading = batches_of(file, None)
    next(reading)
    reading.close()
    assert threading.active_count() == before


@pytest.mark.parametrize(("bytes_of_batch", "several"), [(7, True), (8, True), (9, False)])
def test_small_batches_are_decoded_by_one_thread(bytes_of_batch, several, decoders, monkeypatch, tmp_path):
    file, started = tmp_path / "shard.arrow", []
    table = pa.table({"document": pa.array(range(9), pa.int32()), "position": pa.array([0] * 9, pa.int32())})
    with pa.ipc.new_file(file, table.schema) as sink:
        sink.write_table(table, max_chunksize=3)
    # A row has 8 bytes.
    monkeypatch.setattr("routestat.traces.shards.BATCH_ROWS", 1)
    monkeypatch.setattr("routestat.traces.shards.LEAST_DECODED", bytes_of_batch)
    start = threading.Thread.start
    monkeypatch.setattr(threading.Thread, "start", lambda thread: (started.append(thread), start(thread))[1])
    decoders(2)
    assert pa.Table.from_batches(list(batches_of(file, None))).equals(table)
    assert bool(started) == several


@pytest.mark.parametrize("threads", [1, 3])
def test_the_batch_that_cannot_be_decoded_is_named(threads, decoders, tmp_path):
    file = tmp_path / "shard.arrow"
    values = np.random.default_rng(0).integers(0, 1 << 30, 4000).astype(np.int32)
    table = pa.table({"document": values, "position": values})
    with pa.ipc.new_file(file, table.schema, options=pa.ipc.IpcWriteOptions(compression="zstd")) as sink:
        sink.write_table(table, max_chunksize=1000)
        stored = sink.stats.num_record_batches
    content = bytearray(file.read_bytes())
    # Of four batches of equal size, the third: its compressed columns are overwritten.
    third = slice(len(content) * 9 // 16, len(content) * 11 // 16)
    content[third] = b"\xa5" * (third.stop - third.start)
    file.write_bytes(content)
    decoders(threads)
    reading = batches_of(file, None)
    assert stored == 4
    assert [len(next(reading)), len(next(reading))] == [1000, 1000]
    with pytest.raises(TraceError, match=r"shard\.arrow: batch 2 cannot be decoded"):
        next(reading)
