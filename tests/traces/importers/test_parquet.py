import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from routestat import Router, RoutestatError, Trace, TraceMeta, TraceWriter
from routestat.errors import FormatError
from routestat.traces.importers.parquet import ParquetTrace, documents_path, write_parquet
from tests.traces.importers.known import chosen, convert

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


def altered(trace, path, name, values):
    """The trace as Parquet with one column replaced."""
    write_parquet(trace, path)
    table = pq.read_table(path)
    table = table.set_column(table.schema.get_field_index(name), name, values)
    pq.write_table(table, path)
    return path


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("document", pa.array(["0"] * 9), "column document is string, expected int32"),
        ("document", pa.array([0] * 8 + [2**40]), "column document does not fit int32"),
        ("L00", pa.array([300] * 9), "column L00 does not fit uint8"),
        ("L00", pa.array([1.0] * 9), "column L00 is double, expected uint8"),
        ("L00", pa.array([[1]] * 9), "column L00 is list"),
        ("L00", pa.array([1] * 8 + [None], pa.uint8()), "row 8: column L00 has no value"),
        ("L03", pa.array([1] * 9), "column L03 is int64, expected fixed_size_list"),
        ("L03", pa.array([[1, 2]] * 9), "column L03 does not fit fixed_size_list"),
        ("L03", pa.array([[*range(9), None]] * 9), "column L03 "),
        ("phase", pa.array(["prefill"] * 8 + [None]), "row 8: column phase has no value"),
        ("phase", pa.array(["train"] * 9), "row 0: column phase must be one of prefill, decode, got 'train'"),
        ("phase", pa.array([0] * 9), "column phase is int64"),
    ],
)
def test_a_column_that_is_not_the_store_s_is_named(trace, tmp_path, name, values, message):
    path = altered(trace, tmp_path / "x.parquet", name, values)
    with pytest.raises(FormatError) as caught:
        list(ParquetTrace(path).tables())
    assert str(path) in str(caught.value)
    assert message in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_wider_types_that_hold_the_same_are_read(trace, tmp_path):
    path = altered(trace, tmp_path / "x.parquet", "document", pa.array([0] * 4 + [4] * 5, pa.int64()))
    table = pq.read_table(path)
    lists = table.column("L03").cast(pa.list_(pa.int64()))
    words = table.column("phase").cast(pa.large_string())
    table = table.set_column(3, "phase", words)
    pq.write_table(table.set_column(table.schema.get_field_index("L03"), "L03", lists), path)
    got = pa.concat_tables(ParquetTrace(path).tables())
    assert got.combine_chunks() == pa.Table.from_batches(trace.record_batches())


@pytest.mark.parametrize(
    "documents",
    [
        pa.table({"name": ["a"]}),
        pa.table({"document": ["0"]}),
        pa.table({"document": pa.array([None], pa.int32())}),
    ],
)
def test_documents_without_their_numbers_are_refused(trace, tmp_path, documents):
    write_parquet(trace, tmp_path / "x.parquet")
    pq.write_table(documents, tmp_path / "x.documents.parquet")
    with pytest.raises(FormatError, match=r"x\.documents\.parquet: .*document"):
        ParquetTrace(tmp_path / "x.parquet")


@pytest.mark.parametrize("held", [b"{", b"[]", b"[" * 200_000, b"\xff"])
def test_metadata_that_is_none_is_refused(trace, tmp_path, held):
    write_parquet(trace, tmp_path / "x.parquet")
    table = pq.read_table(tmp_path / "x.parquet").replace_schema_metadata({b"routestat": held})
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(FormatError, match="its routestat metadata is wrong"):
        ParquetTrace(tmp_path / "x.parquet")


def test_bits_flipped_in_parquet_are_found(capsys, tmp_path):
    experts = chosen(np.random.default_rng(3), 9, 3, 8, 2)
    np.savez(tmp_path / "x.npz", experts=np.tile(experts, (50, 1, 1)), n_experts=8)
    assert convert(capsys, tmp_path / "x.npz", tmp_path / "t")[0] == 0
    path = tmp_path / "x.parquet"
    assert convert(capsys, tmp_path / "t", path)[0] == 0
    chunk = pq.ParquetFile(path).metadata.row_group(0).column(4)
    content = bytearray(path.read_bytes())
    content[chunk.data_page_offset + chunk.total_compressed_size - 3] ^= 4
    path.write_bytes(content)
    code, _, err = convert(capsys, path, tmp_path / "back")
    assert (code, err.count("\n")) == (2, 1)
    assert "x.parquet: cannot be decoded" in err
