import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from routestat import Router, RoutestatError, Trace, TraceMeta, TraceWriter
from routestat.traces.importers.parquet import ParquetTrace, documents_path, write_parquet

ROUTERS = (Router(0, 8, 2), Router(3, 512, 10))


@pytest.fixture
def trace(tmp_path):
    meta = TraceMeta(ROUTERS, name="p", window=5, extra={"notes": ["a"]})
    rng = np.random.default_rng(0)
    wide = np.sort(np.argsort(rng.random((9, 512)), axis=1)[:, :10], axis=1)
    states = {"L00": rng.integers(0, 28, 9), "L03": wide}
    columns = {"L00.weights": np.full((9, 2), 0.5), "L00.top1": np.arange(9) % 8}
    with TraceWriter(tmp_path / "t", meta) as writer:
        writer.add_documents({"document": [0, 4], "name": ["x", "y"], "pages": [3, 1]})
        writer.write([0] * 4 + [4] * 5, states=states, columns=columns, phase=["prefill"] * 8 + ["decode"])
    return Trace.open(tmp_path / "t")


def test_a_trace_goes_through_parquet_and_back_whole(trace, tmp_path):
    write_parquet(trace, tmp_path / "x.parquet")
    file = ParquetTrace(tmp_path / "x.parquet")
    assert file.meta == trace.meta
    with TraceWriter(tmp_path / "back", file.meta) as writer:
        writer.add_documents(file.documents.to_pydict())
        for table in file.tables():
            writer.write_table(table)
    back = Trace.open(tmp_path / "back")
    assert back.documents.to_pydict() == trace.documents.to_pydict()
    assert back.columns == ("L00.weights", "L00.top1")
    assert pa.Table.from_batches(back.record_batches()) == pa.Table.from_batches(trace.record_batches())


def test_others_read_the_parquet_as_it_is(trace, tmp_path):
    write_parquet(trace, tmp_path / "x.parquet")
    frame = pl.read_parquet(tmp_path / "x.parquet", columns=["document", "L00", "phase"])
    assert frame["document"].to_list() == [0] * 4 + [4] * 5
    assert frame["phase"].to_list()[-2:] == ["prefill", "decode"]


def test_what_is_no_trace_is_refused(trace, tmp_path):
    with pytest.raises(RoutestatError, match="no such file"):
        ParquetTrace(tmp_path / "no.parquet")
    (tmp_path / "text.parquet").write_text("x")
    with pytest.raises(RoutestatError, match="not a readable Parquet"):
        ParquetTrace(tmp_path / "text.parquet")
    pq.write_table(pa.table({"a": [1]}), tmp_path / "other.parquet")
    with pytest.raises(RoutestatError, match="no routestat metadata"):
        ParquetTrace(tmp_path / "other.parquet")
    write_parquet(trace, tmp_path / "x.parquet")
    table = pq.read_table(tmp_path / "x.parquet")
    pq.write_table(table.drop_columns(["token"]), tmp_path / "x.parquet")
    with pytest.raises(RoutestatError, match="columns are document, position, phase"):
        ParquetTrace(tmp_path / "x.parquet")
    assert documents_path(tmp_path / "x.parquet").name == "x.documents.parquet"
